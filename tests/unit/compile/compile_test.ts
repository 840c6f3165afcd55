/**
 * The Plan of a State: rows, classes and flags, each as the kernel will read it.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { MeshConfig, ModelObject } from "@/src/model/mod.ts";
import {
  compile,
  destinationOf,
  diffPlans,
  emptyPlan,
  type Plan,
  sourceOf,
} from "@/src/compile/mod.ts";
import { node, pod, policy, put, service, slice, weftNode, worldOf } from "../model/world.ts";
import { applyChanges } from "@/src/model/mod.ts";

const ENROLLED = { "mesh.cilium.io/enrolled": "true" };

function planOf(objects: readonly ModelObject[], config: Partial<MeshConfig> = {}): Plan {
  return compile(worldOf(objects, config));
}

/** One row in short: `source mode where [flags] pod`. */
function row(plan: Plan, address: string): string | undefined {
  const entry = plan.addresses.get(address);
  if (entry === undefined) return undefined;
  const flags = Object.entries(entry.flags).filter(([, set]) => set).map(([name]) => name);
  const cells = [entry.source, entry.mode, entry.where, `[${flags.join(" ")}]`, entry.pod ?? "-"];
  return cells.join(" ");
}

describe("rows of addresses", () => {
  it("tell pods in the mesh, outside of it, and with certificates of their own", () => {
    const plan = planOf([
      pod({ name: "in", addresses: ["10.0.0.1"], labels: ENROLLED }),
      pod({ name: "out", addresses: ["10.0.0.2"] }),
      pod({ name: "own", addresses: ["10.0.0.3"], ownCertificate: true }),
      pod({ name: "off", addresses: ["10.0.0.4"], labels: { "mesh.cilium.io/enrolled": "false" } }),
      policy({ select: { "mesh.cilium.io/enrolled": "false" } }),
    ]);
    assert.equal(row(plan, "10.0.0.1"), "mesh permissive encrypt [local] default/in");
    assert.equal(row(plan, "10.0.0.2"), "plain none encrypt [local] default/out");
    assert.equal(row(plan, "10.0.0.3"), "own_cert none encrypt [local] default/own");
    assert.equal(row(plan, "10.0.0.4"), "plain strict encrypt [local strict] default/off");
  });

  it("tell where a pod lives", () => {
    const on = (name: string, address: string) =>
      pod({ name, node: name, addresses: [address], labels: ENROLLED });
    const plan = planOf([
      on("node-a", "10.0.0.1"),
      on("node-b", "10.0.0.2"),
      on("node-c", "10.0.0.3"),
      weftNode({ name: "node-b" }),
      weftNode({ name: "node-c", ready: false }),
    ], { sameNode: "attest" });
    assert.equal(row(plan, "10.0.0.1"), "mesh permissive attest [local] default/node-a");
    assert.equal(row(plan, "10.0.0.2"), "mesh permissive remote [] default/node-b");
    assert.equal(row(plan, "10.0.0.3"), "mesh permissive unready [] default/node-c");
  });

  it("have every address of a pod, in canonical text", () => {
    const plan = planOf([pod({ name: "a", addresses: ["10.0.0.1", "fd00::1"], labels: ENROLLED })]);
    assert.deepEqual([...plan.addresses.keys()], ["10.0.0.1", "fd00::1"]);
    assert.equal(row(plan, "fd00::1"), row(plan, "10.0.0.1"));
  });

  it("have ports that differ from their pod", () => {
    const overrides = [
      { port: 80, mode: "STRICT" },
      { port: 443, mode: "PERMISSIVE" },
      { port: 9090, mode: "DISABLE" },
    ] as const;
    const plan = planOf([
      pod({ name: "a", addresses: ["10.0.0.1", "fd00::1"] }),
      policy({ mode: "PERMISSIVE", overrides }),
    ]);
    assert.equal(row(plan, "10.0.0.1"), "mesh permissive encrypt [local ports strict] default/a");
    assert.deepEqual([...plan.ports.entries()], [
      ["10.0.0.1 80/TCP", portRow("10.0.0.1", 80, "strict")],
      ["10.0.0.1 9090/TCP", portRow("10.0.0.1", 9090, "none")],
      ["fd00::1 80/TCP", portRow("fd00::1", 80, "strict")],
      ["fd00::1 9090/TCP", portRow("fd00::1", 9090, "none")],
    ]);
  });

  const portRow = (address: string, port: number, mode: string) => ({
    address,
    port,
    proto: "TCP",
    mode,
    where: "encrypt",
  });

  it("tell nodes, and this node", () => {
    const plan = planOf([
      node({ name: "node-a", addresses: ["192.0.2.1"] }),
      node({ name: "node-b", addresses: ["192.0.2.2"] }),
      pod({ name: "host", hostNetwork: true, addresses: ["192.0.2.2"], labels: ENROLLED }),
      policy({}),
    ]);
    assert.equal(row(plan, "192.0.2.1"), "node none unready [host] -");
    assert.equal(row(plan, "192.0.2.2"), "node none unready [] -");
  });

  it("keep the strictest mode of a disputed address", () => {
    const claims = [
      pod({ name: "a", addresses: ["10.0.0.1"], labels: { app: "web" } }),
      pod({ name: "b", node: "node-b", addresses: ["10.0.0.1"] }),
    ];
    const overrides = [{ port: 81, mode: "DISABLE" }] as const;
    const strict = policy({ select: { app: "web" }, overrides });
    const plan = planOf([...claims, strict]);
    assert.equal(row(plan, "10.0.0.1"), "conflict strict unready [local ports strict] default/a");
    assert.equal(plan.ports.get("10.0.0.1 81/TCP")?.mode, "none");
    assert.equal(row(planOf(claims), "10.0.0.1"), "conflict none unready [local] default/a");
    const last = policy({ select: { app: "db" } });
    const other = pod({
      name: "c",
      node: "node-b",
      addresses: ["10.0.0.1"],
      labels: { app: "db" },
    });
    assert.equal(planOf([...claims, other, last]).addresses.get("10.0.0.1")?.mode, "strict");
  });

  it("give a disputed address to nobody when two pods of this node claim it", () => {
    const claims = ["a", "b"].map((name) => pod({ name, addresses: ["10.0.0.1"] }));
    assert.equal(row(planOf(claims), "10.0.0.1"), "conflict none unready [local] -");
  });

  it("keep a STRICT pod closed whose address lies outside of its node's pod CIDRs", () => {
    const plan = planOf([
      node({ name: "node-a", podCidrs: ["10.9.0.0/16"] }),
      pod({ name: "a", addresses: ["10.0.0.1"] }),
      policy({}),
    ]);
    assert.equal(row(plan, "10.0.0.1"), "conflict strict unready [local strict] default/a");
  });
});

