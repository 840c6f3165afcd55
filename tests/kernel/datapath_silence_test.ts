// deno-lint-ignore-file no-await-in-loop -- one step at a time, to name the one that fails
/**
 * Relay workers that are silent: stopped or stuck, they keep their listeners, and the kernel must
 * not give them what would then wait for ever. Here a test offers the listeners and writes the
 * signs of life; nobody accepts, and the queues say who was chosen.
 *
 * @module
 */

import assert from "node:assert/strict";
import { after, before, beforeEach, describe, it } from "node:test";
import { WeftCounter, WeftReason } from "@/bpf/layout.gen.ts";
import { BpfMap } from "@/ffi/bpf/map.ts";
import { withNetns } from "@/ffi/linux/netns.ts";
import { monotonicNs } from "@/ffi/linux/process.ts";
import { accept, closeSocket, openTcpListener } from "@/ffi/linux/socket.ts";
import { u32Bytes, u64Bytes } from "@/ffi/memory.ts";
import type { AddressEntry } from "@/src/compile/mod.ts";
import { BEAT_INTERVAL_MS, BEAT_SILENCE_MS } from "@/src/limits.ts";
import { MapDoor } from "@/src/relay/io/door.ts";
import { ADDRESSES, type PodName, TestNode } from "./datapath_fixture.ts";

const WORKERS = 2;
const [B4, B6] = ADDRESSES.b;
const STRICT = 8000;
const PERMISSIVE = 8001;
/** So many that none is left out by chance: two to the power of as many, to one. */
const DIALS = 24;
/** A peer of the mesh on another node. */
const PEER: AddressEntry = {
  source: "mesh",
  mode: "none",
  where: "remote",
  flags: { local: false, ports: false, strict: false, host: false },
};

describe("relay workers of which one tells nothing of itself", { timeout: 60_000 }, () => {
  let node: TestNode;
  let stack: AsyncDisposableStack;
  let door: MapDoor;
  let beats: BpfMap;
  /** By worker, of pod `a` (what it opens) and of `b` (what comes in). */
  const listeners: Record<PodName, number[]> = { a: [], b: [] };

  before(async () => {
    stack = new AsyncDisposableStack();
    node = stack.use(await TestNode.create({ workers: WORKERS }));
    const others = { addresses: new Map([["10.99.0.9", PEER], ["fd99::9", PEER]]) };
    const b = { source: "mesh", mode: "strict", ports: { [PERMISSIVE]: "permissive" } } as const;
    node.apply({ a: { source: "mesh" }, b }, [], others);
    for (const port of [STRICT, PERMISSIVE]) stack.use(node.serve("b", port));
    door = stack.use(new MapDoor(node.datapath.door));
    beats = stack.use(BpfMap.openPinned(`${node.pins}/maps/beats`) ?? assert.fail("no beats"));
    for (const name of ["a", "b"] as const) {
      for (let worker = 0; worker < WORKERS; worker++) {
        const fd = withNetns(node.space(name).fd, () => openTcpListener(100));
        stack.defer(() => closeSocket(fd));
        listeners[name].push(fd);
        offer(name, worker);
      }
    }
  });
  beforeEach(() => {
    for (let worker = 0; worker < WORKERS; worker++) door.beat(worker);
  });
  after(() => stack.disposeAsync());

  function offer(name: PodName, worker: number): void {
    const { slot } = node.datapath.pods.get(`default/${name}`) ?? assert.fail(name);
    const fd = listeners[name][worker] ?? assert.fail(`no listener ${worker}`);
    door.offerListener(slot, name === "a" ? "outbound" : "inbound", worker, fd);
  }

  /** Writes when a worker told of itself last. */
  function put(worker: number, beatNs: bigint): void {
    beats.update(u32Bytes(worker), u64Bytes(beatNs));
  }

  function old(ageMs: number): bigint {
    return monotonicNs() - BigInt(ageMs) * 1_000_000n;
  }

  /** How many of the connections that were dialled wait for each worker of a pod. */
  function queues(name: PodName): number[] {
    return listeners[name].map((listener) => {
      let count = 0;
      for (let fd = accept(listener); fd >= 0; fd = accept(listener), count++) closeSocket(fd);
      return count;
    });
  }

  async function dial(from: string, address: string, port: number): Promise<boolean> {
    const { code } = await node.command(from, "nc", "-z", "-w", "2", address, String(port));
    return code === 0;
  }

  async function dialAll(from: string, times = DIALS): Promise<void> {
    for (let index = 0; index < times; index++) {
      const address = index % 2 === 0 ? B4 : B6;
      assert.ok(await dial(from, address, STRICT), `${from} is refused at ${address}`);
    }
  }

  const ways = [
    ["what a pod opens", "a", "a"],
    ["what comes to a pod", "outside", "b"],
  ] as const;
  for (const [what, from, pod] of ways) {
    describe(`for ${what}`, () => {
      it("both are chosen while both live, also when a few signs of life are late", async () => {
        put(1, old(BEAT_SILENCE_MS - 3 * BEAT_INTERVAL_MS));
        assert.deepEqual(node.datapath.silentWorkers, []);
        await dialAll(from);
        const [first = 0, second = 0] = queues(pod);
        assert.ok(first > 0 && second > 0, `${first} and ${second}`);
        assert.equal(first + second, DIALS);
      });

      for (const silent of [0, 1]) {
        it(`the other is chosen while worker ${silent} is silent`, async () => {
          put(silent, old(BEAT_SILENCE_MS));
          assert.deepEqual(node.datapath.silentWorkers, [silent]);
          await dialAll(from);
          const wanted = [DIALS, DIALS];
          wanted[silent] = 0;
          assert.deepEqual(queues(pod), wanted);
        });
      }

      const silences: readonly (readonly [string, () => bigint])[] = [
        ["are silent", () => old(BEAT_SILENCE_MS)],
        ["have never told of themselves", () => 0n],
        ["tell of a time to come", () => monotonicNs() + 3_600_000_000_000n],
      ];
      for (const [both, beat] of silences) {
        it(`nobody is when both ${both}: refused at once, agent-down`, async () => {
          for (let worker = 0; worker < WORKERS; worker++) put(worker, beat());
          const before = node.datapath.counters()[WeftReason.AGENT_DOWN] ?? 0;
          for (const address of [B4, B6]) {
            assert.equal(await node.dial(from, address, STRICT), "refused");
          }
          assert.equal(node.datapath.counters()[WeftReason.AGENT_DOWN], before + 2);
          assert.deepEqual(queues(pod), [0, 0]);
        });
      }

      it("one that offers its listeners is there at once, whatever was left of another", async () => {
        for (let worker = 0; worker < WORKERS; worker++) put(worker, old(BEAT_SILENCE_MS));
        offer(pod, 1);
        await dialAll(from, 2);
        assert.deepEqual(queues(pod), [0, 2]);
      });
    });
  }

  it("lets PERMISSIVE be reached in plaintext when both are silent, as without an agent", async () => {
    const fallbacks = () => node.datapath.counters()[WeftCounter.FALLBACK] ?? 0;
    const before = fallbacks();
    for (let worker = 0; worker < WORKERS; worker++) put(worker, old(BEAT_SILENCE_MS));
    for (const address of [B4, B6]) {
      assert.equal(await node.dial("outside", address, PERMISSIVE), "served");
    }
    assert.equal(fallbacks(), before + 2);
    assert.deepEqual(queues("b"), [0, 0]);
  });
});
