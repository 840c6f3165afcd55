/**
 * The seed's own YAML through watch, model and compile: what the kernel is told at each step of the
 * walkthrough.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { compile, decide, destinationOf, sourceOf } from "@/src/compile/mod.ts";
import { applyChanges, type Change, emptyState, type State } from "@/src/model/mod.ts";
import { EMPTY_RECORD, recordOf } from "@/src/watch/directory/record.ts";
import { CONFIG, pod, put } from "../unit/model/world.ts";

const OPTIONS = {
  systemNamespace: "kube-system",
  defaultNamespace: "default",
  netnsAnnotation: true,
  misplaced: () => undefined,
};

async function seed(name: string): Promise<Change[]> {
  const bytes = await Deno.readFile(new URL(`../seed/${name}.yaml`, import.meta.url));
  const { entries, rejections } = recordOf(`${name}.yaml`, bytes, EMPTY_RECORD, OPTIONS);
  assert.deepEqual(rejections, []);
  return entries.map(({ object, origin }) => ({ type: "put", object, origin }));
}

const FRONTEND = "10.0.1.2";
const BACKEND = "10.0.1.3";

/** What happens to a connection from `source` to the backend's port 80, at both ends. */
function judge(state: State, source: string): string[] {
  const { mode, where } = destinationOf(state, BACKEND, 80);
  const question = { source: sourceOf(state, source), mode, where };
  return (["outbound", "inbound"] as const).map((stage) => {
    const { verdict, reason } = decide({ ...question, stage });
    return verdict === "refuse" ? `refuse: ${reason}` : verdict;
  });
}

describe("the walkthrough", () => {
  it("opens, closes and opens again as the seed says", async () => {
    const frontend = (labels = {}) =>
      put(pod({ name: "frontend", addresses: [FRONTEND], labels: { app: "frontend", ...labels } }));
    let state = applyChanges(emptyState(CONFIG), [
      ...await seed("frontend"),
      ...await seed("backend"),
      frontend(),
      put(pod({ name: "backend", addresses: [BACKEND], labels: { app: "backend" } })),
    ]);
    assert.deepEqual(judge(state, FRONTEND), ["direct", "direct"], "no policy yet");

    state = applyChanges(state, await seed("policy"));
    assert.deepEqual(judge(state, FRONTEND), ["refuse: mtls-required", "refuse: mtls-required"]);
    assert.deepEqual(judge(state, "192.0.2.9")[1], "relay", "from outside, to the relay alone");
    const { cause } = destinationOf(state, BACKEND, 80);
    assert.deepEqual(cause, {
      sentence: 'CiliumServiceMeshPolicy "default/backend-mtls" sets STRICT',
      ref: { kind: "MeshPolicy", namespace: "default", name: "backend-mtls" },
      file: "policy.yaml",
      line: 12,
      path: "spec.mtls.mode",
    });

    state = applyChanges(state, [frontend({ "mesh.cilium.io/enrolled": "true" })]);
    assert.deepEqual(judge(state, FRONTEND), ["relay", "relay"]);
    const rows = [...compile(state).addresses.values()];
    assert.deepEqual(rows.map(({ source, mode }) => `${source} ${mode}`), [
      "mesh permissive",
      "mesh strict",
    ]);

    state = applyChanges(state, [
      { type: "delete", ref: { kind: "MeshPolicy", namespace: "default", name: "backend-mtls" } },
    ]);
    assert.deepEqual(judge(state, FRONTEND), ["direct", "direct"], "the policy is deleted");
  });
});
