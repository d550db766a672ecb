import assert from "node:assert/strict";
import { test } from "node:test";

Object.assign(globalThis, { sessionStorage: { getItem: () => null, setItem() {}, removeItem() {} } });
const { probe, read } = await import("../src/rest.ts");

test("whether the service is there is asked at once, however many slow questions are on their way", async () => {
  const asked: string[] = [];
  const answers: (() => void)[] = [];
  globalThis.fetch = (path) => {
    asked.push(String(path));
    return new Promise((resolve) => answers.push(() => resolve(Response.json([]))));
  };
  const slow = Array.from({ length: 10 }, (_, number) => read(`/slow/${number}`));
  const there = probe("/there", 1_000);
  assert.equal(asked.length, 5);
  assert.equal(asked.at(-1), "/there");
  answers.at(-1)?.();
  await there;
  while (answers.length > 0) {
    answers.shift()?.();
    await new Promise((resolve) => setImmediate(resolve));
  }
  await Promise.all(slow);
  assert.equal(asked.length, 11);
});
