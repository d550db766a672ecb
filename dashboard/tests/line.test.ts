import assert from "node:assert/strict";
import { test } from "node:test";
import { addedUp, below } from "../src/line.ts";

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
