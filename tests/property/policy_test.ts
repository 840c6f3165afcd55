/**
 * Three readings of the same policies agree on every flow: the reference evaluator, the compiled
 * program in the interpreter, and the compiled program in the kernel (where this is root).
 *
 * The seed is printed; WEFT_SEED repeats a run, WEFT_CASES sets the number of policy sets, and
 * `deno task fuzz --only policies` goes on for as long as one likes.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { runCase } from "./policy_case.ts";
import { HAS_KERNEL } from "./policy_engines.ts";
import { FLOWS, keptCases, searchCases } from "./policy_search.ts";

const CASES = Number(Deno.env.get("WEFT_CASES") || 2000);
const SEED = Number(Deno.env.get("WEFT_SEED") || Math.floor(Math.random() * 2 ** 31));

describe(`the reference, the interpreter${HAS_KERNEL ? " and the kernel" : ""}`, () => {
  it("agree on every case that was kept", () => {
    for (const [name, kept] of keptCases()) {
      assert.deepEqual(runCase(kept).differences, [], name);
    }
  });

  it(`agree on ${CASES} random policy sets, ${FLOWS} flows each (seed ${SEED})`, () => {
    const answers = searchCases({ seed: SEED, cases: CASES });
    for (const wanted of WANTED) assert.ok(answers.has(wanted), `no flow was judged "${wanted}"`);
  });
});

/** What the generator must bring about, or it tests less than it seems to. */
const WANTED = [
  "allow",
  "egress policy-conflict",
  ...["policy-denied", "default-deny", "auth-required", "l7-unavailable"]
    .flatMap((reason) => [`egress ${reason}`, `ingress ${reason}`]),
];
