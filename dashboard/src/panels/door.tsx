import { useSignal } from "@preact/signals";
import { again } from "../link.ts";
import { refusal, take, tokenIn } from "../token.ts";

/** What is shown instead of an account to whoever has no valid token. */
export function Door() {
  const problem = useSignal("");
  const enter = (event: Event): void => {
    event.preventDefault();
    const given = tokenIn(new FormData(event.currentTarget as HTMLFormElement).get("token")?.toString() ?? "");
    if (given === null) {
      problem.value = "This is no token: one begins with am_, as account-monitor token create prints it.";
      return;
    }
    take(given);
    again();
  };
  const told = problem.value || (refusal.value ? `Refused: ${refusal.value}` : "");
  return (
    <main class="door">
      <h1>account-monitor</h1>
      <p>This service asks for a token. Whoever runs it makes one with <code>account-monitor token create</code>.</p>
      {told && <p class="loss" role="alert">{told}</p>}
      <form onSubmit={enter}>
        <label>
          Token <input name="token" type="password" autocomplete="off" required autofocus />
        </label>
        <button type="submit">Open</button>
      </form>
      <p class="faint">It is kept for this tab only.</p>
    </main>
  );
}
