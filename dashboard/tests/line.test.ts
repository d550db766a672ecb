import assert from "node:assert/strict";
import { test } from "node:test";
import { addedUp, below, gaps, noted } from "../src/line.ts";

test("lines are added up from where all have begun, each with its last value", () => {
  const one = [{ time: 1, equity: 10, net: 1 }, { time: 3, equity: 12, net: 3 }];
  const other = [{ time: 2, equity: 100, net: 0 }];
  assert.deepEqual(addedUp([one, other]), [
    { time: 2, equity: 110, net: 1 },
    { time: 3, equity: 112, net: 3 },
  ]);
});

test("how far below its peak a result is does not depend on deposits", () => {
  const line = [{ time: 1, equity: 10, net: 0 }, { time: 2, equity: 1010, net: 5 }, { time: 3, equity: 1000, net: -5 }];
  assert.deepEqual(below(line), [0, 0, -10]);
});

test("a point replaces the last one until its five seconds are over, and what is too old goes", () => {
  const heard = [100.2, 101, 104.999, 105, 111].map((time) => ({ time, equity: time, net: 0 }));
  const line = heard.reduce<typeof heard>((known, point) => noted(known, point, 900), []);
  assert.deepEqual(line.map((each) => [each.time, each.equity]), [[100, 104.999], [105, 105], [110, 111]]);
  assert.deepEqual(noted(line, { time: 1_001, equity: 1, net: 0 }, 900).map((each) => each.time), [105, 110, 1_000]);
});

test("what is heard goes on where the history ends, on the same grid", () => {
  const read = [{ time: 95, equity: 1, net: 0 }, { time: 100, equity: 2, net: 0 }];
  assert.deepEqual(noted(read, { time: 103, equity: 3, net: 0 }, 900).map((each) => each.time), [95, 100]);
});

test("a time of which nothing is known takes as much room as any other", () => {
  const line = [100, 105, 120].map((time) => ({ time, equity: 1, net: 0 }));
  assert.deepEqual(gaps(line, 5), [110, 115]);
  assert.deepEqual(gaps([], 5), []);
});
