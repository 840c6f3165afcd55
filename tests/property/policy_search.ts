/**
 * Looks for policies and flows of which two readings differ. In: how many cases, from which seed.
 * Out: how often each answer was given, or an error that names the seed and the case.
 *
 * A case that fails is made as small as it can be and kept in `tests/golden/policies`, where it is
 * run first from then on.
 *
 * @module
 */

import assert from "node:assert/strict";
import fc from "fast-check";
import { runCase } from "./policy_case.ts";
import { type PolicyCase, policyCases } from "./policy_worlds.ts";

/** Where cases are kept. */
export const KEPT = new URL("../golden/policies/", import.meta.url);

/** Flows of one case. */
export const FLOWS = 50;

/** Searches; throws where answers differ. */
export function searchCases(
  { seed, cases }: { readonly seed: number; readonly cases: number },
): ReadonlyMap<string, number> {
  const answers = new Map<string, number>();
  const result = fc.check(
    fc.property(policyCases(FLOWS), (policyCase) => {
      const found = runCase(policyCase);
      for (const [words, count] of found.answers) {
        answers.set(words, (answers.get(words) ?? 0) + count);
      }
      assert.deepEqual(found.differences, []);
    }),
    { seed, numRuns: cases },
  );
  if (result.failed) throw new Error(keep(result), { cause: result.errorInstance });
  return answers;
}

/** Cases that once failed, by the name of their file. */
export function* keptCases(): Generator<[string, PolicyCase]> {
  for (const { name } of Deno.readDirSync(KEPT)) {
    if (!name.endsWith(".json")) continue;
    yield [name, JSON.parse(Deno.readTextFileSync(new URL(name, KEPT))) as PolicyCase];
  }
}

/** Writes the smallest failing case, with the differing flows alone; returns what to say of it. */
function keep(result: fc.RunDetails<[PolicyCase]>): string {
  const [failing] = result.counterexample ?? [];
  if (failing === undefined) return `Seed ${result.seed}: ${String(result.errorInstance)}`;
  const differences = differencesOf(failing);
  const queries = differences.map(({ query }) => query);
  const kept = { ...failing, queries: queries.length === 0 ? failing.queries : queries };
  const path = new URL(`seed-${result.seed}.json`, KEPT);
  Deno.writeTextFileSync(path, `${JSON.stringify(kept, undefined, 2)}\n`);
  const policies = kept.objects.filter((object) => /Policy"/.test(JSON.stringify(object)));
  const shown = { enforcement: kept.enforcement, policies, differences };
  return `Seed ${result.seed}, kept in ${path.pathname}: ${JSON.stringify(shown, undefined, 2)}`;
}

/** None where the case could not be run at all. */
function differencesOf(failing: PolicyCase): ReturnType<typeof runCase>["differences"] {
  try {
    return runCase(failing).differences;
  } catch {
    return [];
  }
}
