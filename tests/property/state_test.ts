/**
 * A State depends on what was said, not on the order in which it was said; a Plan is the same to
 * the byte; and no plan lets plaintext reach a pod that some policy makes STRICT.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { compile, decide, destinationOf, type Plan, sourceOf } from "@/src/compile/mod.ts";
import {
  applyChanges,
  type Change,
  emptyState,
  keyOf,
  type MeshPolicyObject,
  type ModelObject,
  type State,
} from "@/src/model/mod.ts";
import * as world from "../unit/model/world.ts";

const name = fc.constantFrom("a", "b", "c");
const nodeName = fc.constantFrom("node-a", "node-b", "node-c");
const address = fc.constantFrom("10.0.0.1", "10.0.0.2", "10.0.1.1", "fd00::1", "192.0.2.1");
const namespaceName = fc.constantFrom("default", "shop", "kube-system");
const enrolled = fc.constantFrom(
  {},
  ...["true", "false", "x"].map((value) => ({
    "mesh.cilium.io/enrolled": value,
  })),
);
const app = fc.constantFrom("web", "db");
const mode = fc.constantFrom("STRICT", "PERMISSIVE", "DISABLE" as const);
const port = fc.constantFrom(80, 443, 9090);

const pod = fc.record({
  name,
  namespace: namespaceName,
  node: fc.oneof(nodeName, fc.constant("")),
  addresses: fc.uniqueArray(address, { maxLength: 2 }),
  hostNetwork: fc.boolean(),
  finished: fc.boolean(),
  terminating: fc.boolean(),
  ready: fc.boolean(),
  ownCertificate: fc.boolean(),
}).chain((fields) =>
  fc.record({ enrolled, app })
    .map(({ enrolled, app }) => world.pod({ ...fields, labels: { ...enrolled, app } }))
);

const policy = fc.record({
  name,
  namespace: namespaceName,
  targetNamespace: namespaceName,
  mode,
  sameNode: fc.constantFrom(undefined, "encrypt", "attest"),
  overrides: fc.uniqueArray(fc.record({ port, mode }), { selector: ({ port }) => port }),
  select: fc.oneof(fc.constant({}), app.map((app) => ({ app }))),
}).map((fields) => world.policy(fields as Parameters<typeof world.policy>[0]));

const other = fc.oneof(
  fc.record({
    name: nodeName,
    addresses: fc.uniqueArray(address, { maxLength: 1 }),
    podCidrs: fc.constantFrom([], ["10.0.0.0/24"], ["10.0.0.0/16", "fd00::/64"]),
  }).map((fields) => world.node(fields)),
  fc.record({ name: nodeName, ready: fc.boolean() }).map((fields) => world.weftNode(fields)),
  fc.record({ name: namespaceName, enrolled })
    .map(({ name, enrolled }) => world.namespace(name, enrolled)),
  fc.record({ name, namespace: namespaceName, clusterIps: fc.constantFrom(["10.96.0.1"], []) })
    .map((fields) => world.service(fields)),
);

/** Objects of a world, none twice. */
const objects = fc.uniqueArray(fc.oneof(pod, pod, policy, other), {
  maxLength: 24,
  selector: (object: ModelObject) => `${object.kind} ${keyOf(object)}`,
});

const config = fc.record({
  enroll: fc.constantFrom("label", "all" as const),
  defaultMode: mode,
  sameNode: fc.constantFrom("encrypt", "attest" as const),
}).map((fields) => ({ ...world.CONFIG, ...fields }) as State["config"]);

describe("a State", () => {
  it("does not depend on the order or on the batches of its changes", () => {
    fc.assert(fc.property(config, objects, objects, fc.nat(), (config, wanted, passing, cut) => {
      const once = applyChanges(emptyState(config), wanted.map(world.put));
      // The same objects in reverse, in two batches, after others that came and went.
      const gone = passing.map(({ kind, namespace, name }): Change => ({
        type: "delete",
        ref: { kind, namespace, name },
      }));
      const puts = wanted.map(world.put).reverse();
      const at = cut % (puts.length + 1);
      let state = applyChanges(emptyState(config), passing.map(world.put));
      state = applyChanges(state, [...gone, ...puts.slice(0, at)]);
      state = applyChanges(state, puts.slice(at));
      assert.equal(render(compile(state)), render(compile(once)));
      assert.deepEqual(namesOf(state), namesOf(once));
      assert.deepEqual(state.warnings, once.warnings);
    }));
  });
});

describe("a Plan", () => {
  it("never lets plaintext in where a policy says STRICT", () => {
    fc.assert(fc.property(config, objects, fc.array(address), (config, objects, peers) => {
      const state = applyChanges(emptyState(config), objects.map(world.put));
      for (const workload of state.workloads.values()) {
        if (!workload.live || workload.hostNetwork || !workload.local) continue;
        for (const port of [80, 443, 9090, 1]) {
          if (!isStrict(objects, workload, port)) continue;
          for (const own of workload.addresses) {
            const { mode, where } = destinationOf(state, own, port);
            const owner = state.owners.get(own);
            // It is terminating, and its address went over to another pod of this node.
            const yielded = owner?.kind === "pod" && owner.workload.local &&
              owner.workload.key !== workload.key;
            if (yielded) continue;
            assert.equal(mode, "strict");
            for (const peer of peers) {
              const source = sourceOf(state, peer);
              const { verdict } = decide({ stage: "inbound", source, mode, where });
              if (verdict === "direct") assert.deepEqual([source, where], ["mesh", "attest"]);
            }
          }
        }
      }
    }));
  });

  it("has in its rows what destinationOf() and sourceOf() say", () => {
    fc.assert(fc.property(config, objects, address, port, (config, objects, address, port) => {
      const state = applyChanges(emptyState(config), objects.map(world.put));
      const plan = compile(state);
      const row = plan.addresses.get(address);
      if (row === undefined) return;
      const { mode, where } = destinationOf(state, address, port);
      const entry = row.flags.ports ? plan.ports.get(`${address} ${port}/TCP`) : undefined;
      assert.equal(row.source, sourceOf(state, address));
      assert.deepEqual([entry?.mode ?? row.mode, entry?.where ?? row.where], [mode, where]);
      if (mode === "strict") assert.equal(row.flags.strict, true);
    }));
  });
});

/** The rule of the strictest, plainly: some policy that selects the pod says STRICT. */
function isStrict(
  objects: readonly ModelObject[],
  workload: { readonly namespace: string; readonly labels: ReadonlyMap<string, string> },
  port: number,
): boolean {
  return objects
    .filter((object): object is MeshPolicyObject => object.kind === "MeshPolicy")
    .filter(({ namespace, target }) => {
      const allowed = target.namespace === namespace || namespace === "kube-system";
      return allowed && target.namespace === workload.namespace &&
        [...target.selector.matchLabels].every(([key, value]) =>
          workload.labels.get(key) === value
        );
    })
    .some((policy) =>
      (policy.overrides.find((override) => override.port === port)?.mode ?? policy.mode) ===
        "STRICT"
    );
}

function render(plan: Plan): string {
  return JSON.stringify(plan, (_key, value: unknown) => {
    if (value instanceof Map) return [...value];
    return value instanceof Uint8Array ? [...value] : value;
  });
}

function namesOf(state: State) {
  return [state.workloads, state.services, state.nodes, state.policies].map((
    map,
  ) => [...map.keys()]);
}
