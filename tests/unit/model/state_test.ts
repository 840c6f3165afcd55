/**
 * The fold: states are immutable, unchanged parts are taken over, rejections come and go with
 * their file.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  applyChanges,
  type Change,
  emptyState,
  type Rejection,
  type State,
} from "@/src/model/mod.ts";
import { CONFIG, namespace, node, pod, policy, put, service, weftNode, worldOf } from "./world.ts";

const rejection = (file: string, line: number): Rejection => ({
  file,
  line,
  reason: "is not YAML",
  code: "unreadable",
  kept: false,
});

describe("applyChanges()", () => {
  it("leaves the state before as it was", () => {
    const before = worldOf([pod({ name: "a", addresses: ["10.0.0.1"] })]);
    const after = applyChanges(before, [
      put(pod({ name: "b", addresses: ["10.0.0.2"] })),
      { type: "delete", ref: { kind: "Pod", namespace: "default", name: "a" } },
    ]);
    assert.deepEqual([...before.workloads.keys()], ["default/a"]);
    assert.deepEqual([...after.workloads.keys()], ["default/b"]);
    assert.deepEqual([...before.owners.keys()], ["10.0.0.1"]);
    assert.deepEqual([...after.owners.keys()], ["10.0.0.2"]);
  });

  it("takes over workloads that nothing has touched", () => {
    const before = worldOf([
      pod({ name: "a", addresses: ["10.0.0.1"] }),
      pod({ name: "b", namespace: "other", addresses: ["10.0.0.2"] }),
    ]);
    const after = applyChanges(before, [put(policy({ mode: "STRICT" }))]);
    const at = (state: State, key: string) => state.workloads.get(key);
    assert.equal(at(after, "other/b"), at(before, "other/b"));
    assert.equal(at(after, "default/a")?.mode.mode, "STRICT");
  });

  it("takes over everything when only the source speaks", () => {
    const before = worldOf([pod({ name: "a", addresses: ["10.0.0.1"] })]);
    const after = applyChanges(before, [{ type: "source", ready: true, failure: "gone" }]);
    assert.equal(after.workloads, before.workloads);
    assert.equal(after.owners, before.owners);
    assert.deepEqual(after.source, { ready: true, failure: "gone" });
  });

  it("undoes what a deleted policy and a deleted namespace did", () => {
    const labels = { "mesh.cilium.io/enrolled": "true" };
    const bare = worldOf([pod({ name: "a" })]).workloads.get("default/a");
    let state = worldOf([pod({ name: "a" }), policy({ name: "p" }), namespace("default", labels)]);
    state = applyChanges(state, [
      { type: "delete", ref: { kind: "MeshPolicy", namespace: "default", name: "p" } },
    ]);
    assert.equal(state.workloads.get("default/a")?.mode.mode, "PERMISSIVE");
    state = applyChanges(state, [
      { type: "delete", ref: { kind: "Namespace", namespace: "", name: "default" } },
    ]);
    assert.deepEqual(state.workloads.get("default/a"), bare);
  });

  it("keeps rejections until their file is accepted, sorted by place", () => {
    const reject = (...rejections: Rejection[]): Change[] =>
      rejections.map((rejection) => ({ type: "reject", rejection }));
    let state = applyChanges(
      emptyState(CONFIG),
      reject(rejection("b", 1), rejection("a", 9), rejection("a", 2)),
    );
    assert.deepEqual(state.rejections.map(({ file, line }) => [file, line]), [
      ["a", 2],
      ["a", 9],
      ["b", 1],
    ]);
    state = applyChanges(state, [{ type: "accept", file: "a" }]);
    assert.deepEqual(state.rejections.map(({ file }) => file), ["b"]);
  });

  it("is not ready before the source says so", () => {
    assert.deepEqual(emptyState(CONFIG).source, { ready: false });
  });

  it("leaves 10,000 pods as they are when one more comes", () => {
    const pods = Array.from({ length: 10_000 }, (_, index) =>
      pod({
        name: `p${index}`,
        namespace: `ns${index % 50}`,
        node: `node-${index % 100}`,
        addresses: [`10.${index >> 16}.${(index >> 8) & 255}.${index & 255}`],
        labels: { app: `app${index % 200}` },
      }));
    const state = worldOf([
      ...pods,
      ...Array.from(
        { length: 50 },
        (_, index) => policy({ namespace: `ns${index}`, select: { app: `app${index}` } }),
      ),
    ]);
    const next = applyChanges(state, [put(pod({ name: "new", addresses: ["10.200.0.1"] }))]);
    const changed = [...next.workloads].filter(([key, each]) => state.workloads.get(key) !== each);
    assert.deepEqual(changed.map(([key]) => key), ["default/new"]);
    assert.equal(next.workloads.size, 10_001);
  });
});

describe("nodes", () => {
  const announced = (...objects: Parameters<typeof worldOf>[0]) =>
    worldOf(objects).nodes.get("node-b")?.announced;

  it("are announced by a ready WeftNode of their own name", () => {
    assert.equal(announced(node({ name: "node-b" }), weftNode({ name: "node-b" })), true);
    assert.equal(announced(weftNode({ name: "node-b" })), true);
  });

  it("are not announced otherwise", () => {
    const nodeB = node({ name: "node-b", uid: "new" });
    assert.equal(announced(nodeB), false);
    assert.equal(announced(nodeB, weftNode({ name: "node-c" })), false);
    assert.equal(announced(nodeB, weftNode({ name: "node-b", ready: false })), false);
    assert.equal(announced(nodeB, weftNode({ name: "node-b", node: "node-c" })), false);
    assert.equal(announced(nodeB, weftNode({ name: "node-c", node: "node-b" })), false);
  });

  it("are not announced by their predecessor of the same name", () => {
    const nodeB = node({ name: "node-b", uid: "new" });
    assert.equal(announced(nodeB, weftNode({ name: "node-b", nodeUid: "old" })), false);
    assert.equal(announced(nodeB, weftNode({ name: "node-b", nodeUid: "new" })), true);
  });

  it("have the fingerprint that they announce", () => {
    const model = worldOf([weftNode({ name: "node-b", issuerFingerprint: "ab" })]).nodes.get(
      "node-b",
    );
    assert.equal(model?.issuerFingerprint, "ab");
  });
});

describe("warnings", () => {
  const codes = (...objects: Parameters<typeof worldOf>[0]) =>
    worldOf(objects).warnings.map(({ code }) => code);

  it("tell when STRICT covers a DNS server", () => {
    const dns = pod({ name: "dns", addresses: ["10.0.0.3"], labels: { app: "web" } });
    const ports = [{ name: "dns", port: 53, proto: "UDP", target: 53 }];
    const state = worldOf([dns, service({ ports }), policy({ name: "p", mode: "STRICT" })]);
    assert.equal(
      state.warnings[0]?.sentence,
      'STRICT covers the DNS server 53/UDP of Service "default/thing": mutual TLS cannot carry' +
        " UDP, so its clients are denied",
    );
    assert.deepEqual(codes(dns, service({ ports }), policy({ mode: "PERMISSIVE" })), []);
  });

  it("tell when a policy selects nothing, or pods of the host network", () => {
    assert.deepEqual(codes(policy({})), ["selects-nothing"]);
    assert.deepEqual(codes(policy({}), pod({ hostNetwork: true })), ["host-network-selected"]);
    assert.deepEqual(codes(policy({}), pod({})), []);
  });

  it("tell when two Services have one address and port, or a pod has it", () => {
    const two = [service({ name: "a" }), service({ name: "b" })];
    assert.deepEqual(codes(...two), ["cluster-ip-conflict"]);
    assert.deepEqual(codes(service({}), pod({ addresses: ["10.96.0.1"] })), [
      "cluster-ip-conflict",
    ]);
    const apart = service({ name: "b", ports: [{ name: "", port: 81, proto: "TCP", target: 81 }] });
    assert.deepEqual(codes(service({ name: "a" }), apart), []);
  });

  it("tell when an address is disputed", () => {
    const [a, b] = ["a", "b"].map((name) => pod({ name, addresses: ["10.0.0.1"] }));
    assert.ok(a !== undefined && b !== undefined);
    assert.deepEqual(codes(a, b), ["address-conflict"]);
  });
});

describe("policies", () => {
  it("know the live pods that they select", () => {
    const state = worldOf([
      pod({ name: "b", labels: { app: "web" } }),
      pod({ name: "a", labels: { app: "web" } }),
      pod({ name: "c", labels: { app: "web" }, finished: true }),
      pod({ name: "d" }),
      policy({ name: "p", select: { app: "web" } }),
    ]);
    assert.deepEqual(state.policies.get("default/p")?.pods, ["default/a", "default/b"]);
  });
});
