/** Book: the accounts as the stream tells them. Every row has a signal of its own, so that only what changed is drawn. */

import { batch, computed, signal, type ReadonlySignal, type Signal } from "@preact/signals";
import { isKnown, sum } from "./decimal.ts";
import { noted, type Point } from "./line.ts";
import type { Account, AccountMessage, Alert, Balance, Comparison, Decimal, Fill, Health, PnL, Position, Reconciliation, Risk, Standing, Summary } from "./wire.ts";

const MAX_FILLS = 200;
const MAX_ALERTS = 200;
const MAX_REPORTS = 100;
const TRAIL = 60;
const LINE_SECONDS = 900;

/** The last values of a figure, for a line without axes. */
export type Trail = readonly number[];

export interface Row {
  key: string;
  position: Signal<Position>;
  /** Apart from the position, so that a list of what is open is made anew only when something opens or closes. */
  isFlat: ReadonlySignal<boolean>;
  trail: Signal<Trail>;
}

/** One account. */
export class Ledger {
  readonly name: string;
  epoch = 0;
  seq = -1;
  readonly pnl = signal<PnL | null>(null);
  readonly risk = signal<Risk | null>(null);
  readonly comparison = signal<Comparison | null>(null);
  readonly unpriced = signal<string[]>([]);
  readonly rows = signal<Row[]>([]);
  readonly balances = signal<Balance[]>([]);
  readonly fills = signal<Fill[]>([]);
  readonly alerts = signal<Alert[]>([]);
  readonly reports = signal<Reconciliation[]>([]);
  /** Whether the connection that there is now has told of it: what an earlier one told is old. */
  readonly isCurrent = signal(false);
  /** How many snapshots came: what they do not hold has to be read again after each. */
  readonly snapshots = signal(0);
  /** The sequence that the figures are of. */
  readonly place = signal("");
  /** Equity and net P&L of the last minutes, as this page heard them. */
  readonly line = signal<readonly Point[]>([]);
  /** Which parts of the past have been read: what was not is not known to be empty. */
  readonly isRead = { alerts: signal(false), fills: signal(false), reports: signal(false) };
  #rowsByKey = new Map<string, Row>();
  #balancesByAsset = new Map<string, Balance>();
  /** By alert, the sequence at which the stream told of it last. */
  #alertsHeard = new Map<string, number>();

  constructor(name: string) {
    this.name = name;
  }

  /** Whether a message follows what is known; if not, something is missing, and the socket has to come back. */
  follows(message: AccountMessage): boolean {
    return message.type === "snapshot" || message.prev === this.seq;
  }

