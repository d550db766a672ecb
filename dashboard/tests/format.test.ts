import assert from "node:assert/strict";
import { test } from "node:test";

process.env["TZ"] = "Pacific/Auckland"; // a reader who is half a day ahead; said before the formats are made
const { clock, span } = await import("../src/format.ts");

test("a time is UTC, whatever the zone of the reader", () => {
  const noon = `${new Date().toISOString().slice(0, 10)}T12:34:56.000Z`;
  assert.equal(clock(noon), "12:34:56");
});

test("a time of another day says the day", () => {
  assert.match(clock("2020-02-29T23:59:58.000Z"), /29.*23:59:58/);
});

test("a span is as exact as it needs to be", () => {
  assert.deepEqual([4_000, 180_000, 7_200_000, 432_000_000].map(span), ["4 s", "3 min", "2 h", "5 d"]);
});
