/**
 * Memory as the interpreter sees it: pointers that know what they point into.
 *
 * Invariant: nothing outside of a pointer's bytes can be read or written, and the stack cannot be
 * read where nothing was written.
 *
 * @module
 */

/** What a register holds: a number of 64 bits without a sign, or a pointer. */
export type Value = bigint | Pointer;

/** A place in memory, or a map. */
export interface Pointer {
  readonly memory: Memory;
  readonly offset: number;
  /** Set where it stands for a map: then it has no bytes. */
  readonly map?: string;
}

/** Bytes, and which of them were written where that matters. */
export interface Memory {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly written?: Uint8Array;
}

export function isPointer(value: Value): value is Pointer {
  return typeof value === "object";
}

/** The little-endian number at `pointer + offset`; undefined where it may not be read. */
export function readMemory(pointer: Pointer, offset: number, size: number): bigint | undefined {
  const { bytes, written } = pointer.memory;
  const start = pointer.offset + offset;
  if (start < 0 || start + size > bytes.length) return undefined;
  let value = 0n;
  for (let index = size - 1; index >= 0; index--) {
    if (written && !written[start + index]) return undefined;
    value = (value << 8n) | BigInt(bytes[start + index] ?? 0);
  }
  return value;
}

/** Writes a little-endian number; false where it may not be written. */
export function writeMemory(
  pointer: Pointer,
  offset: number,
  size: number,
  value: bigint,
): boolean {
  const { bytes, written } = pointer.memory;
  const start = pointer.offset + offset;
  if (start < 0 || start + size > bytes.length) return false;
  let rest = BigInt.asUintN(64, value);
  for (let index = 0; index < size; index++) {
    bytes[start + index] = Number(rest & 0xffn);
    if (written) written[start + index] = 1;
    rest >>= 8n;
  }
  return true;
}
