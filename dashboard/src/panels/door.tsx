import { again } from "../link.ts";
import { take } from "../token.ts";

/** What is shown instead of an account to whoever has no valid token. */
export function Door() {
  const enter = (event: Event): void => {
    event.preventDefault();
    const given = new FormData(event.currentTarget as HTMLFormElement).get("token")?.toString().trim();
    if (!given) return;
    take(given);
    again();
  };
  return (
    <main class="door">
      <h1>account-monitor</h1>
      <p>This service asks for a token. Whoever runs it makes one with <code>account-monitor token create</code>.</p>
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
