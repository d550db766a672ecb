/** Poll: what the stream does not carry, asked for every few seconds, and whether the service answers at all. */

import { effect, signal } from "@preact/signals";
import { chosen, keep, ledger, ledgers } from "./book.ts";
import { points, type Range } from "./history.ts";
import { again, linkState } from "./link.ts";
import { Problem, read } from "./rest.ts";
import { isRefused, token } from "./token.ts";
import type { Account, Alert, Fill, Reconciliation } from "./wire.ts";

const EVERY_MS = 3_000;
const MISSES = 3;
const LATELY: Range = { name: "lately", ms: 900_000, interval: "5s" };

/** When the service last answered a question, by this machine's clock. */
export const answeredAt = signal(0);

let missed = 0;

interface Summary {
  account: string;
  status: string;
}

/** Ask now and every few seconds. A connection that looks open while nothing is answered is made anew. */
export function poll(): void {
  const ask = async (): Promise<void> => {
    try {
      await look();
      missed = 0;
      answeredAt.value = Date.now();
    } catch (error) {
      if (error instanceof Problem && error.status < 500) answeredAt.value = Date.now();
      else if (++missed >= MISSES && linkState.value === "open") again();
    }
    setTimeout(ask, EVERY_MS);
  };
  void ask();
  effect(() => {
    for (const name of ledgers.value.keys()) if (!begun.has(name)) void begin(name);
  });
}

async function look(): Promise<void> {
  if (isRefused.value) return;
  const accounts = await read<Summary[]>("/api/accounts");
  keep(new Set(accounts.map((each) => each.account)));
  const names = chosen.value === null ? accounts.filter((each) => each.status !== "folding").map((each) => each.account) : [chosen.value];
  for (const name of names.slice(0, 20)) {
    const account = await read<Account>("/api/account", { account: name });
    ledger(name).judge(account);
  }
}

const begun = new Set<string>();

/** Read what happened before the stream began. */
async function begin(name: string): Promise<void> {
  begun.add(name);
  const known = ledger(name);
  try {
    const since = new Date(Date.now() - 6 * 3_600_000).toISOString();
    const [line, fills, alerts, reports] = await Promise.all([
      points([name], LATELY, new AbortController().signal),
      recentFills(name, since),
      read<{ alerts: Alert[] }>("/api/alerts", { account: name, limit: "50" }),
      read<{ reports: Reconciliation[] }>("/api/reconciliation", { account: name, limit: "30" }),
    ]);
    known.precede(line);
    known.fills.value = united(known.fills.value, fills, (fill) => `${fill.symbol}:${fill.id}:${fill.side}`).slice(0, 200);
    known.alerts.value = united(known.alerts.value, alerts.alerts, (alert) => alert.id);
    known.reports.value = united(known.reports.value, reports.reports, (report) => report.id);
  } catch {
    begun.delete(name); // it is asked again once the account is heard of anew
  }
}

async function recentFills(name: string, since: string): Promise<Fill[]> {
  let cursor: string | undefined;
  let fills: Fill[] = [];
  for (let page = 0; page < 5; page++) {
    const told = await read<{ fills: Fill[]; next: string | null }>("/api/fills", { account: name, from: since, limit: "1000", cursor });
    fills = [...fills, ...told.fills].slice(-200);
    if (told.next === null) break;
    cursor = told.next;
  }
  return fills.reverse();
}

function united<T>(heard: readonly T[], read: readonly T[], name: (item: T) => string): T[] {
  const names = new Set(heard.map(name));
  return [...heard, ...read.filter((item) => !names.has(name(item)))];
}

effect(() => {
  if (token.value !== null) begun.clear();
});
