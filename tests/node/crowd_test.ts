/**
 * A hundred pods on one node: more than most nodes run, and as many guards, listeners and
 * certificates.
 *
 * @module
 */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { say } from "@/scripts/lib/terminal.ts";
import { ENROLLED, Mesh, pod, policy, url } from "./support/mesh.ts";

const PODS = 100;
const NODE = "node-1";
const names = Array.from({ length: PODS }, (_, index) => `page-${index}`);

describe("a node of 100 pods", { timeout: 120_000 }, () => {
  let mesh: Mesh;
  let pages: string[];

  before(async () => {
    const start = performance.now();
    mesh = await Mesh.up({
      documents: [
        ...names.map((name) => pod({ name, runs: "hello", labels: { app: "page", ...ENROLLED } })),
        pod({ name: "client", labels: ENROLLED }),
        policy("page", "STRICT"),
      ],
    });
    const addresses = await Promise.all(names.map((name) => mesh.addresses(`default/${name}`)));
    pages = addresses.flat().map((address) => url(address));
    say(`${PODS} pods are up in ${((performance.now() - start) / 1000).toFixed(1)} s`);
  });

  after(() => mesh[Symbol.asyncDispose]());

  it("serves each of them at both of its addresses to a pod of the mesh", async () => {
    assert.deepEqual(countsOf(await mesh.curl("default/client", pages)), { "200 0": 2 * PODS });
  });

  it("guards each of them against plaintext from outside", async () => {
    const before = await requestsSeen();
    const answers = await mesh.curl("outside", pages);
    // Refused by the guard, or by the relay: it ends the connection (52) or resets it (56).
    const odd = answers.filter((answer) => !/^000 (7|52|56)$/.test(answer));
    assert.deepEqual([answers.length, odd], [2 * PODS, []]);
    assert.equal(await requestsSeen(), before);
  });

  it("shows each of them in its status, guarded and with a certificate", async () => {
    const { pods, healthy, problems } = await mesh.status(NODE);
    assert.deepEqual([healthy, problems], [true, []]);
    const certified = pods.filter(({ mode, certificate, failure }) =>
      mode === "STRICT" && certificate !== undefined && failure === undefined
    );
    assert.equal(certified.length, PODS);
  });

  /** Requests that the applications have written down. */
  const requestsSeen = async (): Promise<number> => {
    const { pods } = await mesh.bed.describe();
    const logs = await Promise.all(
      pods.filter(({ name }) => names.includes(name)).map(({ log }) => Deno.readTextFile(log)),
    );
    return logs.join("").split("\n").length;
  };
});

/** How often each answer came. */
function countsOf(answers: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const answer of answers) counts[answer] = (counts[answer] ?? 0) + 1;
  return counts;
}
