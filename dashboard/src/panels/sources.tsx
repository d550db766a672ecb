import { health } from "../book.ts";
import { span } from "../format.ts";
import { now } from "../now.ts";
import { answeredAt } from "../poll.ts";
import { Empty, Panel } from "./panel.tsx";

const WEIGHT = { unhealthy: 0, degraded: 1, healthy: 2 } as const;
const WORDS = { healthy: "good", degraded: "warn", unhealthy: "bad" } as const;

export function Sources() {
  const told = health.value;
  const checks = Object.entries(told?.checks ?? {});
  checks.sort(([one, first], [other, second]) => WEIGHT[first.status] - WEIGHT[second.status] || one.localeCompare(other));
  return (
    <Panel title="Sources">
      {told === null && <Empty>Nothing is known yet.</Empty>}
      <ul class="sources scroll" tabIndex={0} aria-label="Sources, scrollable">
        {checks.map(([name, check]) => (
          <li key={name}>
            <span class={`pill ${WORDS[check.status]}`}>{check.status}</span>
            <strong>{name}</strong>
            <span class="faint">for {span(now.value - Date.parse(check.since))}</span>
            <p>{check.message}</p>
          </li>
        ))}
      </ul>
      {answeredAt.value > 0 && now.value - answeredAt.value > 15_000 && (
        <p class="loss" role="alert">The service has not answered for {span(now.value - answeredAt.value)}.</p>
      )}
    </Panel>
  );
}
