import { health } from "../book.ts";
import { linkState } from "../link.ts";
import { Sources } from "./sources.tsx";

/** What is shown while no account is known: nothing about positions, as nothing is known of them. */
export function Opening() {
  const reason = linkState.value === "open" ? "No account is known yet: journals are being read, or none is configured." : "Connecting; nothing is known yet.";
  return (
    <main>
      <p class="opening" role="status">{reason}</p>
      {health.value && <Sources />}
    </main>
  );
}