describe("classes of addresses without a row", () => {
  const state = worldOf([node({ name: "node-b", podCidrs: ["10.1.0.0/24", "fd00:1::/64"] })]);

  it("are unknown in a pod CIDR, else outside", () => {
    assert.equal(sourceOf(state, "10.1.0.9"), "unknown");
    assert.equal(sourceOf(state, "fd00:1::9"), "unknown");
    assert.equal(sourceOf(state, "10.1.1.9"), "outside");
    assert.equal(destinationOf(state, "10.1.0.9", 80).mode, "unknown");
    assert.equal(destinationOf(state, "192.0.2.9", 80).mode, "none");
  });

  it("are what the kernel makes of the CIDRs of the plan", () => {
    assert.deepEqual(compile(state).cidrs, ["10.1.0.0/24", "fd00:1::/64"]);
  });
});

describe("rows of services", () => {
  const web = (name: string, addresses: string[], fields = {}) =>
    pod({ name, addresses, labels: { app: "web" }, ...fields });

  it("have backends of the family of the cluster address", () => {
    const plan = planOf([
      service({ clusterIps: ["10.96.0.1", "fd00:96::1"] }),
      web("a", ["10.0.0.1", "fd00::1"]),
      web("b", ["10.0.0.2"]),
    ]);
    assert.deepEqual(plan.services, [
      {
        service: "default/thing",
        address: "10.96.0.1",
        port: 80,
        proto: "TCP",
        backends: [{ address: "10.0.0.1", port: 8080 }, { address: "10.0.0.2", port: 8080 }],
      },
      {
        service: "default/thing",
        address: "fd00:96::1",
        port: 80,
        proto: "TCP",
        backends: [{ address: "fd00::1", port: 8080 }],
      },
    ]);
  });

  it("stay without backends, so that clients are refused at once", () => {
    assert.deepEqual(planOf([service({})]).services[0]?.backends, []);
  });

  it("do not exist for headless Services", () => {
    assert.deepEqual(planOf([service({ clusterIps: [] }), web("a", ["10.0.0.1"])]).services, []);
  });

  it("skip backends that would make the client wait, while others remain", () => {
    const remote = web("b", ["10.0.0.2"], { node: "node-b" });
    const backends = (...objects: ModelObject[]) =>
      planOf([service({}), ...objects]).services[0]?.backends.map(({ address }) => address);
    const strict = policy({});
    assert.deepEqual(backends(web("a", ["10.0.0.1"]), remote, strict), ["10.0.0.1"]);
    assert.deepEqual(backends(remote, strict), ["10.0.0.2"]);
    assert.deepEqual(
      backends(web("a", ["10.0.0.1"]), remote, strict, weftNode({ name: "node-b" })),
      ["10.0.0.1", "10.0.0.2"],
    );
    assert.deepEqual(backends(web("a", ["10.0.0.1"]), remote), ["10.0.0.1", "10.0.0.2"]);
  });

  it("skip endpoints that lie in a pod CIDR and are not known yet", () => {
    const endpoints = ["10.0.0.1", "10.0.0.9"].map((address) => ({
      addresses: [address],
      ready: true,
      serving: true,
      terminating: false,
      node: "",
    }));
    const plan = planOf([
      service({}),
      slice({ endpoints }),
      web("a", ["10.0.0.1"]),
      node({ name: "node-a", podCidrs: ["10.0.0.0/24"] }),
    ]);
    assert.deepEqual(plan.services[0]?.backends, [{ address: "10.0.0.1", port: 8080 }]);
  });

  it("are refused when two Services have one address and port", () => {
    const plan = planOf([service({ name: "a" }), service({ name: "b" }), web("w", ["10.0.0.1"])]);
    assert.equal(plan.services.length, 1);
    assert.deepEqual(plan.services[0]?.backends, []);
  });
});

