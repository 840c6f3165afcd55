/**
 * Addresses: text to 16 bytes and back. In: what objects and people write. Out: bytes as the kernel
 * keeps them (IPv4 as ::ffff:a.b.c.d) and one canonical text per address (IPv4 dotted, IPv6 as in
 * RFC 5952), which is the key of every map in the model and the Plan.
 *
 * Invariant: two texts name one address exactly when their canonical texts are equal. Hence a
 * strict parser: leading zeros ("010.0.0.1" is octal to some readers), zones and shorthand such as
 * "10.1" are refused, not interpreted.
 *
 * @module
 */

/** Bytes of an address. */
export const ADDRESS_SIZE_BYTES = 16;

/** Bits in front of an IPv4 address. */
const IPV4_OFFSET_BITS = 96;

/** An address range. */
export interface Cidr {
  /** Canonical: no host bits. */
  readonly text: string;
  readonly bytes: Uint8Array;
  /** Of 128: an IPv4 /24 is 120. */
  readonly bits: number;
}

/** The bytes of an address, or undefined when the text is none. */
export function parseAddress(text: string): Uint8Array | undefined {
  return text.includes(":") ? parseIpv6(text) : parseIpv4(text);
}

/** The canonical text of an address, or undefined when the text is none. */
export function canonicalAddress(text: string): string | undefined {
  const bytes = parseAddress(text);
  return bytes && formatAddress(bytes);
}

/** The canonical text of 16 bytes. */
export function formatAddress(bytes: Uint8Array): string {
  if (isMappedIpv4(bytes)) return bytes.subarray(12, ADDRESS_SIZE_BYTES).join(".");
  return formatIpv6(bytes);
}

/** The family of a canonical address. */
export function familyOf(address: string): "IPv4" | "IPv6" {
  return address.includes(":") ? "IPv6" : "IPv4";
}

/** Whether an application cannot be reached there from another namespace. */
export function isUnroutable(address: string): boolean {
  const bytes = parseAddress(address);
  if (bytes === undefined) return true;
  if (isMappedIpv4(bytes)) {
    const [a, b] = [bytes[12] ?? 0, bytes[13] ?? 0];
    return a === 0 || a === 127 || a >= 224 || (a === 169 && b === 254);
  }
  const [a, b] = [bytes[0] ?? 0, bytes[1] ?? 0];
  const unspecifiedOrLoopback = bytes.subarray(0, 15).every((byte) => byte === 0) &&
    (bytes[15] ?? 0) <= 1;
  return unspecifiedOrLoopback || a === 0xff || (a === 0xfe && (b & 0xc0) === 0x80);
}

/** A range, or undefined when the text is none. Host bits are cleared. */
export function parseCidr(text: string): Cidr | undefined {
  const match = /^([^/]+)\/(0|[1-9]\d{0,2})$/.exec(text);
  const bytes = match?.[1] === undefined ? undefined : parseAddress(match[1]);
  if (match === null || bytes === undefined) return undefined;
  const prefix = Number(match[2]);
  const offset = text.includes(":") ? 0 : IPV4_OFFSET_BITS;
  if (prefix > 128 - offset) return undefined;
  const bits = prefix + offset;
  for (let index = 0; index < ADDRESS_SIZE_BYTES; index++) {
    const kept = Math.min(8, Math.max(0, bits - index * 8));
    bytes[index] = (bytes[index] ?? 0) & (0xff00 >> kept);
  }
  const shown = isMappedIpv4(bytes) && bits >= IPV4_OFFSET_BITS ? bits - IPV4_OFFSET_BITS : bits;
  return { text: `${formatAddress(bytes)}/${shown}`, bytes, bits };
}

/** Whether the range holds the address. No range of IPv6 holds an IPv4 address, not even "::/0". */
export function cidrContains(cidr: Cidr, address: Uint8Array): boolean {
  if (cidr.bits < IPV4_OFFSET_BITS && isMappedIpv4(address)) return false;
  const whole = cidr.bits >> 3;
  for (let index = 0; index < whole; index++) {
    if (cidr.bytes[index] !== address[index]) return false;
  }
  const rest = cidr.bits & 7;
  if (rest === 0) return true;
  const mask = (0xff00 >> rest) & 0xff;
  return (cidr.bytes[whole] ?? 0) === ((address[whole] ?? 0) & mask);
}

function isMappedIpv4(bytes: Uint8Array): boolean {
  for (let index = 0; index < 10; index++) if (bytes[index] !== 0) return false;
  return bytes[10] === 0xff && bytes[11] === 0xff;
}

function parseIpv4(text: string): Uint8Array | undefined {
  const parts = text.split(".");
  if (parts.length !== 4) return undefined;
  const bytes = new Uint8Array(ADDRESS_SIZE_BYTES);
  bytes[10] = bytes[11] = 0xff;
  for (const [index, part] of parts.entries()) {
    if (!/^(0|[1-9]\d{0,2})$/.test(part) || Number(part) > 255) return undefined;
    bytes[12 + index] = Number(part);
  }
  return bytes;
}

function parseIpv6(text: string): Uint8Array | undefined {
  const halves = text.split("::");
  if (halves.length > 2) return undefined;
  const head = parseGroups(halves[0] ?? "", halves.length === 1);
  const tail = halves.length === 2 ? parseGroups(halves[1] ?? "", true) : [];
  if (head === undefined || tail === undefined) return undefined;
  const missing = 8 - head.length - tail.length;
  // "::" stands for at least one group.
  if (halves.length === 2 ? missing < 1 : missing !== 0) return undefined;
  const groups = [...head, ...new Array<number>(missing).fill(0), ...tail];
  return Uint8Array.from(groups.flatMap((group) => [group >> 8, group & 0xff]));
}

/** Groups of 16 bits; the last may be dotted IPv4 where `last` says that the address ends here. */
function parseGroups(text: string, last: boolean): number[] | undefined {
  if (text === "") return [];
  const groups: number[] = [];
  const parts = text.split(":");
  for (const [index, part] of parts.entries()) {
    if (/^[0-9a-fA-F]{1,4}$/.test(part)) {
      groups.push(parseInt(part, 16));
      continue;
    }
    const dotted = last && index === parts.length - 1 ? parseIpv4(part) : undefined;
    if (dotted === undefined) return undefined;
    const view = new DataView(dotted.buffer);
    groups.push(view.getUint16(12), view.getUint16(14));
  }
  return groups;
}

function formatIpv6(bytes: Uint8Array): string {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const groups = Array.from({ length: 8 }, (_, index) => view.getUint16(index * 2));
  // RFC 5952 4.2: the longest run of zeros, the first of equals, never a single group.
  let [start, length] = [-1, 1];
  for (let from = 0; from < 8; from++) {
    let to = from;
    while (to < 8 && groups[to] === 0) to++;
    if (to - from > length) [start, length] = [from, to - from];
  }
  const text = (part: number[]) => part.map((group) => group.toString(16)).join(":");
  if (start < 0) return text(groups);
  return `${text(groups.slice(0, start))}::${text(groups.slice(start + length))}`;
}
