/**
 * Policies and flows, judged by the reference evaluator, the interpreter and the kernel: fails
 * where two of them differ, and keeps the case.
 *
 * @module
 */

import { searchCases } from "@/tests/property/policy_search.ts";
import type { FuzzOptions } from "./random.ts";

/** Runs the fuzzer. */
export function fuzzPolicies({ seed, cases }: FuzzOptions): Promise<void> {
  searchCases({ seed: seed | 0, cases });
  return Promise.resolve();
}
