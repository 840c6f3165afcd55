/**
 * `weft policy eval --engine both`: what counts as a difference, and what is said of it.
 *
 * The engines here say what the test tells them to: two real ones do not differ.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { CliEnv } from "@/src/cli/env.ts";
import { Comparison } from "@/src/cli/policy_engines.ts";
import { type Answer, type Engine, parseQuery } from "@/src/evaluate/mod.ts";
import { tcp } from "../../golden/policies_world.ts";

const QUERY = tcp("default/a", "default/b", 80);
const ALLOW: Answer = { verdict: "allow" };
const RULE = { kind: "NetworkPolicy", namespace: "default", name: "p", path: "spec.ingress[0]" };

function deny(reason: "default-deny" | "l7-unavailable" | "http-denied"): Answer {
  return { verdict: "deny", direction: "ingress", reason };
}

function saying(name: Engine["name"], answer: Answer): Engine & Disposable {
  return { name, decide: () => answer, [Symbol.dispose]: () => {} };
}

function compare(reference: Answer, kernel: Answer) {
  let err = "";
  const env: CliEnv = {
    out: () => {},
    err: (text) => void (err += text),
    getenv: () => undefined,
    columns: undefined,
    signal: new AbortController().signal,
    status: 0,
  };
  using both = new Comparison(saying("reference", reference), saying("kernel", kernel), env);
  const parsed = parseQuery(QUERY);
  assert.ok(parsed.ok);
  return { answer: both.answer(parsed.query, QUERY), err, status: env.status };
}

describe("both engines", () => {
  it("answer as the reference, and are silent where they agree", () => {
    const withRule: Answer = { verdict: "allow", rule: RULE };
    assert.deepEqual(compare(withRule, ALLOW), { answer: withRule, err: "", status: 0 });
    const denied = deny("default-deny");
    assert.deepEqual(compare(denied, denied), { answer: denied, err: "", status: 0 });
    assert.equal(compare({ error: "x" }, { error: "y" }).status, 0);
  });

  it("print the query and both answers where they differ, and fail", () => {
    const { answer, err, status } = compare(ALLOW, deny("default-deny"));
    assert.deepEqual(answer, ALLOW);
    assert.deepEqual(JSON.parse(err), {
      query: QUERY,
      reference: ALLOW,
      kernel: deny("default-deny"),
    });
    assert.equal(status, 1);
    assert.equal(compare(deny("default-deny"), ALLOW).status, 1);
    assert.equal(compare({ error: "x" }, ALLOW).status, 1);
    assert.equal(compare(ALLOW, { error: "x" }).status, 1);
  });

  it("do not differ by what the kernel cannot read", () => {
    assert.equal(compare(deny("http-denied"), deny("l7-unavailable")).status, 0);
    assert.equal(compare(ALLOW, deny("l7-unavailable")).status, 0);
    assert.equal(compare({ error: "x" }, deny("l7-unavailable")).status, 1);
  });
});
