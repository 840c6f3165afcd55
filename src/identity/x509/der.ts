/**
 * A strict, bounded DER reader: tag, length, contents, nothing else.
 *
 * In: bytes from a peer that may be hostile. Out: typed reads over a window of them, or a
 * `DerError`. Invariant: every read stays inside its window and moves forward, nothing recurses,
 * and nothing is copied, so the cost is linear in the bytes given. `@peculiar/asn1-schema` is not
 * used for reading: it accepts BER, builds an object per element, and importing it costs every
 * relay worker 200 ms and 20 MB.
 *
 * @module
 */

/** The tags that an X.509 certificate is made of. */
export const TAG = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  oid: 0x06,
  utf8String: 0x0c,
  sequence: 0x30,
  set: 0x31,
  printableString: 0x13,
  ia5String: 0x16,
  utcTime: 0x17,
  generalizedTime: 0x18,
} as const;

/** The tag `[n]` of context class; `constructed` when it holds further elements. */
export function contextTag(number: number, form: "primitive" | "constructed"): number {
  return 0x80 | (form === "constructed" ? 0x20 : 0) | number;
}

/** Reads the elements of one window of bytes, in order. */
export class DerReader {
  readonly #bytes: Uint8Array;
  #offset: number;
  readonly #end: number;

  constructor(bytes: Uint8Array, start = 0, end: number = bytes.length) {
    this.#bytes = bytes;
    this.#offset = start;
    this.#end = end;
  }

  /** True when nothing is left. */
  get isDone(): boolean {
    return this.#offset === this.#end;
  }

  /** The tag of the next element, or -1 at the end. */
  peekTag(): number {
    return this.isDone ? -1 : this.#byteAt(this.#offset);
  }

  /** Enters the next element, which must have this tag. */
  enter(tag: number): DerReader {
    const { start, end } = this.#next(tag);
    return new DerReader(this.#bytes, start, end);
  }

  /** Enters the next element if it has this tag. */
  enterOptional(tag: number): DerReader | null {
    return this.peekTag() === tag ? this.enter(tag) : null;
  }

  /** The contents of the next element, which must have this tag; a view, not a copy. */
  read(tag: number): Uint8Array {
    const { start, end } = this.#next(tag);
    return this.#bytes.subarray(start, end);
  }

  /** The next element whole, with its tag and length. */
  readWhole(tag: number): Uint8Array {
    const from = this.#offset;
    const { end } = this.#next(tag);
    return this.#bytes.subarray(from, end);
  }

  /** Tag and contents of the next element, whatever it is. */
  readAny(): { readonly tag: number; readonly contents: Uint8Array } {
    const tag = this.peekTag();
    return { tag, contents: this.read(tag) };
  }

  /** A dotted object identifier. */
  readOid(): string {
    return oidText(this.read(TAG.oid));
  }

  /** A BOOLEAN, which DER writes as 0x00 or 0xff. */
  readBoolean(): boolean {
    const contents = this.read(TAG.boolean);
    if (contents.length !== 1 || (contents[0] !== 0x00 && contents[0] !== 0xff)) {
      throw new DerError("A boolean is neither 0x00 nor 0xff");
    }
    return contents[0] === 0xff;
  }

  /** A non-negative INTEGER that fits 31 bits. */
  readSmallInteger(): number {
    const contents = this.read(TAG.integer);
    if (contents.length < 1 || contents.length > 4) throw new DerError("An integer is too long");
    let value = 0;
    for (const byte of contents) value = value * 256 + byte;
    if (value > 0x7fffffff) throw new DerError("An integer is negative");
    return value;
  }

  /** The octets of a BIT STRING with no unused bits. */
  readBitString(): Uint8Array {
    const contents = this.read(TAG.bitString);
    if (contents[0] !== 0) throw new DerError("A bit string does not end on a byte");
    return contents.subarray(1);
  }

  /** Fails unless the window was read to its end. */
  expectDone(what: string): void {
    if (!this.isDone) throw new DerError(`Bytes follow the end of the ${what}`);
  }

  #next(tag: number): { start: number; end: number } {
    const found = this.#byteAt(this.#offset);
    if (found !== tag) throw new DerError(`Expected tag ${hex(tag)}: found ${hex(found)}`);
    if ((found & 0x1f) === 0x1f) throw new DerError("A tag number above 30 is not used by X.509");
    const { length, size } = this.#length(this.#offset + 1);
    const start = this.#offset + 1 + size;
    const end = start + length;
    if (end > this.#end) throw new DerError("An element is longer than what holds it");
    this.#offset = end;
    return { start, end };
  }

  #length(at: number): { length: number; size: number } {
    const first = this.#byteAt(at);
    if (first < 0x80) return { length: first, size: 1 };
    const count = first & 0x7f;
    if (count < 1 || count > 3) throw new DerError("A length is indefinite or too large");
    let length = 0;
    for (let index = 1; index <= count; index++) length = length * 256 + this.#byteAt(at + index);
    const isMinimal = length >= 0x80 && length >= 2 ** (8 * (count - 1));
    if (!isMinimal) throw new DerError("A length is not in its shortest form");
    return { length, size: 1 + count };
  }

  #byteAt(offset: number): number {
    const byte = offset < this.#end ? this.#bytes[offset] : undefined;
    if (byte === undefined) throw new DerError("The bytes end in the middle of an element");
    return byte;
  }
}

/** Bytes that are not the DER that was expected. */
export class DerError extends Error {
  override readonly name = "DerError";
}

function oidText(contents: Uint8Array): string {
  if (contents.length < 1 || contents.length > 32) {
    throw new DerError("An object identifier is empty or too long");
  }
  const arcs: number[] = [];
  let value = 0;
  for (const [index, byte] of contents.entries()) {
    if (value === 0 && byte === 0x80) throw new DerError("An object identifier is padded");
    value = value * 128 + (byte & 0x7f);
    if (value > Number.MAX_SAFE_INTEGER / 256) throw new DerError("An arc is too large");
    if ((byte & 0x80) !== 0) {
      if (index === contents.length - 1) throw new DerError("An object identifier is cut short");
      continue;
    }
    if (arcs.length === 0) {
      const first = Math.min(Math.floor(value / 40), 2);
      arcs.push(first, value - first * 40);
    } else arcs.push(value);
    value = 0;
  }
  return arcs.join(".");
}

function hex(tag: number): string {
  return "0x" + tag.toString(16).padStart(2, "0");
}
