import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

Object.assign(globalThis, { sessionStorage: { getItem: () => null, setItem() {}, removeItem() {} } });
const { explained } = await import("../src/explanation.ts");

const TOO_OLD = { type: "/docs#bad-parameter", detail: "from: was '2026-11-26T10:00:00.000Z', expected a time from 2026-11-26T11:00:00.000Z on: what is older is in the history only" };
const FROM = "2026-11-26T10:00:00.000Z";

let asked: string[] = [];

/** Let the service refuse whatever asks for a beginning, and explain everything. */
function refuse(status: number, problem: object): void {
  globalThis.fetch = (path) => {
    asked.push(String(path));
    return Promise.resolve(String(path).includes("from=") ? Response.json(problem, { status }) : Response.json({ equity_change: "777" }));
  };
}

beforeEach(() => {
  asked = [];
});

test("a span that begins before all that can be told is explained from there on, and called shorter", async () => {
  refuse(400, TOO_OLD);
  const { told, isShorter } = await explained("main", FROM, new AbortController().signal);
  assert.deepEqual([told.equity_change, isShorter], ["777", true]);
});

test("the whole life of an account is not shown as a span because a question failed", async () => {
  const folding = { type: "/docs#account-folding", detail: "is being folded" };
  const many = { type: "/docs#too-many-requests", detail: "more than is answered" };
  const other = { type: "/docs#bad-parameter", detail: "limit: was 'x'" };
  for (const [status, problem] of [[503, folding], [429, many], [400, other], [502, {}]] as const) {
    refuse(status, problem);
    await assert.rejects(explained("main", FROM, new AbortController().signal));
  }
  assert.equal(asked.length, 4);
});

test("an answer that does not come is no reason to ask for everything either", async () => {
  globalThis.fetch = (path) => {
    asked.push(String(path));
    return Promise.reject(new TypeError("Failed to fetch"));
  };
  await assert.rejects(explained("main", FROM, new AbortController().signal), /Failed to fetch/);
  assert.equal(asked.length, 1);
});
