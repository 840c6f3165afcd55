// deno-lint-ignore-file no-await-in-loop -- one step at a time, to name the one that fails
/**
 * Nobody can take the rows that others need: what a pod, a network outside or all of them together
 * may have of the connection tables, and that it is given back.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { WeftBudget, WeftReason } from "@/bpf/layout.gen.ts";
import { BpfMap } from "@/ffi/bpf/map.ts";
import type { AddressEntry } from "@/src/compile/mod.ts";
import { CONNECTION_LIMITS } from "@/src/limits.ts";
import { ADDRESSES, TestNode } from "./datapath_fixture.ts";
import { established, gone, hold, ports } from "./datapath_held.ts";
import { GuardBench, rowsOf, Tcp, Verdict } from "./datapath_packets.ts";

const [A4] = ADDRESSES.a;
const [B4] = ADDRESSES.b;
const OUTSIDE = "10.99.0.9";
const FAR = "192.0.2.1";
const { ACK, SYN, RST } = Tcp;
/** A pod of the mesh on another node. */
const PEER: AddressEntry = {
  source: "mesh",
  mode: "none",
  where: "remote",
  flags: { local: false, ports: false, strict: false, host: false },
};

describe("a pod that opens as many connections as it may", () => {
  it("is refused more, at once, while another pod is served; and gets their place back", async () => {
    await using node = await TestNode.create({ limits: { ...CONNECTION_LIMITS, opened: 4 } });
    node.apply({});
    await using server = node.serve("outside", 8000, true);
    const held = await Promise.all([0, 1, 2, 3].map(() => hold(node, "a", OUTSIDE)));
    try {
      assert.equal(await node.dial("a", OUTSIDE, 8000), "refused");
      assert.equal(node.datapath.counters()[WeftReason.MAP_FULL], 1);
      assert.equal(rowsOf(node, "connections").length, 4);
      using other = await hold(node, "b", OUTSIDE);
      assert.ok(other);
      assert.equal(server.peers.length, 5);
    } finally {
      held.forEach((connection) => connection[Symbol.dispose]());
    }
    await gone(node, 0);
    using again = await hold(node, "a", OUTSIDE);
    assert.ok(again);
  });

  it("pays for both ends of a connection to a pod of its node, and that pod for none", async () => {
    await using node = await TestNode.create();
    node.apply({});
    await using _server = node.serve("b", 8000, true);
    using connection = await hold(node, "a", B4);
    assert.ok(connection);
    assert.equal(rowsOf(node, "connections").length, 2);
    assert.deepEqual(established(node), [2]);
  });
});

describe("hosts outside that open as many connections as they may", () => {
  it("are refused more, by network and then by pod, while the pods of the node are served", async () => {
    const limits = { ...CONNECTION_LIMITS, network: 2, accepted: 3 };
    await using node = await TestNode.create({ limits });
    node.apply({});
    await using server = node.serve("b", 8000, true);
    const opened: Disposable[] = [];
    try {
      for (const address of [B4, B4]) opened.push(await hold(node, "outside", address));
      assert.equal(await node.dial("outside", B4, 8000), "refused");
      opened.push(await hold(node, "outside", ADDRESSES.b[1]));
      assert.equal(await node.dial("outside", ADDRESSES.b[1], 8000), "refused");
      assert.equal(node.datapath.counters()[WeftReason.MAP_FULL], 2);
      opened.push(await hold(node, "a", B4));
      opened.push(await hold(node, "node", B4));
      assert.equal(server.peers.length, 5);
    } finally {
      opened.forEach((connection) => connection[Symbol.dispose]());
    }
  });
});

