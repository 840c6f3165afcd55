/**
 * Consumer of a BPF ring buffer.
 *
 * The kernel maps two counters and the data into this process, and we read them in TypeScript: one
 * call into C for each record (libbpf's own consumer) would cost more than the record. The data is
 * mapped twice in a row, so that a record that wraps is still contiguous. Records are copied out
 * before the callback sees them: no view of the mapping leaves this class, which may unmap it.
 *
 * There is one consumer per ring. The position is stored after every batch and the producer's is
 * then read again; the kernel's wake-up relies on this order (kernel/bpf/ringbuf.c).
 *
 * @module
 */

import { checkLibc } from "../check.ts";
import { openLibrary, type Symbols } from "../dlopen.ts";
import { MapType } from "./constants.ts";
import type { BpfMap } from "./map.ts";

/** Reads records off a map of type RINGBUF. */
export class RingBuffer implements Disposable {
  readonly #map: BpfMap;
  readonly #size: number;
  readonly #consumer: Mapping;
  readonly #producer: Mapping;
  readonly #consumerPosition: BigUint64Array<ArrayBuffer>;
  readonly #producerPosition: BigUint64Array<ArrayBuffer>;
  readonly #headers: Int32Array<ArrayBuffer>;
  readonly #data: Uint8Array<ArrayBuffer>;
  #scratch = new Uint8Array(256);
  #record = new DataView(this.#scratch.buffer);
  #closed = false;

  /** Maps the ring. `map` stays the caller's, is duplicated, and may be disposed of. */
  constructor(map: BpfMap) {
    if (map.info.type !== MapType.RINGBUF) {
      throw new TypeError(`Cannot consume map "${map.name}": it is no ring buffer`);
    }
    this.#map = map.duplicate();
    this.#size = map.info.maxEntries;
    const page = libc().sysconf(SC_PAGESIZE);
    const fd = this.#map.fd;
    this.#consumer = mapMemory(fd, page, PROT_READ | PROT_WRITE, 0);
    this.#producer = mapMemory(fd, page + 2 * this.#size, PROT_READ, page);
    this.#consumerPosition = new BigUint64Array(this.#consumer.buffer, 0, 1);
    this.#producerPosition = new BigUint64Array(this.#producer.buffer, 0, 1);
    this.#headers = new Int32Array(this.#producer.buffer, page);
    this.#data = new Uint8Array(this.#producer.buffer, page);
  }

  /** For `epoll` (EPOLLIN): readable while a record waits. */
  get fd(): number {
    return this.#map.fd;
  }

  /** Bytes that wait, those of records not yet complete included. */
  get pendingBytes(): number {
    this.#assertOpen();
    return Number(
      Atomics.load(this.#producerPosition, 0) - Atomics.load(this.#consumerPosition, 0),
    );
  }

  /**
   * Hands up to `max` complete records to `onRecord`, oldest first, and returns how many. The view
   * is valid during the call only. A record counts as consumed even if `onRecord` throws.
   */
  drain(max: number, onRecord: (record: DataView<ArrayBuffer>) => void): number {
    this.#assertOpen();
    let count = 0;
    let position = Atomics.load(this.#consumerPosition, 0);
    let offset = Number(position % BigInt(this.#size));
    for (;;) {
      const available = Number(Atomics.load(this.#producerPosition, 0) - position);
      let consumed = 0;
      try {
        while (consumed < available && count < max) {
          const header = Atomics.load(this.#headers, offset >> 2);
          if (header < 0) break; // BUSY_BIT: reserved, not yet submitted
          const length = header & LENGTH_MASK;
          const span = (length + HEADER_SIZE_BYTES + 7) & ~7;
          const data = offset + HEADER_SIZE_BYTES;
          consumed += span;
          offset = (offset + span) % this.#size;
          if (header & DISCARD_BIT) continue;
          count++;
          onRecord(this.#copyOut(data, length));
        }
      } finally {
        position += BigInt(consumed);
        if (consumed > 0) Atomics.store(this.#consumerPosition, 0, position);
      }
      if (consumed === 0 || count >= max) return count;
    }
  }

  [Symbol.dispose](): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#consumer.unmap();
    this.#producer.unmap();
    this.#map[Symbol.dispose]();
  }

  #copyOut(offset: number, length: number): DataView<ArrayBuffer> {
    if (length > this.#scratch.length) this.#scratch = new Uint8Array(2 * length);
    if (length !== this.#record.byteLength || this.#record.buffer !== this.#scratch.buffer) {
      this.#record = new DataView(this.#scratch.buffer, 0, length);
    }
    this.#scratch.set(this.#data.subarray(offset, offset + length));
    return this.#record;
  }

  #assertOpen(): void {
    if (this.#closed) throw new TypeError("Cannot read a ring buffer that was disposed of");
  }
}

/** Memory that the kernel shares with us. */
interface Mapping {
  readonly buffer: ArrayBuffer;
  unmap(): void;
}

const HEADER_SIZE_BYTES = 8;
const DISCARD_BIT = 1 << 30;
const LENGTH_MASK = DISCARD_BIT - 1;

const PROT_READ = 1;
const PROT_WRITE = 2;
const MAP_SHARED = 1;
const MAP_FAILED = 0xffff_ffff_ffff_ffffn;
const SC_PAGESIZE = 30;

const LIBC_RING = {
  // void *mmap(void *addr, size_t length, int prot, int flags, int fd, off_t offset);
  mmap: { parameters: ["pointer", "usize", "i32", "i32", "i32", "i64"], result: "pointer" },
  // int munmap(void *addr, size_t length);
  munmap: { parameters: ["pointer", "usize"], result: "i32" },
  // long sysconf(int name);
  sysconf: { parameters: ["i32"], result: "i32" },
} as const satisfies Deno.ForeignLibraryInterface;

function libc(): Symbols<typeof LIBC_RING> {
  return openLibrary("libc.so.6", LIBC_RING);
}

function mapMemory(fd: number, length: number, protection: number, offset: number): Mapping {
  const pointer = libc().mmap(null, BigInt(length), protection, MAP_SHARED, fd, BigInt(offset));
  if (pointer === null || Deno.UnsafePointer.value(pointer) === MAP_FAILED) {
    checkLibc("mmap", -1, "Cannot map a ring buffer");
    throw new TypeError("Cannot map a ring buffer at address 0");
  }
  return {
    buffer: Deno.UnsafePointerView.getArrayBuffer(pointer, length),
    unmap: () => void libc().munmap(pointer, BigInt(length)),
  };
}
