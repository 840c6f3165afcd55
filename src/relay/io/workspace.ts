/**
 * The buffers of one worker: three that every connection works in, and a stock to lend from.
 *
 * A connection owns no buffer. What it receives passes through the worker's own, and only what its
 * other side would not take stays behind, in a `Backlog` lent until it is sent. So an idle
 * connection costs no buffer, and a stalled one at most two backlogs. Invariant: a backlog never
 * grows beyond
 * `BACKLOG_BYTES`; whoever has one reads no more for that direction until it is gone.
 *
 * @module
 */

import { TlsRing } from "../../../ffi/tls/ring.ts";
import { send } from "../../../ffi/linux/socket.ts";
import { FRAME_HEADER_BYTES, OPEN_FRAME_BYTES } from "../path/frames.ts";

/**
 * Ciphertext of one packet before it is cut into segments: 45 of 1448 bytes (GSO at an MTU of 1500,
 * with timestamps). A send that ends a little behind a full one costs a whole trip for the rest.
 */
const PACKET_BYTES = 45 * 1448;
/** Ciphertext taken from a socket at once: two packets. */
export const RECEIVE_BYTES = 2 * PACKET_BYTES;
/** Header, content type and tag of a TLS 1.3 record. */
const RECORD_OVERHEAD_BYTES = 22;
/** Records that a packet holds in full or in part. */
const RECORDS_PER_PACKET = 4;
/**
 * Bytes taken from an application at once, so that as ciphertext they fill two packets: enough to
 * make a call's cost vanish, few enough for the cache. Wrong guesses cost speed alone.
 */
export const READ_BYTES = 2 * (PACKET_BYTES - RECORDS_PER_PACKET * RECORD_OVERHEAD_BYTES);
/** Ciphertext: `READ_BYTES` in records, with their overhead, and room for control records. */
const RING_BYTES = 256 * 1024;
/** What one turn of work can leave behind in either form, and some control records more. */
export const BACKLOG_BYTES = READ_BYTES + 16 * 1024;
/** Payload of a full TLS record. */
export const RECORD_BYTES = 16 * 1024;
/** Free backlogs that are kept for the next one who needs one. */
const STOCK_MAX = 32;

/** In front of the application's bytes: OPEN or OPENED, then the header of DATA. */
const HEAD_BYTES = OPEN_FRAME_BYTES + FRAME_HEADER_BYTES;

export class Workspace implements Disposable {
  /** Ciphertext of all connections. */
  readonly ring = new TlsRing(RING_BYTES);
  /** From the application, with room in front for frames that shall leave in the same record. */
  readonly up = new Uint8Array(HEAD_BYTES + READ_BYTES);
  /** `up` from the header of DATA on, and from the application's bytes on. */
  readonly upFrame = this.up.subarray(OPEN_FRAME_BYTES);
  readonly upBody = this.up.subarray(HEAD_BYTES);
  /** Decrypted; and the same from behind a first frame header. */
  readonly down = new Uint8Array(RING_BYTES);
  readonly downBody = this.down.subarray(FRAME_HEADER_BYTES);
  /** `down` from each multiple of a record's payload on, where the next record is read to. */
  readonly downAt: Uint8Array<ArrayBuffer>[] = [];
  readonly #stock: Uint8Array<ArrayBuffer>[] = [];

  constructor() {
    for (let at = 0; at < RING_BYTES; at += RECORD_BYTES) this.downAt.push(this.down.subarray(at));
  }

  /** Lends an empty backlog. */
  lend(): Backlog {
    return new Backlog(this.#stock.pop() ?? new Uint8Array(BACKLOG_BYTES));
  }

  /** Takes back what was lent. */
  giveBack(backlog: Backlog): void {
    if (this.#stock.length < STOCK_MAX) this.#stock.push(backlog.bytes);
  }

  [Symbol.dispose](): void {
    this.ring[Symbol.dispose]();
  }
}

/** Bytes that a socket would not take yet. */
export class Backlog {
  readonly bytes: Uint8Array<ArrayBuffer>;
  start = 0;
  end = 0;

  constructor(bytes: Uint8Array<ArrayBuffer>) {
    this.bytes = bytes;
  }

  get size(): number {
    return this.end - this.start;
  }

  /** A view of `count` more bytes, to be filled by the caller; undefined when there is no room. */
  extend(count: number): Uint8Array<ArrayBuffer> | undefined {
    if (this.end + count > this.bytes.length) this.#compact();
    if (this.end + count > this.bytes.length) return undefined;
    this.end += count;
    return this.bytes.subarray(this.end - count, this.end);
  }

  /** Sends what it can: bytes sent, or a negative error number. */
  sendTo(fd: number): number {
    const count = send(fd, this.bytes.subarray(this.start, this.end), this.size);
    if (count > 0) this.start += count;
    return count;
  }

  #compact(): void {
    this.bytes.copyWithin(0, this.start, this.end);
    this.end -= this.start;
    this.start = 0;
  }
}
