/**
 * Rows of connections live as long as their connections: what may end one, what the sweep finds,
 * and what becomes of one that has no room.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { WeftConnKey, WeftConnRow, WeftSeenRow } from "@/bpf/layout.gen.ts";
import { BpfMap } from "@/ffi/bpf/map.ts";
import { withNetns } from "@/ffi/linux/netns.ts";
import { destroySocket, listSockets } from "@/ffi/linux/sock_diag.ts";
import { emptyPlan } from "@/src/compile/mod.ts";
import { seedConnections } from "@/src/load/connections.ts";
import { Pins } from "@/src/load/pins.ts";
import { Programs } from "@/src/load/programs.ts";
import { openLog } from "@/src/log.ts";
import { formatAddress } from "@/src/model/mod.ts";
import { ADDRESSES, TestNode } from "./datapath_fixture.ts";
import { age, established, gone, hold } from "./datapath_held.ts";
import { GuardBench, rowsOf, Tcp, Verdict } from "./datapath_packets.ts";

const [B4] = ADDRESSES.b;
const OUTSIDE = "10.99.0.9";
const FAR = "192.0.2.1";
const { ACK, SYN, RST } = Tcp;

describe("a RST", () => {
  const directions = [["comes to a pod", "outside", B4, "b"], ["a pod opens", "a", OUTSIDE, "a"]];
  for (const [what, from = "", to = "", pod = ""] of directions) {
    it(`ends no connection that ${what}, unless it has the number that TCP expects`, async () => {
      await using node = await TestNode.create();
      node.apply({});
      const server = pod === "a" ? "outside" : "b";
      await using _server = node.serve(server, 8000, true);
      using _connection = await hold(node, from, to);
      const [[key] = []] = rowsOf(node, "connections");
      const conn = WeftConnKey.decode(key ?? assert.fail("no connection"));
      using guard = new GuardBench(node, pod === "a" ? "a" : "b");
      const before = established(node);
      const blind = {
        source: formatAddress(conn.remote),
        target: formatAddress(conn.local),
        sourcePort: conn.remotePort,
        targetPort: conn.localPort,
        flags: RST,
      };
      for (const seq of [0, 0x4000_0000, 0x8000_0000, 0xc000_0000]) {
        assert.equal(guard.gets({ ...blind, seq }), Verdict.NEXT);
      }
      node.inNode(() => node.datapath.sweep());
      assert.equal(rowsOf(node, "connections").length, 1);
      assert.deepEqual(established(node), before);
      // The peer's own, which its kernel sends when the socket is destroyed.
      const far = node.space(pod === "a" ? "outside" : from);
      const reset = withNetns(
        far.fd,
        () =>
          listSockets().filter(({ remotePort, localPort }) =>
            remotePort === conn.localPort && localPort === conn.remotePort
          ).filter(destroySocket).length,
      );
      assert.equal(reset, 1);
      await gone(node, 0);
      assert.deepEqual(established(node), [0]);
    });
  }

  it("of a connection whose pod has lost its socket leaves the row to the next sweep", async () => {
    await using node = await TestNode.create();
    node.apply({});
    await using _server = node.serve("b", 8000);
    using b = new GuardBench(node, "b");
    const there = { source: FAR, target: B4 };
    b.gets(there);
    b.sends({ source: B4, target: FAR, sourcePort: 8000, targetPort: 40_000, flags: SYN | ACK });
    b.gets({ ...there, flags: ACK, ack: 1 });
    node.datapath.sweep();
    assert.equal(rowsOf(node, "connections").length, 1);
    b.gets({ ...there, flags: RST });
    node.datapath.sweep();
    assert.equal(rowsOf(node, "connections").length, 0);
    assert.deepEqual(established(node), [0]);
  });
});

describe("a full table of connections", () => {
  it("keeps the half-open row of one that finds no place, until there is one", async () => {
    await using node = await TestNode.create({ capacities: { connections: 1 } });
    node.apply({});
    using b = new GuardBench(node, "b");
    const open = (sourcePort: number) => {
      b.gets({ source: FAR, target: B4, sourcePort });
      const back = { source: B4, target: FAR, sourcePort: 8000, targetPort: sourcePort };
      b.sends({ ...back, flags: SYN | ACK });
      return b.gets({ source: FAR, target: B4, sourcePort, flags: ACK, ack: 1 });
    };
    assert.equal(open(40_001), Verdict.NEXT);
    assert.equal(open(40_002), Verdict.DROP);
    assert.equal(rowsOf(node, "half_open").length, 1);
    assert.deepEqual(established(node), [1]);
    const first = { source: B4, target: FAR, sourcePort: 8000, targetPort: 40_001 };
    assert.equal(b.sends({ ...first, flags: RST }), Verdict.NEXT);
    const again = { source: FAR, target: B4, sourcePort: 40_002, flags: ACK, ack: 1 };
    assert.equal(b.gets(again), Verdict.NEXT);
    assert.equal(rowsOf(node, "half_open").length, 0);
    assert.deepEqual(established(node), [1]);
  });
});

describe("a connection that ended without a word", () => {
  it("is swept with its row, and its place is given back", async () => {
    await using node = await TestNode.create();
    node.apply({});
    await using _server = node.serve("b", 8000);
    using b = new GuardBench(node, "b");
    const there = { source: FAR, target: B4 };
    b.gets(there);
    b.sends({ source: B4, target: FAR, sourcePort: 8000, targetPort: 40_000, flags: SYN | ACK });
    b.gets({ ...there, flags: ACK, ack: 1 });
    assert.deepEqual(established(node), [1]);
    age(node);
    node.datapath.sweep();
    assert.equal(rowsOf(node, "connections").length, 0);
    assert.deepEqual(established(node), [0]);
  });

  it("is not taken for a new one of the same ports, which has come while the sweep looked", async () => {
    await using node = await TestNode.create();
    node.apply({});
    await using _server = node.serve("b", 8000, true);
    using _connection = await hold(node, "outside", B4);
    const [[key, value] = []] = rowsOf(node, "connections");
    const seen = {
      key: WeftConnKey.decode(key ?? assert.fail("no row")),
      touchedNs: WeftConnRow.decode(value ?? assert.fail("no row")).touchedNs,
    };
    using programs = Programs.open(Pins.open(node.pins), { log: openLog({ write: () => {} }) });
    const older = WeftSeenRow.encode({ ...seen, touchedNs: seen.touchedNs - 1n });
    assert.equal(programs.forget.call(older), 0);
    assert.equal(rowsOf(node, "connections").length, 1);
    assert.equal(programs.forget.call(WeftSeenRow.encode(seen)), 1);
    assert.equal(rowsOf(node, "connections").length, 0);
    assert.deepEqual(established(node), [0]);
  });

  it("is swept when its pod is gone, too", async () => {
    await using node = await TestNode.create();
    node.apply({});
    await using _server = node.serve("b", 8000, true);
    using _connection = await hold(node, "outside", B4);
    node.apply({ b: { absent: true } });
    age(node);
    node.inNode(() => node.datapath.sweep());
    assert.equal(rowsOf(node, "connections").length, 0);
  });
});

describe("a connection that is silent for long and lives", () => {
  it("keeps its row while its socket is there, and while its pod cannot be found", async () => {
    await using node = await TestNode.create();
    node.apply({});
    await using _server = node.serve("b", 8000, true);
    using _connection = await hold(node, "a", B4);
    const sweep = () => {
      age(node);
      node.inNode(() => node.datapath.sweep());
      assert.equal(rowsOf(node, "connections").length, 2);
      assert.deepEqual(established(node), [2]);
    };
    sweep();
    node.restart();
    assert.throws(() => node.apply({ a: { lost: true }, b: { lost: true } }), /cannot be opened/);
    sweep();
  });
});

describe("connections that are older than the guard", () => {
  it("are given rows where they have none, and what the guard has written stays", async () => {
    await using node = await TestNode.create();
    node.apply({});
    await using _server = node.serve("b", 8000, true);
    using _connection = await hold(node, "outside", B4);
    const before = rowsOf(node, "connections");
    const pod = node.datapath.pods.get("default/b") ?? assert.fail("no pod");
    using map = BpfMap.openPinned(`${node.pins}/maps/connections`) ?? assert.fail("no map");
    node.inNode(() => seedConnections(pod, emptyPlan(), map, 7));
    assert.deepEqual(rowsOf(node, "connections"), before);
    for (const [key] of before) map.delete(key);
    node.inNode(() => seedConnections(pod, emptyPlan(), map, 7));
    assert.deepEqual(rowsOf(node, "connections").map(([key]) => key), before.map(([key]) => key));
  });
});
