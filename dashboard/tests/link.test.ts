import assert from "node:assert/strict";
import { beforeEach, mock, test } from "node:test";
import type { Account, AccountMessage } from "../src/wire.ts";

/** A WebSocket to nowhere, whose other end is the test. */
class Socket {
  static made: Socket[] = [];
  static get last(): Socket {
    return Socket.made.at(-1) as Socket;
  }
  readonly address: string;
  onopen: (() => void) | null = null;
  onmessage: ((event: { data: string }) => void) | null = null;
  onclose: ((event: { code: number }) => void) | null = null;

  constructor(address: string) {
    this.address = address;
    Socket.made.push(this);
  }

  close(): void {}

  tell(...messages: object[]): void {
    for (const message of messages) this.onmessage?.({ data: JSON.stringify(message) });
  }

  end(): void {
    this.onclose?.({ code: 1006 });
  }
}

Object.assign(globalThis, {
  WebSocket: Socket,
  location: { href: "http://127.0.0.1/" },
  document: { hidden: false },
  requestAnimationFrame: (draw: () => void) => draw(),
  sessionStorage: { getItem: () => null, setItem() {}, removeItem() {} },
});
mock.timers.enable({ apis: ["setTimeout", "Date"], now: 1_000_000 });
const { folding, ledgers, stateAccounts } = await import("../src/book.ts");
const link = await import("../src/link.ts");

const HEALTH = { type: "health", account: null, data: { status: "healthy", version: "1", uptime: 1, checks: {} } };

function snapshot(account = "main", seq = 5): AccountMessage {
  const data = { positions: {}, balances: {}, pnl: { equity: "1", net_pnl: "1" }, timestamp: "2026-11-26T10:00:00.000Z" };
  return { type: "snapshot", account, epoch: 1, seq, prev: null, timestamp: data.timestamp, data: data as unknown as Account };
}

function news(seq: number, prev: number, account = "main"): object {
  return { type: "balance_update", account, epoch: 1, seq, prev, timestamp: "2026-11-26T10:00:00.000Z", data: { asset: "USDT" } };
}

function opened(): Socket {
  Socket.last.onopen?.();
  Socket.last.tell(HEALTH);
  return Socket.last;
}

beforeEach(() => {
  mock.timers.tick(60_000); // whoever waits to connect did so, and what was is long ago
  ledgers.value = new Map();
  link.again();
  opened().tell(snapshot());
  mock.timers.tick(60_000);
});

test("after a connection was lost, health alone does not make old figures live", () => {
  assert.equal(link.isLive.value, true);
  Socket.last.end();
  mock.timers.tick(5_000);
  opened();
  stateAccounts([{ account: "main", status: "folding" }]);
  assert.deepEqual([link.linkState.value, link.isLive.value], ["open", false]);
  assert.deepEqual([...folding.value], ["main"]);
  assert.notEqual(link.lostSince.value, null);
  Socket.last.tell(snapshot("main", 9));
  assert.deepEqual([link.isLive.value, link.lostSince.value], [true, null]);
});

test("of several accounts, each has to be told of", () => {
  Socket.last.tell(snapshot("alt"));
  Socket.last.end();
  mock.timers.tick(5_000);
  opened().tell(news(5, 5));
  assert.deepEqual(link.unheard.value.map((each) => each.name), ["alt"]);
  Socket.last.tell(news(5, 5, "alt"));
  assert.equal(link.isLive.value, true);
});

test("figures are old since something was heard last, not since that was noticed", () => {
  Socket.last.tell(HEALTH);
  const heard = Date.now();
  mock.timers.tick(5_000);
  link.lost();
  assert.equal(link.lostSince.value, heard);
});

test("a message that is missing is fetched at once", () => {
  const before = Socket.made.length;
  Socket.last.tell(news(9, 7));
  assert.equal(Socket.made.length, before + 1);
  assert.deepEqual([link.isLive.value, link.isTorn.value], [false, false]);
});

test("where messages are missing every time, it is said, and the pauses grow", () => {
  const before = Socket.made.length;
  for (let each = 0; each < 300; each++) {
    if (Socket.last.onopen !== null && link.linkState.value !== "open") opened().tell(snapshot());
    Socket.last.tell(news(9, 7));
    mock.timers.tick(100);
  }
  assert.equal(link.isTorn.value, true);
  assert.equal(link.isLive.value, false);
  const connections = Socket.made.length - before;
  assert.ok(connections >= 5 && connections <= 15, `${connections} connections in 30 s`);
});

test("a service that only greets and hangs up is not connected to ever faster", () => {
  const before = Socket.made.length;
  let told = Socket.made.length;
  opened().end();
  for (let each = 0; each < 300; each++) {
    mock.timers.tick(100);
    if (Socket.made.length > told) {
      told = Socket.made.length;
      opened().end();
    }
  }
  assert.ok(Socket.made.length - before <= 15, `${Socket.made.length - before} connections in 30 s`);
});
