// deno-lint-ignore-file no-await-in-loop -- a test does one thing after the other
/**
 * Workers that fail: what is left of them, who takes their place, and when nobody does any more.
 *
 * @module
 */

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { WeftSocket } from "@/bpf/layout.gen.ts";
import { MapType } from "@/ffi/bpf/constants.ts";
import { BpfMap } from "@/ffi/bpf/map.ts";
import { monotonicNs } from "@/ffi/linux/process.ts";
import { u32Bytes } from "@/ffi/memory.ts";
import { BEAT_SILENCE_MS } from "@/src/limits.ts";
import { openLog } from "@/src/log.ts";
import { type Relay, type RelaySnapshot, startRelay } from "@/src/relay/mod.ts";
import { Rig } from "./relay_rig.ts";

/** Of the pod's listeners. */
const SLOT = 1;
const WORKERS_MAX = 8;
/** Failures after which nobody is put in a worker's place. */
const FAILURES_MAX = 5;

describe("a worker that fails", { timeout: 30_000 }, () => {
  let rig: Rig;
  let relay: Relay;
  let listeners: BpfMap;
  let rows: BpfMap;
  let beats: BpfMap;
  let snapshot: RelaySnapshot;
  let revision = 0;
  const said: string[] = [];

  before(async () => {
    rig = await Rig.open();
    listeners = BpfMap.create({
      name: "listeners",
      type: MapType.SOCKMAP,
      keySize: 4,
      valueSize: 8,
      maxEntries: 64,
    });
    rows = BpfMap.create({
      name: "rows",
      type: MapType.HASH,
      keySize: 4,
      valueSize: WeftSocket.size,
      maxEntries: 1024,
    });
    beats = BpfMap.create({
      name: "beats",
      type: MapType.ARRAY,
      keySize: 4,
      valueSize: 8,
      maxEntries: WORKERS_MAX,
    });
    const row = rows.fd;
    relay = await startRelay({ workers: 2 }, {
      door: {
        sockets: row,
        steered: row,
        listeners: listeners.fd,
        beats: beats.fd,
        connections: row,
        halfOpen: row,
      },
      log: openLog({ level: "error", write: (line) => said.push(line) }),
      onEvent: () => {},
      workerUrl: import.meta.resolve("./relay_broken_worker.ts"),
    });
    const pods = rig.snapshot.pods.filter(({ key }) => key === "b/server");
    snapshot = { ...rig.snapshot, pods };
    await apply();
  });
  after(async () => {
    await relay[Symbol.asyncDispose]();
    for (const map of [rows, listeners, beats]) map[Symbol.dispose]();
    await rig[Symbol.asyncDispose]();
  });

  async function apply(): Promise<void> {
    relay.update({ ...snapshot, revision: ++revision });
    await relay.applied(revision);
  }

  /** Each worker fails at its next snapshots. */
  function breakThem(times: number): void {
    for (const { index } of relay.workers()) Deno.env.set(`FAULTS_relay-${index}`, String(times));
  }

  /** The socket that takes a worker's share of what comes to the pod; 0 without one. */
  function listenerOf(worker: number): bigint {
    const bytes = listeners.lookup(u32Bytes((SLOT * 2 + 1) * WORKERS_MAX + worker));
    return bytes === undefined ? 0n : new DataView(bytes.buffer).getBigUint64(0, true);
  }

  /** When a worker has told of itself last. */
  function beatOf(worker: number): bigint {
    const bytes = beats.lookup(u32Bytes(worker)) ?? new Uint8Array(8);
    return new DataView(bytes.buffer).getBigUint64(0, true);
  }

  it("has told the kernel that it lives, and does so again and again", async () => {
    const first = [beatOf(0), beatOf(1)];
    for (const beat of first) {
      assert.ok(beat > monotonicNs() - BigInt(BEAT_SILENCE_MS) * 1_000_000n, `${beat} is old`);
    }
    const deadline = performance.now() + BEAT_SILENCE_MS;
    while ([beatOf(0), beatOf(1)].some((beat, worker) => beat === first[worker])) {
      assert.ok(performance.now() < deadline, "a worker is silent");
      await new Promise((resolve) => setTimeout(resolve, 20)); // a row of a map tells nobody
    }
  });

  it("is replaced by one that opens listeners of its own", async () => {
    const [first, second] = [listenerOf(0), listenerOf(1)];
    assert.notEqual(first, 0n, said.join(""));
    assert.deepEqual(relay.workers().map(({ running, failures }) => [running, failures]), [
      [true, 0],
      [true, 0],
    ]);
    breakThem(1);
    await apply();
    await failed(1);
    await apply();
    assert.notEqual(listenerOf(0), 0n);
    assert.notEqual(listenerOf(0), first);
    assert.notEqual(listenerOf(1), second);
    for (const worker of relay.workers()) {
      assert.equal(worker.running, true);
      assert.equal(worker.failures, 1);
      assert.equal(worker.lastError, "TypeError: Cannot go on");
      assert.equal(worker.revision, revision);
    }
    assert.match(said.join(""), /relay-worker-failed/);
  });

  it("stays dead when it fails again and again; then nothing of it listens", async () => {
    breakThem(FAILURES_MAX);
    await apply();
    await failed(FAILURES_MAX + 1);
    for (const { running, lastError } of relay.workers()) {
      assert.equal(running, false);
      assert.equal(lastError, "TypeError: Cannot go on");
    }
    assert.deepEqual([listenerOf(0), listenerOf(1)], [0n, 0n]);
    await relay.applied(revision); // whoever waits for the dead is not kept
  });

  /** Resolves when each worker has failed so often. */
  async function failed(count: number): Promise<void> {
    const deadline = performance.now() + 10_000;
    while (relay.workers().some(({ failures }) => failures < count)) {
      assert.ok(performance.now() < deadline, "no worker failed");
      await new Promise((resolve) => setTimeout(resolve, 5)); // its death is only logged
    }
  }
});