describe("a network outside whose number is nobody's", () => {
  it("has its bounds, too", async () => {
    await using node = await TestNode.create({ limits: { ...CONNECTION_LIMITS, network: 1 } });
    node.apply({});
    await using _server = node.serve("b", 8000);
    using b = new GuardBench(node, "b");
    const target = ADDRESSES.b[1];
    for (const source of ["::5:6", "::7:8"]) {
      const back = { source: target, target: source, sourcePort: 8000, targetPort: 40_000 };
      assert.equal(b.gets({ source, target }), Verdict.NEXT);
      b.sends({ ...back, flags: SYN | ACK, seq: 7_000_000 });
      b.gets({ source, target, flags: ACK, ack: 7_000_001 });
    }
    assert.equal(rowsOf(node, "connections").length, 1);
  });
});

describe("a flood of SYNs", () => {
  it("of one pod is dropped beyond its budget, and another pod's connections begin", async () => {
    await using node = await TestNode.create({ limits: { ...CONNECTION_LIMITS, halfOpen: 10 } });
    node.apply({});
    using a = new GuardBench(node, "a");
    using b = new GuardBench(node, "b");
    // The kernel counts anew in every second: an epoch may end between the SYNs, but not three.
    const passed = ports(60).filter((sourcePort) =>
      a.sends({ source: A4, target: FAR, sourcePort }) === Verdict.NEXT
    );
    assert.ok(passed.length >= 10 && passed.length <= 20, `${passed.length} passed`);
    assert.equal(node.datapath.counters()[WeftReason.SYN_BUDGET], 60 - passed.length);
    assert.equal(b.sends({ source: B4, target: FAR }), Verdict.NEXT);
  });

  it("of many networks to one pod is dropped beyond that pod's budget, and others are reached", async () => {
    await using node = await TestNode.create({ limits: { ...CONNECTION_LIMITS, flood: 10 } });
    node.apply({});
    using a = new GuardBench(node, "a");
    using b = new GuardBench(node, "b");
    const passed = ports(60).filter((_, net) =>
      b.gets({ source: `198.51.${net}.1`, target: B4 }) === Verdict.NEXT
    );
    assert.ok(passed.length >= 10 && passed.length <= 20, `${passed.length} passed`);
    assert.equal(a.gets({ source: "198.51.100.1", target: A4 }), Verdict.NEXT);
  });

  it("followed by blind acknowledgements takes no row of complete connections", async () => {
    await using node = await TestNode.create();
    node.apply({});
    await using _server = node.serve("b", 8000);
    using b = new GuardBench(node, "b");
    const there = { source: FAR, target: B4 };
    const back = { source: B4, target: FAR, sourcePort: 8000, targetPort: 40_000 };
    assert.equal(b.gets(there), Verdict.NEXT);
    assert.equal(b.gets({ ...there, flags: ACK, ack: 1 }), Verdict.NEXT);
    assert.equal(b.sends({ ...back, flags: SYN | ACK, seq: 7_000_000 }), Verdict.NEXT);
    assert.equal(b.gets({ ...there, flags: ACK, ack: 6_000_000 }), Verdict.NEXT);
    assert.equal(rowsOf(node, "connections").length, 0);
    assert.equal(b.gets({ ...there, flags: ACK, ack: 7_000_001 }), Verdict.NEXT);
    assert.equal(rowsOf(node, "connections").length, 1);
    assert.deepEqual(established(node), [1]);
    assert.equal(b.sends({ ...back, flags: RST }), Verdict.NEXT);
    assert.equal(rowsOf(node, "connections").length, 0);
    assert.deepEqual(established(node), [0]);
  });
});

describe("SYNs from elsewhere under the address of a pod", () => {
  it("spend nothing of what that pod may open", async () => {
    await using node = await TestNode.create({ limits: { ...CONNECTION_LIMITS, halfOpen: 10 } });
    node.apply({});
    using a = new GuardBench(node, "a");
    using b = new GuardBench(node, "b");
    const forge = () =>
      ports(60).filter((sourcePort) => b.gets({ source: A4, target: B4, sourcePort }) !== -1);
    // In whichever second the pod dials, the forger was there before it.
    for (let times = 0; times < 3; times++) {
      assert.ok(forge().length > 0, "the forger is held to a budget");
      assert.equal(a.sends({ source: A4, target: FAR, sourcePort: 50_000 + times }), Verdict.NEXT);
    }
  });
});