describe("pods of this node", () => {
  it("are the live ones on the pod network that have an address", () => {
    const plan = planOf([
      pod({ name: "a", addresses: ["10.0.0.1"], netns: "/run/netns/a", labels: ENROLLED }),
      pod({ name: "b", addresses: ["10.0.0.2", "fd00::2"] }),
      pod({ name: "own", addresses: ["10.0.0.3"], ownCertificate: true }),
      pod({ name: "remote", node: "node-b", addresses: ["10.0.0.4"] }),
      pod({ name: "host", hostNetwork: true, addresses: ["192.0.2.1"] }),
      pod({ name: "done", finished: true, addresses: ["10.0.0.5"] }),
      pod({ name: "new", addresses: [] }),
    ]);
    assert.deepEqual([...plan.localPods.values()], [
      { key: "default/a", addresses: ["10.0.0.1"], netns: "/run/netns/a", source: "mesh" },
      { key: "default/b", addresses: ["10.0.0.2", "fd00::2"], source: "plain" },
      { key: "default/own", addresses: ["10.0.0.3"], source: "own_cert" },
    ]);
  });
});

describe("diffPlans()", () => {
  const base = [
    pod({ name: "a", addresses: ["10.0.0.1"] }),
    pod({ name: "b", addresses: ["10.0.0.2"] }),
    node({ name: "node-a", podCidrs: ["10.0.0.0/24"] }),
    service({}),
  ];

  it("finds nothing between two Plans of the same objects", () => {
    assert.equal(diffPlans(planOf(base), planOf(base)).empty, true);
  });

  it("finds what is new, changed and gone", () => {
    const before = worldOf(base);
    const after = applyChanges(before, [
      put(policy({ name: "p", select: { app: "web" } })),
      put(pod({ name: "a", addresses: ["10.0.0.1"], labels: { app: "web" } })),
      put(pod({ name: "c", addresses: ["10.0.0.3"] })),
      { type: "delete", ref: { kind: "Pod", namespace: "default", name: "b" } },
      put(node({ name: "node-a", podCidrs: ["10.0.0.0/23"] })),
    ]);
    const diff = diffPlans(compile(before), compile(after));
    assert.deepEqual([...diff.addresses.put.keys()], ["10.0.0.1", "10.0.0.3"]);
    assert.deepEqual(diff.addresses.delete, ["10.0.0.2"]);
    assert.deepEqual(diff.cidrs, { put: ["10.0.0.0/23"], delete: ["10.0.0.0/24"] });
    assert.deepEqual([...diff.services.put.values()].map(({ backends }) => backends), [
      [{ address: "10.0.0.1", port: 8080 }],
    ]);
    assert.deepEqual([...diff.localPods.put.keys()], ["default/a", "default/c"]);
    assert.equal(diff.decisions, undefined);
    assert.equal(diff.empty, false);
  });

  it("starts from a Plan that knows nobody", () => {
    const diff = diffPlans(emptyPlan(), planOf(base));
    assert.equal(diff.addresses.put.size, 2);
    assert.equal(diff.decisions, undefined);
  });
});