  apply(message: AccountMessage): void {
    this.epoch = message.epoch;
    this.seq = message.seq;
    this.place.value = `${message.epoch}:${message.seq}`;
    this.isCurrent.value = true;
    switch (message.type) {
      case "snapshot":
        return this.#begin(message.data);
      case "position_update":
        return this.#show(message.data.key, message.data);
      case "balance_update":
        this.#balancesByAsset.set(message.data.asset, message.data);
        this.balances.value = [...this.#balancesByAsset.values()];
        return;
      case "pnl_update":
        return this.#count(message.data, Date.parse(message.timestamp));
      case "risk_update":
        return this.#judge(message.data);
      case "fill":
        this.fills.value = merged(message.data, this.fills.value, MAX_FILLS, (fill) => `${fill.symbol}:${fill.id}:${fill.side}`);
        return;
      case "alert":
        this.#alertsHeard.set(message.data.id, message.seq);
        this.alerts.value = bounded([message.data, ...this.alerts.value.filter((alert) => alert.id !== message.data.id)]);
        return;
      case "reconciliation":
        this.reports.value = merged(message.data, this.reports.value, MAX_REPORTS, (report) => report.id);
    }
  }

  #begin(account: Account): void {
    const gone = new Set(this.#rowsByKey.keys());
    for (const [key, position] of Object.entries(account.positions)) {
      gone.delete(key);
      this.#show(key, position, false);
    }
    for (const key of gone) this.#rowsByKey.delete(key);
    this.rows.value = [...this.#rowsByKey.values()];
    this.#balancesByAsset = new Map(Object.entries(account.balances));
    this.balances.value = [...this.#balancesByAsset.values()];
    this.snapshots.value++;
    this.#judge(account);
    this.#count(account.pnl, Date.parse(account.timestamp));
  }

  /** Take what REST told of alerts at or after a sequence; only what the stream told later is younger. */
  stateAlerts(told: readonly Alert[], asOf: number): void {
    const younger = this.alerts.value.filter((alert) => (this.#alertsHeard.get(alert.id) ?? -1) > asOf);
    const names = new Set(younger.map((alert) => alert.id));
    const others = [...new Map(told.map((alert) => [alert.id, alert])).values()].filter((alert) => !names.has(alert.id));
    this.alerts.value = bounded([...younger, ...others]);
    for (const [id, seq] of this.#alertsHeard) if (seq <= asOf) this.#alertsHeard.delete(id);
  }

  /** Put what the history knows before what was heard. */
  precede(points: readonly Point[]): void {
    const first = this.line.value[0]?.time ?? Infinity;
    this.line.value = [...points.filter((point) => point.time < first), ...this.line.value];
  }

  #judge(standing: Standing): void {
    this.risk.value = standing.risk;
    this.comparison.value = standing.reconciliation;
    this.unpriced.value = standing.unpriced;
  }

  #count(pnl: PnL, at: number): void {
    this.pnl.value = pnl;
    if (!isKnown(pnl.equity) || !isKnown(pnl.net_pnl) || !Number.isFinite(at)) return;
    const heard = { time: at / 1000, equity: Number(pnl.equity), net: Number(pnl.net_pnl) };
    this.line.value = noted(this.line.value, heard, LINE_SECONDS);
  }

  #show(key: string, position: Position, isNews = true): void {
    const row = this.#rowsByKey.get(key);
    const drawn = Number(position.current_price ?? NaN);
    if (row === undefined) {
      const trail = Number.isFinite(drawn) ? [drawn] : [];
      const held = signal(position);
      const isFlat = computed(() => held.value.state === "FLAT");
      this.#rowsByKey.set(key, { key, position: held, isFlat, trail: signal<Trail>(trail) });
      if (isNews) this.rows.value = [...this.#rowsByKey.values()];
      return;
    }
    row.position.value = position;
    if (Number.isFinite(drawn)) row.trail.value = [...row.trail.value.slice(1 - TRAIL), drawn];
  }
}

function merged<T>(item: T, items: readonly T[], most: number, name: (item: T) => string): T[] {
  return [item, ...items.filter((other) => name(other) !== name(item))].slice(0, most);
}

/** Keep every alert that fires, and the youngest of the others. */
function bounded(alerts: readonly Alert[]): Alert[] {
  let room = MAX_ALERTS;
  return alerts.filter((alert) => alert.state === "FIRING" || room-- > 0);
}

export const ledgers = signal<ReadonlyMap<string, Ledger>>(new Map());
export const health = signal<Health | null>(null);
/** Accounts of which nothing is shown, because another process holds them. */
export const elsewhere = signal<readonly Summary[]>([]);
/** Accounts whose journal is being folded, of which the stream tells nothing until then. */
export const folding = signal<ReadonlySet<string>>(new Set());
/** The account that is looked at; null is all of them. */
export const chosen = signal<string | null>(null);

export const shownLedgers = computed<Ledger[]>(() => {
  const all = [...ledgers.value.values()];
  const one = chosen.value === null ? undefined : ledgers.value.get(chosen.value);
  return one ? [one] : all;
});

export function ledger(name: string): Ledger {
  const known = ledgers.value.get(name);
  if (known) return known;
  const made = new Ledger(name);
  ledgers.value = new Map([...ledgers.value, [name, made]]);
  return made;
}

/** Take what REST told of the accounts there are: of one that is gone, or held elsewhere, the stream just says no more. */
export function stateAccounts(told: readonly Summary[]): void {
  const isElsewhere = (each: Summary): boolean => each.status === "held_elsewhere";
  const away = told.filter(isElsewhere);
  if (JSON.stringify(away) !== JSON.stringify(elsewhere.peek())) elsewhere.value = away;
  folding.value = new Set(told.filter((each) => each.status === "folding").map((each) => each.account));
  keep(new Set(told.filter((each) => !isElsewhere(each)).map((each) => each.account)));
}

/** Keep only these accounts. */
export function keep(names: ReadonlySet<string>): void {
  if (chosen.value !== null && !names.has(chosen.value)) chosen.value = null;
  if ([...ledgers.value.keys()].every((name) => names.has(name))) return;
  ledgers.value = new Map([...ledgers.value].filter(([name]) => names.has(name)));
}

/** Whether a part of the past is known of all accounts that are looked at. */
export function isRead(part: keyof Ledger["isRead"]): boolean {
  return shownLedgers.value.every((each) => each.isRead[part].value);
}

/** The sum of a figure of P&L over what is looked at; null if any of it is not known. */
export function totalOf(field: "equity" | "net_pnl" | "realized_pnl" | "unrealized_pnl" | "total_fees" | "funding"): Decimal | null {
  const parts = shownLedgers.value.map((each) => each.pnl.value?.[field] ?? null);
  return parts.length === 0 ? null : sum(parts);
}

/** Apply messages in one drawing; returns false where one is missing. */
export function applyAll(messages: readonly AccountMessage[]): boolean {
  let isWhole = true;
  batch(() => {
    for (const message of messages) {
      const known = ledger(message.account);
      if (!known.follows(message)) {
        isWhole = false;
        return;
      }
      known.apply(message);
    }
  });
  return isWhole;
}
