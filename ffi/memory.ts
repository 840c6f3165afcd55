/**
 * Memory that C reads and writes: strings, structures, and what a pointer points to.
 *
 * C gets addresses of JavaScript buffers. Two things could then go wrong: V8 moves the bytes, or
 * collects them while C still uses them. So structures live outside V8's heap (the bytes of an
 * `ArrayBuffer` are never moved), and a structure keeps alive whatever its pointers lead to.
 *
 * @module
 */

/** A C structure: little-endian, zeroed, at a fixed address for as long as `bytes` is reachable. */
export class Struct {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly view: DataView<ArrayBuffer>;

  constructor(size: number) {
    this.bytes = fixedBytes(size);
    this.view = new DataView(this.bytes.buffer);
  }

  u32(offset: number): number {
    return this.view.getUint32(offset, true);
  }

  setU32(offset: number, value: number): this {
    this.view.setUint32(offset, value, true);
    return this;
  }

  u64(offset: number): bigint {
    return this.view.getBigUint64(offset, true);
  }

  setU64(offset: number, value: number | bigint): this {
    this.view.setBigUint64(offset, BigInt(value), true);
    return this;
  }

  /** Stores the address of `target`, which then lives as long as this structure's bytes. */
  setPointer(offset: number, target: Uint8Array<ArrayBuffer> | null): this {
    if (target === null) return this.setU64(offset, 0);
    const address = Deno.UnsafePointer.value(Deno.UnsafePointer.of(target));
    const kept = references.get(this.bytes) ?? [];
    references.set(this.bytes, [...kept, target]);
    return this.setU64(offset, address);
  }

  /** The NUL-terminated text in a `char[size]` member. */
  text(offset: number, size: number): string {
    return boundedText(this.bytes.subarray(offset, offset + size));
  }
}

/** Zeroed bytes outside V8's heap, whose address does not change. */
export function fixedBytes(size: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(new ArrayBuffer(size));
}

/** A NUL-terminated UTF-8 string. */
export function cstring(text: string): Uint8Array<ArrayBuffer> {
  if (text.includes("\0")) throw new TypeError(`Cannot pass a string that contains NUL to C`);
  const encoded = encoder.encode(text);
  const bytes = fixedBytes(encoded.length + 1);
  bytes.set(encoded);
  return bytes;
}

/** The string at `pointer`; "" for NULL. */
export function readCstring(pointer: Deno.PointerValue): string {
  return pointer === null ? "" : new Deno.UnsafePointerView(pointer).getCString();
}

/** Copies `size` bytes from `pointer`. */
export function readBytes(pointer: Deno.PointerObject, size: number): Uint8Array<ArrayBuffer> {
  const bytes = fixedBytes(size);
  new Deno.UnsafePointerView(pointer).copyInto(bytes);
  return bytes;
}

/** Text up to the first NUL. */
export function boundedText(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  return decoder.decode(end < 0 ? bytes : bytes.subarray(0, end));
}

/** The four bytes of an `int` or `__u32`, such as a descriptor that is a map's key or value. */
export function u32Bytes(value: number): Uint8Array<ArrayBuffer> {
  return new Struct(4).setU32(0, value >>> 0).bytes;
}

/** The eight bytes of a `__u64`. */
export function u64Bytes(value: bigint): Uint8Array<ArrayBuffer> {
  return new Struct(8).setU64(0, value).bytes;
}

/** What the pointers in a structure lead to, reachable exactly as long as the structure is. */
const references = new WeakMap<Uint8Array, Uint8Array[]>();
const encoder = new TextEncoder();
const decoder = new TextDecoder();
