import assert from "node:assert/strict";
import { test } from "node:test";
import { isGarbled, percent, percentage, price, rounded, shown, sign, signed, signShown, sum } from "../src/decimal.ts";

test("sums are exact where floats are not", () => {
  assert.equal(sum(["0.1", "0.2"]), "0.3");
  assert.equal(sum(["123456789012345678901234567890.12345678", "-0.00000001"]), "123456789012345678901234567890.12345677");
  assert.equal(sum(["1", "-1.00"]), "0.00");
  assert.equal(sum([]), "0");
});

test("a sum of which a part is not known is not known", () => {
  assert.equal(sum(["1", null]), null);
});

test("amounts are rounded half away from zero", () => {
  assert.equal(rounded("0.005", 2), "0.01");
  assert.equal(rounded("-0.005", 2), "-0.01");
  assert.equal(rounded("-0.0049", 2), "0.00");
  assert.equal(rounded("1", 2), "1.00");
  assert.equal(rounded("999999999999999999999.995", 2), "1000000000000000000000.00");
});

test("amounts are grouped, and have a real minus", () => {
  assert.equal(shown("-1234567.891", 2), "−1\u202f234\u202f567.89");
  assert.equal(shown("0.00001234"), "0.00001234");
  assert.equal(signed("5", 2), "+5.00");
  assert.equal(signed("0"), "0");
  assert.equal(shown(null), "—");
});

test("what is rounded to nothing is neither won nor lost", () => {
  assert.deepEqual(["0.004", "-0.004", "-0.00"].map((each) => signed(each, 2)), ["0.00", "0.00", "0.00"]);
  assert.equal(shown("-0.00"), "0.00");
  assert.deepEqual(["0.004", "-0.005", "0.005", null].map((each) => signShown(each, 2)), [0, -1, 1, 0]);
});

test("signs are read from the text", () => {
  assert.deepEqual(["-0.00000000000000000001", "0.000", "1", null].map(sign), [-1, 0, 1, 0]);
});

test("a ratio is told in percent", () => {
  assert.equal(percent("0.034567"), "3.46\u202f%");
});

test("a price shows what its size makes worth reading, and never more than it has", () => {
  assert.equal(price("77086.3712345678"), "77\u202f086.37");
  assert.equal(price("0.00001234"), "0.00001234");
  assert.equal(price("148.8"), "148.8");
});

test("what is no decimal is like what is not known, and takes nothing else with it", () => {
  for (const garbled of ["1E+5", "NaN", "", "Infinity", "1,5", "0x10", "1.", ".5", "+1", "1 000", 5 as unknown as string]) {
    assert.deepEqual([shown(garbled, 2), signed(garbled), price(garbled), percent(garbled), percentage(garbled)], Array(5).fill("—"), garbled);
    assert.deepEqual([sign(garbled), signShown(garbled, 2), sum(["1", garbled]), isGarbled(garbled)], [0, 0, null, true], garbled);
  }
  assert.deepEqual(["0", "-0.10", null].map(isGarbled), [false, false, false]);
});
