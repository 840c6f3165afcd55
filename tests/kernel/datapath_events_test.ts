/**
 * Events of the kernel: what finds the ring full is counted, and what was allowed is told in full
 * only to somebody who listens.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  WEFT_DROPS_MAX,
  WEFT_UNHEARD_MAX,
  WeftCounter,
  type WeftEvent,
  WeftReason,
  WeftVerdict,
} from "@/bpf/layout.gen.ts";
import { ADDRESSES, TestNode } from "./datapath_fixture.ts";
import { GuardBench, Verdict } from "./datapath_packets.ts";

const [B4] = ADDRESSES.b;
const RING_BYTES = 4096;

describe("a ring of events that nobody reads", () => {
  it("loses what finds no place in it, and counts every loss under its reason", async () => {
    await using node = await TestNode.create({ capacities: { events: RING_BYTES } });
    node.apply({ b: { source: "mesh", mode: "strict" } });
    using b = new GuardBench(node, "b");
    const spoofed = 70;
    const refused = 50;
    for (let port = 1; port <= spoofed; port++) {
      b.gets({ source: B4, target: B4, sourcePort: port });
      if (port > refused) continue;
      b.gets({ source: ADDRESSES.a[0], target: B4, sourcePort: port });
    }
    const events = await readAll(node);
    const counters = node.datapath.counters();
    const lost = lostOf(node);
    const told = (reason: number) => events.filter((event) => event.reason === reason).length;
    const { SPOOFED, MTLS_REQUIRED } = WeftReason;
    assert.equal(counters[SPOOFED], spoofed);
    assert.equal(counters[MTLS_REQUIRED], refused);
    assert.ok(events.length > 0 && events.length < spoofed + refused, `${events.length} told`);
    assert.equal(told(SPOOFED) + (lost[SPOOFED] ?? 0), spoofed);
    assert.equal(told(MTLS_REQUIRED) + (lost[MTLS_REQUIRED] ?? 0), refused);
    assert.equal(counters[WeftCounter.EVENTS_LOST], spoofed + refused - events.length);
    assert.equal(lost.reduce((sum, count) => sum + count, 0), counters[WeftCounter.EVENTS_LOST]);
  });
});

describe("a flood of what is dropped", () => {
  it("is told in part, counted in full, and leaves what is refused its own events", async () => {
    await using node = await TestNode.create();
    node.apply({ b: { source: "mesh", mode: "strict" } });
    using b = new GuardBench(node, "b");
    const attempts = 8 * WEFT_DROPS_MAX;
    for (let sourcePort = 1; sourcePort <= attempts; sourcePort++) {
      b.gets({ source: B4, target: B4, sourcePort });
    }
    b.gets({ source: ADDRESSES.a[0], target: B4 });
    const events = await readAll(node);
    const told = (reason: number) => events.filter((event) => event.reason === reason).length;
    const { SPOOFED, MTLS_REQUIRED } = WeftReason;
    const dropped = told(SPOOFED);
    assert.ok(dropped >= WEFT_DROPS_MAX && dropped < attempts, `${dropped} told`);
    assert.equal(node.datapath.counters()[SPOOFED], attempts);
    assert.equal(dropped + (lostOf(node)[SPOOFED] ?? 0), attempts);
    assert.equal(told(MTLS_REQUIRED), 1);
  });
});

describe("what was allowed", () => {
  it("is told in full while somebody listens, and a few times a second while nobody does", async () => {
    await using node = await TestNode.create();
    node.apply({});
    using b = new GuardBench(node, "b");
    const attempts = 6 * WEFT_UNHEARD_MAX;
    const dial = (source: string) => {
      for (let sourcePort = 1; sourcePort <= attempts; sourcePort++) {
        assert.equal(b.gets({ source, target: B4, sourcePort }), Verdict.NEXT);
      }
    };
    await readAll(node, () => false);
    dial("192.0.2.1");
    const unheard = await readAll(node, () => false);
    assert.ok(unheard.length > 0 && unheard.length < attempts, `${unheard.length} told`);
    await readAll(node, () => true);
    dial("192.0.2.2");
    const heard = await readAll(node, () => true);
    assert.equal(heard.length, attempts);
    assert.ok(heard.every(({ verdict }) => verdict === WeftVerdict.DIRECT));
    assert.equal(node.datapath.counters()[WeftCounter.DIRECT], 2 * attempts);
  });
});

/** Events that found no room, by reason. */
function lostOf(node: TestNode): number[] {
  return node.datapath.counters().slice(WeftCounter.LOST, WeftCounter.MAX);
}

/** Everything that waits in the ring. */
async function readAll(node: TestNode, isHeard?: () => boolean): Promise<WeftEvent[]> {
  const events: WeftEvent[] = [];
  const stop = new AbortController();
  const reading = node.datapath.readEvents((event) => events.push(event), stop.signal, isHeard);
  stop.abort(); // what waits is drained before the signal is looked at again
  await reading;
  return events;
}
