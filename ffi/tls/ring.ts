/**
 * The one pair of buffers through which all TLS connections of a thread exchange ciphertext.
 *
 * OpenSSL reads and writes through a BIO. A BIO pair gives direct access to its two buffers, so the
 * kernel receives into one and sends from the other: no copy of weft's own, several records in one
 * `recv` and one `send`. It is shared, because a thread works on one connection at a time and
 * leaves both buffers empty before the next: an idle connection costs no buffer at all. Invariant:
 * both are empty between two turns of work, so data always starts at the same address (OpenSSL
 * resets the offset of a buffer that runs empty) and no pointer has to be fetched on the hot path.
 *
 * @module
 */

import { fixedBytes } from "../memory.ts";
import { TlsError } from "./errors.ts";
import { libcrypto } from "./symbols.ts";

export class TlsRing implements Disposable {
  /** Capacity of each direction. */
  readonly size: number;
  /** Where received ciphertext goes: fill it, then `commit`. */
  readonly input: Deno.PointerObject;
  /** The same bytes, to look at. */
  readonly inputBytes: Uint8Array;
  /** Where ciphertext to be sent lies: `produced` bytes of it; then `consume`. */
  readonly output: Deno.PointerObject;
  /** OpenSSL's end, for `TlsConnection`. */
  readonly engineBio: Deno.PointerObject;
  readonly #wireBio: Deno.PointerObject;
  readonly #slot = fixedBytes(8);
  readonly #crypto = libcrypto();

  constructor(size: number) {
    const engine = fixedBytes(8);
    const wire = fixedBytes(8);
    const made = this.#crypto.BIO_new_bio_pair(engine, BigInt(size), wire, BigInt(size));
    if (made !== 1) throw new TlsError("Cannot make the TLS buffers");
    this.size = size;
    this.engineBio = pointerIn(engine);
    this.#wireBio = pointerIn(wire);
    this.#crypto.BIO_nwrite0(this.#wireBio, this.#slot);
    this.input = pointerIn(this.#slot);
    this.inputBytes = new Uint8Array(Deno.UnsafePointerView.getArrayBuffer(this.input, size));
    this.#crypto.BIO_write(this.engineBio, this.#slot, 1);
    this.#crypto.BIO_nread(this.#wireBio, this.#slot, 1);
    this.output = pointerIn(this.#slot);
  }

  /** Hands the first `count` bytes of `input` to OpenSSL. */
  commit(count: number): void {
    this.#crypto.BIO_nwrite(this.#wireBio, this.#slot, count);
  }

  /** Copies `bytes` into `input` and commits them. */
  feed(bytes: Uint8Array): void {
    this.inputBytes.set(bytes);
    this.commit(bytes.length);
  }

  /** Bytes of input that OpenSSL has not taken yet. */
  unread(): number {
    return this.#crypto.BIO_ctrl_wpending(this.#wireBio);
  }

  /** Bytes of ciphertext at `output`. */
  produced(): number {
    const count = this.#crypto.BIO_nread0(this.#wireBio, this.#slot);
    return count > 0 ? count : 0;
  }

  /** Removes the first `count` bytes of output; what is left no longer starts at `output`. */
  consume(count: number): void {
    this.#crypto.BIO_nread(this.#wireBio, this.#slot, count);
  }

  /** Moves `count` bytes of output into `target`. */
  drain(target: Uint8Array<ArrayBuffer>, count: number): void {
    this.#crypto.BIO_read(this.#wireBio, target, count);
  }

  /** Throws away the input that a connection which failed has not read. */
  discardInput(): void {
    for (let left = this.unread(); left > 0; left = this.unread()) {
      this.#crypto.BIO_nread(this.engineBio, this.#slot, left);
    }
  }

  /** Throws away output that has nowhere to go. */
  discardOutput(): void {
    for (let left = this.produced(); left > 0; left = this.produced()) this.consume(left);
  }

  [Symbol.dispose](): void {
    this.#crypto.BIO_free(this.#wireBio);
    this.#crypto.BIO_free(this.engineBio);
  }
}

function pointerIn(slot: Uint8Array<ArrayBuffer>): Deno.PointerObject {
  const pointer = Deno.UnsafePointer.create(new DataView(slot.buffer).getBigUint64(0, true));
  if (pointer === null) throw new TypeError("Cannot use a NULL buffer of a BIO");
  return pointer;
}
