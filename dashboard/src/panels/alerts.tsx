import { signal, useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { isRead, shownLedgers } from "../book.ts";
import { span } from "../format.ts";
import { now } from "../now.ts";
import { mayOperate } from "../poll.ts";
import { order } from "../rest.ts";
import type { Alert } from "../wire.ts";
import { Empty, Panel } from "./panel.tsx";

const WEIGHT = { CRITICAL: 0, WARNING: 1, INFO: 2 } as const;
const SHOWN = 40;

export function Alerts() {
  const alerts = shownLedgers.value.flatMap((each) => each.alerts.value);
  const firing = alerts.filter((alert) => alert.state === "FIRING");
  firing.sort((one, other) => WEIGHT[one.severity] - WEIGHT[other.severity] || (one.timestamp < other.timestamp ? 1 : -1));
  const over = alerts.filter((alert) => alert.state === "RESOLVED");
  over.sort((one, other) => ((one.resolved_at ?? "") < (other.resolved_at ?? "") ? 1 : -1));
  return (
    <Panel title="Alerts" aside={<Count firing={firing.length} />}>
      {alerts.length === 0 && <Empty>{isRead("alerts") ? "Nothing has fired so far." : "Alerts have not been read yet."}</Empty>}
      <ul class="alerts scroll" tabIndex={0} aria-label="Alerts, scrollable" aria-live="polite">
        {[...firing, ...over].slice(0, SHOWN).map((alert) => (
          <Item key={`${alert.account}:${alert.id}`} alert={alert} />
        ))}
      </ul>
    </Panel>
  );
}

function Count({ firing }: { firing: number }) {
  if (firing === 0 && !isRead("alerts")) return <span class="pill">not known yet</span>;
  return <span class={firing ? "pill bad" : "pill good"}>{firing || "none"} firing</span>;
}

function Item({ alert }: { alert: Alert }) {
  const isFiring = alert.state === "FIRING";
  const at = Date.parse(isFiring ? alert.timestamp : (alert.resolved_at ?? alert.timestamp));
  return (
    <li tabIndex={-1} class={isFiring ? alert.severity.toLowerCase() : "over"} data-alert={alert.id}>
      <p>
        <strong>{alert.type.replaceAll("_", " ").toLowerCase()}</strong> {alert.symbol}
        <span class="faint">
          {" "}· {isFiring ? alert.severity.toLowerCase() : "over"} · {alert.account} · {span(now.value - at)} ago
        </span>
      </p>
      <p>{alert.message}</p>
      {isFiring && alert.acked_by !== null && <p class="faint">{alert.acked_by} looks after it</p>}
      {isFiring && pending.value[alert.id] && <p class="faint">{pending.value[alert.id]}</p>}
      {isFiring && alert.acked_by === null && mayOperate.value && <Acknowledge alert={alert} />}
    </li>
  );
}

const NAME = "account-monitor.name";

/** By alert, why what was said of it may still be lost: where processes share the accounts, and it is not copied yet. */
const pending = signal<Record<string, string>>({});
const PENDING_MS = 60_000;

/** Say for a minute what the service answered: it does not tell when it is over. */
function sayPending(alert: string, why: string): void {
  pending.value = { ...pending.value, [alert]: why };
  setTimeout(() => {
    const { [alert]: _, ...others } = pending.value;
    pending.value = others;
  }, PENDING_MS);
}

function Acknowledge({ alert }: { alert: Alert }) {
  const isAsking = useSignal(false);
  const problem = useSignal("");
  const input = useRef<HTMLInputElement>(null);
  useEffect(() => {
    if (isAsking.value) input.current?.focus(); // the button that had it is gone
  }, [isAsking.value]);
  const acknowledge = async (event: Event): Promise<void> => {
    event.preventDefault();
    const form = event.currentTarget as HTMLFormElement;
    const item = form.closest("li"); // which the form may have left by the time of the answer
    const name = new FormData(form).get("by")?.toString().trim();
    if (!name) return;
    localStorage.setItem(NAME, name);
    try {
      const path = `/api/alerts/${encodeURIComponent(alert.id)}/ack?account=${encodeURIComponent(alert.account)}`;
      const answer = await order<{ pending: string | null }>(path, { by: name });
      if (answer.pending !== null) sayPending(alert.id, answer.pending);
      isAsking.value = false;
      item?.focus(); // what had it goes
    } catch (error) {
      problem.value = (error as Error).message;
    }
  };
  if (!isAsking.value) return <button type="button" onClick={() => (isAsking.value = true)}>Acknowledge</button>;
  return (
    <form onSubmit={acknowledge}>
      <input ref={input} name="by" aria-label="Your name" placeholder="your name" required maxLength={40} value={localStorage.getItem(NAME) ?? ""} />
      <button type="submit">I look after it</button>
      {problem.value && <p class="loss" role="alert">{problem.value}</p>}
    </form>
  );
}
