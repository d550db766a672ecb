import assert from "node:assert/strict";
import { test } from "node:test";

Object.assign(globalThis, { sessionStorage: { getItem: () => "Bearer für", setItem() {}, removeItem() {} } });
const { token, tokenIn } = await import("../src/token.ts");

test("only what looks like a token is taken, with or without the scheme of the header", () => {
  assert.equal(tokenIn("am_1_abc"), "am_1_abc");
  assert.equal(tokenIn(" Bearer am_1_abc\n"), "am_1_abc");
  assert.equal(tokenIn("für"), null);
  assert.equal(tokenIn("am_1 x"), null);
});

test("what an earlier visit left there and is no token is not shown to the service", () => {
  assert.equal(token.value, null);
});
