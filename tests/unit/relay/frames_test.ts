/**
 * Frames of `weft/1`: written, read in any pieces, and refused where they are wrong.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import {
  FRAME_HEADER_BYTES,
  FrameReader,
  type FrameSink,
  FrameType,
  OPEN_FRAME_BYTES,
  readOpen,
  readRefused,
  writeFrameHeader,
  writeOpen,
  writeRefused,
} from "@/src/relay/path/frames.ts";

describe("weft/1 frames", () => {
  it("arrive the same, however the stream is cut", () => {
    const frame = fc.oneof(
      fc.record({ type: fc.constant(FrameType.DATA), payload: fc.uint8Array({ maxLength: 300 }) }),
      fc.record({
        type: fc.constantFrom(FrameType.OPENED, FrameType.FIN, FrameType.RESET),
        payload: fc.uint8Array({ maxLength: 64 }),
      }),
    );
    fc.assert(fc.property(
      fc.array(frame, { maxLength: 12 }),
      fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 20 }),
      (frames, cuts) => {
        const bytes = concatenate(frames.map(encode));
        const log = new Log();
        const reader = new FrameReader();
        let cut = 0;
        for (let at = 0; at < bytes.length;) {
          const size = Math.min(cuts[cut++ % cuts.length] ?? 1, bytes.length - at);
          reader.feed(bytes.slice(at, at + size), size, log);
          at += size;
        }
        assert.equal(log.malformed, 0);
        assert.deepEqual(
          log.frames,
          frames.filter(({ type }) => type !== FrameType.DATA).map(({ type, payload }) => [
            type,
            [...payload],
          ]),
        );
        const data = frames.filter(({ type }) => type === FrameType.DATA);
        assert.deepEqual(log.data, data.flatMap(({ payload }) => [...payload]));
      },
    ));
  });

  it("never make the reader throw, and it stops at the first that breaks the rules", () => {
    fc.assert(fc.property(fc.array(fc.uint8Array({ maxLength: 80 })), (pieces) => {
      const log = new Log();
      const reader = new FrameReader();
      for (const piece of pieces) reader.feed(piece.slice(), piece.length, log);
      assert.ok(log.malformed <= 1);
    }));
  });

  it("are bare bytes from RAW on", () => {
    const log = new Log();
    const reader = new FrameReader();
    const raw = encode({ type: FrameType.RAW, payload: new Uint8Array(0) });
    const bytes = concatenate([raw, Uint8Array.from([9, 9, 9, 9, 9, 9])]);
    reader.feed(bytes, bytes.length, log);
    assert.deepEqual(log.data, [9, 9, 9, 9, 9, 9]);
    assert.equal(reader.raw, true);
  });

  it("refuse a length that nobody sends", () => {
    for (
      const [type, length] of [[FrameType.DATA, 2 ** 32 - 1], [FrameType.OPEN, 65], [8, 0], [0, 0]]
    ) {
      const log = new Log();
      const bytes = new Uint8Array(FRAME_HEADER_BYTES);
      writeFrameHeader(bytes, 0, (type ?? 0) as FrameType, length ?? 0);
      new FrameReader().feed(bytes, bytes.length, log);
      assert.equal(log.malformed, 1);
    }
  });

  it("carry OPEN's port and flow id, and REFUSED's reason", () => {
    const bytes = new Uint8Array(40);
    const end = writeOpen(bytes, 3, { sourcePort: 54321, flowId: 0x0102030405060708n });
    assert.equal(end, 3 + OPEN_FRAME_BYTES);
    const payload = new DataView(bytes.buffer, 3 + FRAME_HEADER_BYTES, 10);
    assert.deepEqual(readOpen(payload), { sourcePort: 54321, flowId: 0x0102030405060708n });
    assert.equal(readOpen(new DataView(bytes.buffer, 0, 9)), undefined);
    const refused = writeRefused(bytes, 0, 26);
    assert.equal(readRefused(new DataView(bytes.buffer, FRAME_HEADER_BYTES, refused - 5)), 26);
  });
});

class Log implements FrameSink {
  readonly frames: [number, number[]][] = [];
  readonly data: number[] = [];
  malformed = 0;

  onData(bytes: Uint8Array, start: number, end: number): void {
    this.data.push(...bytes.subarray(start, end));
  }

  onFrame(type: FrameType, payload: DataView): void {
    const bytes = new Uint8Array(payload.buffer, payload.byteOffset, payload.byteLength);
    this.frames.push([type, [...bytes]]);
  }

  onMalformed(): void {
    this.malformed++;
  }
}

function encode({ type, payload }: { type: FrameType; payload: Uint8Array }): Uint8Array {
  const bytes = new Uint8Array(FRAME_HEADER_BYTES + payload.length);
  bytes.set(payload, writeFrameHeader(bytes, 0, type, payload.length));
  return bytes;
}

function concatenate(parts: Uint8Array[]): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}
