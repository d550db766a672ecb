import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { applyAll, chosen, elsewhere, keep, ledger, ledgers, stateAccounts, totalOf } from "../src/book.ts";
import type { Account, AccountMessage, Alert, PnL, Position } from "../src/wire.ts";

const PNL = { timestamp: null, equity: "100.1", net_pnl: "1", total_trades: 0 } as unknown as PnL;

function position(key: string, quantity: string): Position & { key: string } {
  const state = quantity === "0" ? "FLAT" : "LONG";
  return { key, symbol: key, quantity, state, current_price: "2" } as unknown as Position & { key: string };
}

function message(type: string, seq: number, prev: number | null, data: unknown, account = "main"): AccountMessage {
  return { type, account, epoch: 1, seq, prev, timestamp: "2026-11-26T10:00:00.000Z", data } as AccountMessage;
}

function snapshot(account = "main", seq = 5): AccountMessage {
  const data = { positions: { BTCUSDT: position("BTCUSDT", "1") }, balances: {}, pnl: PNL, risk: null, reconciliation: null, unpriced: [], timestamp: "2026-11-26T10:00:00.000Z" };
  return message("snapshot", seq, null, data as unknown as Account, account);
}

beforeEach(() => {
  ledgers.value = new Map();
  chosen.value = null;
});

test("a snapshot and what follows it are what is shown", () => {
  assert.ok(applyAll([snapshot(), message("position_update", 6, 5, position("ETHUSDT", "2"))]));
  assert.deepEqual(ledger("main").rows.value.map((row) => row.key), ["BTCUSDT", "ETHUSDT"]);
  assert.equal(ledger("main").place.value, "1:6");
});

test("a hole is noticed, and nothing after it is shown", () => {
  assert.equal(applyAll([snapshot(), message("position_update", 8, 7, position("ETHUSDT", "2"))]), false);
  assert.equal(ledger("main").rows.value.length, 1);
  assert.equal(ledger("main").seq, 5);
});

test("a new snapshot replaces everything", () => {
  applyAll([snapshot(), message("position_update", 6, 5, position("ETHUSDT", "2"))]);
  applyAll([snapshot("main", 9)]);
  assert.deepEqual(ledger("main").rows.value.map((row) => row.key), ["BTCUSDT"]);
});

test("a fill that is told again is shown once, as it was told last", () => {
  const fill = { id: "1", symbol: "BTCUSDT", side: "BUY", price: "1" };
  applyAll([snapshot(), message("fill", 6, 5, fill), message("fill", 7, 6, { ...fill, price: "2" })]);
  assert.deepEqual(ledger("main").fills.value.map((each) => each.price), ["2"]);
});

test("accounts are added up to the last digit, and one of them can be chosen", () => {
  applyAll([snapshot("main"), snapshot("alt")]);
  assert.equal(totalOf("equity"), "200.2");
  chosen.value = "alt";
  assert.equal(totalOf("equity"), "100.1");
});

function alert(id: string, state: "FIRING" | "RESOLVED"): Alert {
  return { id, state } as Alert;
}

test("what fires is kept however many alerts come after it", () => {
  applyAll([snapshot(), message("alert", 6, 5, alert("a", "FIRING"))]);
  for (let seq = 7; seq < 307; seq++) applyAll([message("alert", seq, seq - 1, alert(String(seq), "RESOLVED"))]);
  const { alerts } = ledger("main");
  assert.equal(alerts.value.filter((each) => each.state === "FIRING").length, 1);
  assert.ok(alerts.value.length <= 201);
});

test("an alert that ended while nothing was heard does not stay, and what was heard since is younger than what is read", () => {
  applyAll([snapshot(), message("alert", 6, 5, alert("ended", "FIRING")), message("alert", 7, 6, alert("young", "RESOLVED"))]);
  ledger("main").stateAlerts([alert("young", "FIRING"), alert("other", "FIRING")], 6);
  assert.deepEqual(ledger("main").alerts.value.map((each) => [each.id, each.state]), [["young", "RESOLVED"], ["other", "FIRING"]]);
});

test("each snapshot is counted, so that what it does not hold is read again", () => {
  applyAll([snapshot()]);
  applyAll([snapshot("main", 9)]);
  assert.equal(ledger("main").snapshots.value, 2);
});

test("an account that is gone is looked at no longer", () => {
  applyAll([snapshot("main"), snapshot("alt")]);
  chosen.value = "alt";
  keep(new Set(["main"]));
  assert.equal(chosen.value, null);
});

test("an account that another process holds is in no sum, and named", () => {
  applyAll([snapshot("main"), snapshot("alt")]);
  stateAccounts([{ account: "main", status: "ready" }, { account: "alt", status: "held_elsewhere", member: "b" }]);
  assert.equal(totalOf("equity"), "100.1");
  assert.deepEqual(elsewhere.value.map((each) => [each.account, each.member]), [["alt", "b"]]);
});

test("a figure that is no decimal is in no line, and what comes after it is", () => {
  applyAll([snapshot(), message("pnl_update", 6, 5, { ...PNL, equity: "1E+5" })]);
  assert.deepEqual(ledger("main").line.value.map((point) => point.equity), [100.1]);
  assert.equal(totalOf("equity"), null);
  applyAll([message("pnl_update", 7, 6, { ...PNL, equity: "4242" })]);
  assert.deepEqual(ledger("main").line.value.map((point) => point.equity), [4242]);
});
