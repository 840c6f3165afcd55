/**
 * The reference in a world as large as one run must bear. How fast it answers there is for the
 * benchmark to say.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { parseQuery, ReferenceEngine } from "@/src/evaluate/mod.ts";
import { worldOf } from "@/src/watch/policies/mod.ts";
import { ccnp, labelled, namespace, pod, tcp, toPorts } from "../../golden/policies_world.ts";

const NAMESPACES = 300;
const PODS = 700;
const POLICIES = 500;
const QUERIES = 20_000;

describe("the reference", () => {
  it("answers 20,000 queries in a world of 1,500 objects", () => {
    const documents = [
      ...times(NAMESPACES, (index) => namespace(`ns${index}`)),
      ...times(PODS, (index) =>
        pod(keyOf(index), {
          labels: { app: `a${index % POLICIES}` },
          ip: `10.${index >> 8}.${index & 255}.1`,
        })),
      // Each has a peer of its own, and each selects every pod.
      ...times(POLICIES, (index) =>
        ccnp(`c${index}`, {
          endpointSelector: {},
          ingress: [{
            fromEndpoints: [labelled({ app: `a${index}` })],
            toPorts: toPorts(`${8000 + index % 100}`, "TCP"),
          }],
        })),
    ];
    const { world, remarks } = worldOf(
      documents.map((value) => ({ file: "large.yaml", value, lineOf: () => 1 })),
    );
    assert.deepEqual(remarks, []);
    const engine = new ReferenceEngine(world, { enforcement: "default" });
    const lines = times(QUERIES, (index) =>
      JSON.stringify(
        tcp(keyOf(index * 7 % PODS), keyOf((index * 13 + 5) % PODS), 8000 + index % 120),
      ));
    const answers = lines.map((line) => {
      const parsed = parseQuery(JSON.parse(line));
      return JSON.stringify(parsed.ok ? engine.decide(parsed.query) : parsed);
    });
    // A denial, and an allow by each of several rules.
    assert(new Set(answers).size > 2);
    assert(!answers.some((answer) => answer.includes("error")));
  });
});

function times<Item>(count: number, make: (index: number) => Item): Item[] {
  return Array.from({ length: count }, (_, index) => make(index));
}

function keyOf(index: number): string {
  return `ns${index % NAMESPACES}/p${index}`;
}
