import { useEffect, useState } from "preact/hooks";
import { health } from "../book.ts";
import { elsewhere, type Elsewhere, type Holding } from "../elsewhere.ts";
import { linkState } from "../link.ts";
import { read } from "../rest.ts";
import { Sources } from "./sources.tsx";

const EVERY_MS = 3_000;

/** What is shown while no account is known here: nothing about positions, and who holds accounts elsewhere. */
export function Opening() {
  const held = useElsewhere();
  return (
    <main>
      <div class="opening" role="status">
        <p>{reason(held)}</p>
        {held.map(({ member, address, accounts }) => (
          <p key={`${member} ${address}`}>
            {accounts.join(", ")}: held by {member}
            {address !== null && <>, at <a href={address} rel="noreferrer noopener">{address}</a></>}
          </p>
        ))}
      </div>
      {health.value && <Sources />}
    </main>
  );
}

function reason(held: readonly Elsewhere[]): string {
  if (linkState.value !== "open") return "Connecting; nothing is known yet.";
  if (held.length > 0) return "No account is held here. Other replicas hold:";
  return "No account is known yet: journals are being read, or none is configured.";
}

/** Ask every few seconds who holds what; while that is not answered, what was known stays. */
function useElsewhere(): Elsewhere[] {
  const [held, hold] = useState<Elsewhere[]>([]);
  useEffect(() => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    let isShown = true;
    const ask = async (): Promise<void> => {
      try {
        const told = await read<{ accounts: Holding[] }>("/api/cluster");
        if (isShown) hold(elsewhere(told.accounts));
      } catch {
        // whoever polls the service says that it does not answer
      }
      if (isShown) timer = setTimeout(ask, EVERY_MS);
    };
    void ask();
    return () => {
      isShown = false;
      clearTimeout(timer);
    };
  }, []);
  return held;
}
