// deno-lint-ignore-file no-await-in-loop -- one step at a time, to name the one that fails
/**
 * Maps that are too small for the plan: what has no row is denied, `shortages` names the map, and
 * everything is as it should be again when there is room.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { MAPS, WeftReason } from "@/bpf/layout.gen.ts";
import type { AddressEntry, ServiceEntry } from "@/src/compile/mod.ts";
import { ADDRESSES_MAX, CONNECTIONS_MAX, LOCAL_PODS_MAX } from "@/src/limits.ts";
import { ADDRESSES, TestNode } from "./datapath_fixture.ts";

const [B4, B6] = ADDRESSES.b;
const OUTSIDE = "10.99.0.9";

/** Rows of `addresses` for both pods and the node. */
const OWN_ADDRESSES = 6;

const STRICT_ELSEWHERE: AddressEntry = {
  source: "mesh",
  mode: "strict",
  where: "unready",
  flags: { local: false, ports: false, strict: true, host: false },
};

describe("the sizes of maps", () => {
  it("are those that limits.ts states", () => {
    const { addresses, ports, services, pods, veths, connections } = MAPS;
    for (const { maxEntries } of [addresses, ports, services]) {
      assert.equal(maxEntries, ADDRESSES_MAX);
    }
    for (const { maxEntries } of [pods, veths]) assert.equal(maxEntries, LOCAL_PODS_MAX);
    assert.equal(connections.maxEntries, CONNECTIONS_MAX);
  });
});

describe("a full map of port overrides", () => {
  it("makes the addresses STRICT whose overrides do not all fit, until they do", async () => {
    await using node = await TestNode.create({ capacities: { ports: 3 } });
    await using _open = node.serve("b", 8000);
    await using _strict = node.serve("b", 8001);
    node.apply({ b: { source: "mesh", mode: "none", ports: { 8001: "strict", 8002: "strict" } } });
    assert.equal(await node.dial("outside", B4, 8000), "served");
    assert.equal(await node.dial("outside", B4, 8001), "refused");
    assert.equal(await node.dial("outside", B6, 8001), "refused");
    assert.equal(await node.dial("outside", B6, 8000), "refused");
    assert.deepEqual(fullMaps(node), ["ports"]);
    assert.match(node.datapath.shortages[0]?.sentence ?? "", /1 addresses are STRICT .*fd99::3/);

    // The new override has room only where the old one was.
    node.apply({ b: { source: "mesh", mode: "none", ports: { 8002: "strict" } } });
    assert.deepEqual(fullMaps(node), []);
    for (const address of [B4, B6]) {
      assert.equal(await node.dial("outside", address, 8001), "served");
      assert.equal(await node.dial("outside", address, 8000), "served");
    }
    node.apply({ b: { source: "mesh", mode: "none", ports: { 8001: "strict" } } });
    assert.deepEqual(fullMaps(node), []);
    for (const address of [B4, B6]) {
      assert.equal(await node.dial("outside", address, 8001), "refused");
      assert.equal(await node.dial("outside", address, 8000), "served");
    }
  });
});

describe("a full map of addresses", () => {
  it("sends an enrolled pod to nobody that it does not know, and keeps this node's own", async () => {
    await using node = await TestNode.create({ capacities: { addresses: OWN_ADDRESSES } });
    await using _outside = node.serve("outside", 8000);
    await using _b = node.serve("b", 8000);
    const mesh = { a: { source: "mesh" } } as const;
    node.apply(mesh);
    assert.equal(await node.dial("a", OUTSIDE, 8000), "served");
    node.apply(mesh, [], { addresses: new Map([[OUTSIDE, STRICT_ELSEWHERE]]) });
    assert.equal(await node.dial("a", OUTSIDE, 8000), "refused");
    assert.equal(node.datapath.counters()[WeftReason.AGENT_DOWN], 1);
    assert.equal(await node.dial("a", B4, 8000), "served");
    assert.deepEqual(fullMaps(node), ["addresses"]);
    node.apply(mesh);
    assert.equal(await node.dial("a", OUTSIDE, 8000), "served");
    assert.deepEqual(fullMaps(node), []);
  });
});

