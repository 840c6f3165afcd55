/**
 * The verifier accepts what the compiler emits, of every shape and size up to the stated limits.
 *
 * The seed is printed; WEFT_SEED repeats a run, and WEFT_CASES asks for more.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import {
  compilePolicies,
  POLICY_SLOTS_MAX,
  type PolicyLimitError,
  type PolicySnapshot,
} from "@/src/compile/policy/mod.ts";
import { PolicyBatch } from "@/src/load/policy/mod.ts";
import type { PortRange, Rule } from "@/src/model/network_policy/mod.ts";
import { manyRules } from "../bench/policy_load.ts";

const CASES = Number(Deno.env.get("WEFT_CASES") || 40);
const SEED = Number(Deno.env.get("WEFT_SEED") || Math.floor(Math.random() * 2 ** 31));

const PORT_MAX = 65_535;

/** Where the ports of the rule of a number lie: shapes whose programs differ most. */
const SHAPES = {
  /** One port for all: one long list of peers. */
  same: () => ({ first: 80, last: 80 }),
  /** A port each: one deep search. */
  apart: (index: number, width: number) => ({
    first: (index * width) % PORT_MAX,
    last: (index * width) % PORT_MAX,
  }),
  /** Each within the one before: many lists. */
  nested: (index: number) => ({ first: index % 30_000, last: PORT_MAX - index % 30_000 }),
  /** Each over the next ones: a list for each port. */
  stairs: (index: number, width: number) => {
    const first = (index * 20) % PORT_MAX;
    return { first, last: Math.min(PORT_MAX, first + 20 * width) };
  },
} as const;

type Shape = keyof typeof SHAPES;

interface Case {
  readonly rules: number;
  readonly shape: Shape;
  readonly width: number;
  /** Every so many rules one denies, or asks for authentication. */
  readonly deny: number;
  readonly authenticate: number;
}

function worldOf({ rules, shape, width, deny, authenticate }: Case): PolicySnapshot {
  const world = manyRules(rules);
  const change = (rule: Rule, index: number): Rule => {
    const range: PortRange = { transport: "TCP", ...SHAPES[shape](index, width) };
    const denies = deny > 0 && index % deny === 0;
    const asks = !denies && authenticate > 0 && index % authenticate === 0;
    return {
      ...rule,
      action: denies ? "deny" : "allow",
      authentication: asks ? "required" : undefined,
      ports: [{ path: [], ports: [range], layer7: undefined }],
    };
  };
  const policies = world.policies.map((policy) => ({
    ...policy,
    specs: policy.specs.map((spec) => ({ ...spec, rules: spec.rules.map(change) })),
  }));
  return { ...world, policies };
}

function isAllowed({ limit }: PolicyLimitError): boolean {
  return limit === "slots" || limit === "ranges";
}

/** Loads a case; returns the slots of its largest program. */
function load(wanted: Case): number {
  const plan = compilePolicies(worldOf(wanted));
  // What is over a limit is a program that denies everything, and has to be accepted as well.
  for (const { error } of plan.programs) assert.ok(error === undefined || isAllowed(error));
  using _batch = new PolicyBatch(plan);
  return Math.max(...plan.programs.map(({ program }) => program.length));
}

describe("the verifier", () => {
  it(`accepts programs of every shape (seed ${SEED})`, () => {
    const anyCase = fc.record({
      rules: fc.integer({ min: 1, max: 300 }),
      shape: fc.constantFrom(...Object.keys(SHAPES) as Shape[]),
      width: fc.integer({ min: 1, max: 40 }),
      deny: fc.integer({ min: 0, max: 5 }),
      authenticate: fc.integer({ min: 0, max: 5 }),
    });
    fc.assert(fc.property(anyCase, (one) => void load(one)), { numRuns: CASES, seed: SEED });
  });

  it("accepts ten thousand rules, of one port and of ports of their own", () => {
    const some = { rules: 10_000, width: 6, deny: 7, authenticate: 11 };
    for (const shape of ["same", "apart"] as const) assert.ok(load({ ...some, shape }) > 50_000);
  });

  it("accepts a program of more than half the slots that are allowed", () => {
    const slots = load({ rules: 1000, shape: "stairs", width: 60, deny: 7, authenticate: 11 });
    assert.ok(slots > POLICY_SLOTS_MAX / 2, `${slots} slots`);
  });
});
