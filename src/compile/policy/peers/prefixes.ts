/**
 * Ranges of addresses and their nesting: which of them hold an address, and which regions they cut
 * all addresses into. In: ranges. Out: chains and regions.
 *
 * Invariant: within a region (a range without the ranges inside it) every predicate whose bounds
 * are among the ranges has one answer, so that one sample address answers for all of it. This is
 * what turns policies over ranges into rows of a longest-prefix map.
 *
 * @module
 */

import { type Cidr, formatAddress } from "../../../model/mod.ts";

/** A set of ranges. */
export class PrefixSet {
  /** By length, longest first; in each, by prefix. */
  readonly #byBits: [number, Map<bigint, Cidr>][] = [];
  readonly #ranges = new Map<string, Cidr>();

  constructor(ranges: Iterable<Cidr>) {
    const byBits = new Map<number, Map<bigint, Cidr>>();
    for (const range of ranges) {
      const known = byBits.get(range.bits) ?? new Map<bigint, Cidr>();
      known.set(prefixOf(numberOf(range.bytes), range.bits), range);
      byBits.set(range.bits, known);
      this.#ranges.set(range.text, range);
    }
    this.#byBits = [...byBits].sort(([a], [b]) => b - a);
  }

  /** Texts of the ranges of its family that hold all of another, the narrowest first. */
  holding(inner: Pick<Cidr, "bytes" | "bits">): string[] {
    const number = numberOf(inner.bytes);
    const isIpv4 = inner.bits >= IPV4_BITS && number >> 32n === 0xffffn;
    const found: string[] = [];
    for (const [bits, ranges] of this.#byBits) {
      if (bits > inner.bits) continue;
      if (isIpv4 && bits < IPV4_BITS) break; // "::/0" holds no IPv4 address
      const range = ranges.get(prefixOf(number, bits));
      if (range !== undefined) found.push(range.text);
    }
    return found;
  }

  /** Every range with an address that no range inside it holds; none where they cover it. */
  regions(): Region[] {
    const inOrder = [...this.#ranges.values()]
      .map((range) => ({ range, first: numberOf(range.bytes), last: lastOf(range) }))
      .sort((a, b) => a.first < b.first ? -1 : a.first > b.first ? 1 : a.range.bits - b.range.bits);
    const regions: Region[] = [];
    for (const [index, { range, first, last }] of inOrder.entries()) {
      let candidate = first;
      for (let next = index + 1; next < inOrder.length; next++) {
        const inner = inOrder[next];
        // Ranges nest or are apart, so the first one behind the candidate leaves it free.
        if (inner === undefined || inner.first > candidate || candidate > last) break;
        if (inner.last >= candidate) candidate = inner.last + 1n;
      }
      if (candidate <= last) regions.push({ range, sample: addressOf(candidate) });
    }
    return regions;
  }
}

/** Bits in front of an IPv4 address. */
const IPV4_BITS = 96;

/** A range without what is inside its inner ranges. */
export interface Region {
  readonly range: Cidr;
  /** An address of it, in canonical text. */
  readonly sample: string;
}

function numberOf(bytes: Uint8Array): bigint {
  let number = 0n;
  for (const byte of bytes) number = (number << 8n) | BigInt(byte);
  return number;
}

function prefixOf(number: bigint, bits: number): bigint {
  return number >> BigInt(128 - bits);
}

function lastOf({ bytes, bits }: Cidr): bigint {
  return numberOf(bytes) | ((1n << BigInt(128 - bits)) - 1n);
}

function addressOf(number: bigint): string {
  const bytes = new Uint8Array(16);
  let rest = number;
  for (let index = 15; index >= 0; index--) {
    bytes[index] = Number(rest & 0xffn);
    rest >>= 8n;
  }
  return formatAddress(bytes);
}
