/**
 * The ring buffer, against the running kernel. Each run of `emit` reserves 48 of 4096 bytes.
 *
 * @module
 */

import assert from "node:assert/strict";
import { afterEach, before, describe, it } from "node:test";
import { BpfObject } from "@/ffi/bpf/object.ts";
import { RingBuffer } from "@/ffi/bpf/ring.ts";
import { Epoll, EPOLLIN } from "@/ffi/linux/epoll.ts";
import { assertNoLeaks, compileFixture } from "./ffi_fixture.ts";

const PACKET = new Uint8Array(64);
const RING_SIZE_BYTES = 4096;
const SPAN_BYTES = 48;

describe("a ring buffer", () => {
  let tiny: Uint8Array<ArrayBuffer>;
  before(async () => void (tiny = await compileFixture("tiny")));
  afterEach(assertNoLeaks);

  function open(): { ring: RingBuffer; emit: (times: number) => number; [Symbol.dispose](): void } {
    const object = BpfObject.open(tiny, { programs: ["emit"], constants: { answer: 1 } }).load();
    const ring = new RingBuffer(object.map("events"));
    return {
      ring,
      emit: (times) => {
        let lost = 0;
        for (let i = 0; i < times; i++) {
          if (object.program("emit").testRun({ dataIn: PACKET }).retval === -1) lost++;
        }
        return lost;
      },
      [Symbol.dispose]: () => {
        ring[Symbol.dispose]();
        object[Symbol.dispose]();
      },
    };
  }

  function drain(ring: RingBuffer, max = 1000): number[] {
    const numbers: number[] = [];
    ring.drain(max, (record) => {
      assert.equal(record.byteLength, 40);
      assert.equal(record.getUint32(4, true), PACKET.length);
      numbers.push(record.getUint32(0, true));
    });
    return numbers;
  }

  it("hands over submitted records in order and passes over discarded ones", () => {
    using test = open();
    test.emit(6);
    assert.deepEqual(drain(test.ring), [0, 1, 3, 4]);
    assert.equal(test.ring.pendingBytes, 0);
    assert.deepEqual(drain(test.ring), []);
  });

  it("is readable, for epoll, exactly while a record waits", () => {
    using test = open();
    using epoll = new Epoll();
    epoll.add(test.ring.fd, EPOLLIN);
    assert.equal(epoll.wait(0), 0);
    for (let round = 0; round < 3; round++) {
      test.emit(3);
      assert.equal(epoll.wait(1000), 1);
      drain(test.ring);
      assert.equal(epoll.wait(0), 0);
    }
  });

  it("stops at the maximum and goes on there", () => {
    using test = open();
    test.emit(6);
    assert.deepEqual(drain(test.ring, 2), [0, 1]);
    assert.deepEqual(drain(test.ring, 1), [3]);
    assert.deepEqual(drain(test.ring), [4]);
  });

  it("stays right across hundreds of wraps", () => {
    using test = open();
    const expected: number[] = [];
    const seen: number[] = [];
    let next = 0;
    for (let round = 0; round < 700; round++) {
      const count = 1 + round % 37;
      assert.equal(test.emit(count), 0);
      for (let i = 0; i < count; i++, next++) if (next % 3 !== 2) expected.push(next);
      seen.push(...drain(test.ring));
    }
    assert.ok(seen.length * SPAN_BYTES > 100 * RING_SIZE_BYTES);
    assert.deepEqual(seen, expected);
  });

  it("loses the newest records when it is full, and works on afterwards", () => {
    using test = open();
    const lost = test.emit(100);
    assert.equal(lost, 100 - Math.floor((RING_SIZE_BYTES - 1) / SPAN_BYTES));
    const kept = drain(test.ring);
    assert.equal(kept[0], 0);
    assert.equal(kept.at(-1), 100 - lost - 1);
    assert.equal(test.emit(3), 0);
    assert.equal(drain(test.ring).length, 2);
  });

  it("counts a record as consumed when its handler throws", () => {
    using test = open();
    test.emit(2);
    assert.throws(() =>
      test.ring.drain(10, () => {
        throw new Error("handler");
      }), /handler/);
    assert.deepEqual(drain(test.ring), [1]);
  });

  it("outlives the object that it came from, and refuses to be read after disposal", () => {
    const object = BpfObject.open(tiny, { programs: ["emit"] }).load();
    const ring = new RingBuffer(object.map("events"));
    object.program("emit").testRun({ dataIn: PACKET });
    object[Symbol.dispose]();
    assert.deepEqual(drain(ring), [0]);
    ring[Symbol.dispose]();
    assert.throws(() => ring.drain(1, () => {}), /disposed of/);
  });

  it("refuses a map that is no ring buffer", () => {
    using object = BpfObject.open(tiny, { programs: ["emit"] }).load();
    assert.throws(() => new RingBuffer(object.map("rows")), /it is no ring buffer/);
  });
});