describe("a flood of SYNs from unknown networks", () => {
  it("refuses nobody of the mesh, be it at the same pod", async () => {
    await using node = await TestNode.create({ limits: { ...CONNECTION_LIMITS, flood: 10 } });
    node.apply({}, [], { addresses: new Map([[FAR, PEER]]) });
    using b = new GuardBench(node, "b");
    for (let times = 0; times < 3; times++) {
      const passed = ports(60).filter((_, net) =>
        b.gets({ source: `198.51.${60 * times + net}.1`, target: B4 }) === Verdict.NEXT
      );
      assert.ok(passed.length < 60, "the flood is held to a budget");
      assert.equal(b.gets({ source: FAR, target: B4, sourcePort: 50_000 + times }), Verdict.NEXT);
    }
  });
});

describe("a budget from which two CPUs have taken the same place", () => {
  it("has less than nothing taken, which refuses nobody", async () => {
    await using node = await TestNode.create();
    node.apply({});
    using a = new GuardBench(node, "a");
    using b = new GuardBench(node, "b");
    assert.equal(a.sends({ source: A4, target: FAR }), Verdict.NEXT);
    assert.equal(b.gets({ source: FAR, target: B4 }), Verdict.NEXT);
    for (const name of ["pod_budgets", "budgets"]) {
      using map = BpfMap.openPinned(`${node.pins}/maps/${name}`);
      const less = { epoch: 0n, halfOpen: 0, established: 0xffff_ffff, steered: 0xffff_ffff };
      for (const [key] of map?.entries() ?? []) map?.update(key.slice(), WeftBudget.encode(less));
    }
    assert.equal(a.sends({ source: A4, target: FAR, sourcePort: 41_000 }), Verdict.NEXT);
    await using server = node.serve("b", 8000);
    assert.equal(await node.dial("outside", B4, 8000), "served");
    assert.equal(await node.dial("a", B4, 8000), "served");
    assert.equal(server.peers.length, 2);
    assert.equal(node.datapath.counters()[WeftReason.MAP_FULL], 0);
  });
});

describe("a pod whose relay holds as many connections as it may", () => {
  it("still opens what needs no relay, and nothing that needs it", async () => {
    await using node = await TestNode.create({ limits: { ...CONNECTION_LIMITS, steered: 0 } });
    node.apply({ a: { source: "mesh" }, b: { source: "mesh", mode: "strict" } });
    await using _server = node.serve("outside", 8000);
    for (let times = 0; times < 2; times++) { // the first leaves the budget
      assert.equal(await node.dial("a", OUTSIDE, 8000), "served");
    }
    node.inNode(() => node.datapath.hold(5000)); // a relay is expected, for which others wait
    assert.equal(await node.dial("a", B4, 8000), "refused");
    assert.equal(node.datapath.counters()[WeftReason.MAP_FULL], 1);
  });
});

describe("a pod that sends datagrams to ever new peers", () => {
  it("is held to its budget when it is STRICT, and takes no rows when it is not", async () => {
    await using node = await TestNode.create({ limits: { ...CONNECTION_LIMITS, halfOpen: 10 } });
    node.apply({ a: { source: "mesh", mode: "strict" } });
    using a = new GuardBench(node, "a");
    using b = new GuardBench(node, "b");
    const send = (bench: GuardBench, source: string) =>
      ports(60).filter((sourcePort) =>
        bench.sends({ source, target: FAR, sourcePort, proto: "udp" }) === Verdict.NEXT
      ).length;
    const passed = send(a, A4);
    assert.ok(passed >= 10 && passed <= 20, `${passed} passed`);
    assert.equal(node.datapath.counters()[WeftReason.MAP_FULL], 60 - passed);
    assert.equal(send(b, B4), 60);
    assert.equal(rowsOf(node, "datagrams").length, passed);
  });
});