describe("a full map of pod networks", () => {
  it("sends an enrolled pod to nobody that it does not know", async () => {
    await using node = await TestNode.create({ capacities: { cidrs: 1 } });
    await using _outside = node.serve("outside", 8000);
    const mesh = { a: { source: "mesh" } } as const;
    node.apply(mesh, [], { cidrs: ["10.97.0.0/16", "10.99.0.0/24"] });
    assert.equal(await node.dial("a", OUTSIDE, 8000), "refused");
    assert.deepEqual(fullMaps(node), ["cidrs"]);
    node.apply(mesh, [], { cidrs: ["10.97.0.0/16"] });
    assert.equal(await node.dial("a", OUTSIDE, 8000), "served");
    assert.deepEqual(fullMaps(node), []);
  });
});

describe("a full map of Services", () => {
  it("keeps an enrolled pod from addresses that may be a Service's", async () => {
    await using node = await TestNode.create({ capacities: { services: 1 } });
    await using _b = node.serve("b", 8000);
    await using _outside = node.serve("outside", 8000);
    const mesh = { a: { source: "mesh" } } as const;
    node.apply(mesh, [serviceAt("10.96.0.5"), serviceAt("10.96.0.6")]);
    assert.equal(await node.dial("a", "10.96.0.5", 80), "served");
    assert.equal(await node.dial("a", "10.96.0.6", 80), "refused");
    assert.equal(await node.dial("a", OUTSIDE, 8000), "refused");
    assert.equal(node.datapath.counters()[WeftReason.MAP_FULL], 2);
    assert.deepEqual(fullMaps(node), ["services"]);
    node.apply(mesh, [serviceAt("10.96.0.6")]);
    assert.equal(await node.dial("a", "10.96.0.6", 80), "served");
    assert.equal(await node.dial("a", OUTSIDE, 8000), "served");
    assert.deepEqual(fullMaps(node), []);
  });

  it("refuses a Service whose backends do not fit, and no other", async () => {
    await using node = await TestNode.create({ capacities: { backends: 2 } });
    await using _b = node.serve("b", 8000);
    node.apply({}, [serviceAt("10.96.0.5"), serviceAt("10.96.0.6", 2)]);
    assert.equal(await node.dial("a", "10.96.0.5", 80), "served");
    assert.equal(await node.dial("a", "10.96.0.6", 80), "refused");
    assert.equal(node.datapath.counters()[WeftReason.MAP_FULL], 1);
    assert.deepEqual(fullMaps(node), ["backends"]);
    node.apply({}, [serviceAt("10.96.0.6", 2)]);
    assert.equal(await node.dial("a", "10.96.0.6", 80), "served");
    assert.deepEqual(fullMaps(node), []);
  });
});

for (const map of ["pods", "veths"] as const) {
  describe(`a full map of ${map}`, () => {
    it("lets nothing of the pods pass that have no room, until they have", async () => {
      await using node = await TestNode.create({ capacities: { [map]: 1 } });
      await using server = node.serve("b", 8000);
      await using _outside = node.serve("outside", 8000);
      node.apply({ b: { source: "mesh", mode: "permissive" } });
      assert.equal(await node.dial("a", OUTSIDE, 8000), "served");
      assert.equal(await node.dial("outside", B4, 8000), "timeout");
      assert.equal(await node.dial("b", OUTSIDE, 8000), "timeout");
      assert.deepEqual(server.peers, []);
      assert.ok((node.datapath.counters()[WeftReason.MAP_FULL] ?? 0) >= 2);
      assert.match(node.datapath.shortages[0]?.sentence ?? "", /default\/b/);
      node.apply({ a: { absent: true }, b: { mode: "none" } });
      // The slot of a pod that has gone is free from the next look on.
      assert.equal(node.inNode(() => node.datapath.repair()), true);
      node.apply({ a: { absent: true }, b: { mode: "none" } });
      assert.equal(await node.dial("outside", B4, 8000), "served");
      assert.equal(await node.dial("b", OUTSIDE, 8000), "served");
      assert.deepEqual(fullMaps(node), []);
    });
  });
}

function fullMaps(node: TestNode): string[] {
  return node.datapath.shortages.map(({ map }) => map);
}

function serviceAt(address: string, backends = 1): ServiceEntry {
  return {
    service: "default/b",
    address,
    port: 80,
    proto: "TCP",
    backends: Array.from({ length: backends }, () => ({ address: B4, port: 8000 })),
  };
}
