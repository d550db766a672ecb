import assert from "node:assert/strict";
import { afterEach, beforeEach, mock, test } from "node:test";
import { repeatedly } from "../src/repeatedly.ts";

const page = { hidden: false };
Object.assign(globalThis, { document: page });

let told: string[] = [];
const show = (answer: string): void => void told.push(answer);
const fail = (problem: string): void => void told.push(`problem: ${problem}`);

beforeEach(() => {
  told = [];
  page.hidden = false;
  mock.timers.enable({ apis: ["setTimeout"] });
});

afterEach(() => mock.timers.reset());

async function pass(ms: number): Promise<void> {
  mock.timers.tick(ms);
  await new Promise((resolve) => setImmediate(resolve));
}

test("what is shown is asked for again", async () => {
  let equity = 1000;
  const end = repeatedly(async () => String(equity), show, fail, { everyMs: 3_000 });
  await pass(0);
  equity = 555;
  await pass(3_000);
  assert.deepEqual(told, ["1000", "555"]);
  end();
  await pass(9_000);
  assert.equal(told.length, 2);
});

test("a failure is told, and what seldom changes is not waited for as long again", async () => {
  let isThere = false;
  const ask = async (): Promise<string> => (isThere ? "there" : Promise.reject(new Error("busy")));
  const end = repeatedly(ask, show, fail, { everyMs: 30_000 });
  await pass(0);
  isThere = true;
  await pass(5_000);
  assert.deepEqual(told, ["problem: busy", "there"]);
  end();
});

test("nobody asks for a page that nobody sees", async () => {
  page.hidden = true;
  const end = repeatedly(async () => "asked", show, fail, { everyMs: 3_000 });
  await pass(0);
  await pass(3_000);
  assert.deepEqual(told, []);
  page.hidden = false;
  await pass(3_000);
  assert.deepEqual(told, ["asked"]);
  end();
});

test("an answer that comes after the end, to another question, is not shown", async () => {
  let answer: (text: string) => void = () => {};
  const end = repeatedly(() => new Promise<string>((resolve) => (answer = resolve)), show, fail, { everyMs: 3_000 });
  await pass(0);
  end();
  answer("of another account");
  await pass(0);
  assert.deepEqual(told, []);
});
