/** Poll: the past, which the stream does not carry, read once, and whether the service answers at all. */

import { effect, signal } from "@preact/signals";
import { ledgers, stateAccounts, type Ledger } from "./book.ts";
import { heardAt } from "./heard.ts";
import { points, type Range } from "./history.ts";
import { LIVE_STEP } from "./line.ts";
import { lost } from "./link.ts";
import { Problem, probe, read } from "./rest.ts";
import { refusal, token } from "./token.ts";
import type { Alert, Fill, Reconciliation, Summary } from "./wire.ts";

const EVERY_MS = 2_000;
/** How long the question may take that tells whether the service is there: it is a small one. */
const PATIENCE_MS = 3_000;
/** How long nothing else may have been heard when it fails: as long as it was waited for, less what timers are off. */
const SILENCE_MS = PATIENCE_MS - 500;
const AGAIN_MS = 5_000;
const LATELY: Range = { name: "lately", ms: 900_000, interval: `${LIVE_STEP}s`, step: LIVE_STEP };
const FILLS_MS = 6 * 3_600_000;
const MAX_FILLS = 200;

/** When the service last answered a question, by this machine's clock. */
export const answeredAt = signal(0);

/** By account, after which snapshot, and for whom, its past was read last. */
const begun = new WeakMap<Ledger, string>();

/** Whether this reader may order anything; not before it is known. */
export const mayOperate = signal(false);

/** Ask now and every few seconds. A connection that looks open while nothing is answered is made anew. */
export function poll(): void {
  const ask = async (): Promise<void> => {
    try {
      if (refusal.value === null) await look();
      answeredAt.value = Date.now();
    } catch (error) {
      if (error instanceof Problem && error.status < 500) answeredAt.value = Date.now();
      else if (Date.now() - heardAt() >= SILENCE_MS) lost();
    }
    setTimeout(ask, EVERY_MS);
  };
  void ask();
  effect(() => {
    for (const each of ledgers.value.values()) {
      const place = `${each.snapshots.value} ${token.value ?? ""}`; // another reader may see more
      if (each.snapshots.value === 0 || begun.get(each) === place) continue;
      begun.set(each, place);
      void readAgain(each);
    }
  });
}

async function look(): Promise<void> {
  const accounts = await probe<Summary[]>("/api/accounts", PATIENCE_MS);
  stateAccounts(accounts);
  mayOperate.value = accounts.every((each) => each.may_operate !== false);
}

/** Read what a snapshot does not hold; each part by itself, and again until it is answered or another snapshot came. */
async function readAgain(known: Ledger): Promise<void> {
  const of = known.snapshots.peek();
  const account = known.name;
  const parts: (() => Promise<void>)[] = [
    async () => {
      const asOf = known.seq;
      const [firing, recent] = await Promise.all([
        read<{ alerts: Alert[] }>("/api/alerts", { account, state: "FIRING", limit: "1000" }),
        read<{ alerts: Alert[] }>("/api/alerts", { account, limit: "50" }),
      ]);
      known.stateAlerts([...firing.alerts, ...recent.alerts], asOf);
      known.isRead.alerts.value = true;
    },
    async () => {
      const told = await read<{ reports: Reconciliation[] }>("/api/reconciliation", { account, limit: "30" });
      known.reports.value = united(known.reports.value, told.reports, (report) => report.id);
      known.isRead.reports.value = true;
    },
    async () => {
      const told = await recentFills(account);
      known.fills.value = united(known.fills.value, told, (fill) => `${fill.symbol}:${fill.id}:${fill.side}`).slice(0, MAX_FILLS);
      known.isRead.fills.value = true;
    },
    async () => known.precede(await points([account], LATELY)),
  ];
  await Promise.all(parts.map((part) => untilAnswered(part, () => known.snapshots.peek() === of && ledgers.value.get(account) === known)));
}

async function untilAnswered(part: () => Promise<void>, isWanted: () => boolean): Promise<void> {
  while (isWanted()) {
    try {
      return await part();
    } catch {
      await new Promise((resolve) => setTimeout(resolve, AGAIN_MS)); // what is not known stays as it is until then
    }
  }
}

async function recentFills(account: string): Promise<Fill[]> {
  const from = new Date(Date.now() - FILLS_MS).toISOString();
  let cursor: string | undefined;
  let fills: Fill[] = [];
  for (let page = 0; page < 5; page++) {
    const told = await read<{ fills: Fill[]; next: string | null }>("/api/fills", { account, from, limit: "1000", cursor });
    fills = [...fills, ...told.fills].slice(-MAX_FILLS);
    if (told.next === null) break;
    cursor = told.next;
  }
  return fills.reverse();
}

function united<T>(heard: readonly T[], read: readonly T[], name: (item: T) => string): T[] {
  const names = new Set(heard.map(name));
  return [...heard, ...read.filter((item) => !names.has(name(item)))];
}
