import assert from "node:assert/strict";
import { test } from "node:test";
import { elsewhere } from "../src/elsewhere.ts";

const AT_A = { member: "a", address: "http://10.0.0.1:8080", here: false };

test("accounts that others hold are listed by who holds them", () => {
  const holdings = [
    { account: "gamma", member: "b", address: "http://10.0.0.2:8080", here: false },
    { account: "alpha", ...AT_A },
    { account: "beta", ...AT_A },
  ];

  assert.deepEqual(elsewhere(holdings), [
    { member: "a", address: "http://10.0.0.1:8080", accounts: ["alpha", "beta"] },
    { member: "b", address: "http://10.0.0.2:8080", accounts: ["gamma"] },
  ]);
});

test("what is held here, or by nobody, is not elsewhere", () => {
  assert.deepEqual(elsewhere([{ account: "alpha", ...AT_A, here: true }, { account: "beta", member: null, address: null, here: false }]), []);
});

test("only an address of a page becomes a link", () => {
  assert.equal(elsewhere([{ account: "alpha", ...AT_A, address: "javascript:alert(1)" }])[0]?.address, null);
});
