/**
 * Packets as bytes, for tests that send what no honest socket would: every field can be a lie.
 *
 * In: plain values. Out: bytes with lengths and checksums that are right, so that a receiver would
 * take them.
 *
 * @module
 */

/** Types of Ethernet. */
export const ETHER = { IP4: 0x0800, ARP: 0x0806, VLAN: 0x8100, QINQ: 0x88a8, IP6: 0x86dd } as const;
/** Protocols of IP. */
export const PROTO = { ICMP: 1, TCP: 6, UDP: 17, ICMP6: 58 } as const;

/** From whom to whom, in MAC addresses "02:00:00:00:00:01". */
export interface Link {
  readonly source: string;
  readonly target: string;
}

/** From whom to whom, in IP addresses. */
export interface Route {
  readonly source: string;
  readonly target: string;
}

/** A frame; `tags` are the ids of VLANs, the outermost first. */
export function ethernet(
  { source, target }: Link,
  payload: Uint8Array,
  options: { readonly type?: number; readonly tags?: readonly number[] } = {},
): Uint8Array {
  const { type = (payload[0] ?? 0) >> 4 === 4 ? ETHER.IP4 : ETHER.IP6, tags = [] } = options;
  const tagged = tags.flatMap((id, index) => [
    ...u16(index < tags.length - 1 ? ETHER.QINQ : ETHER.VLAN),
    ...u16(id),
  ]);
  return Uint8Array.of(
    ...macBytes(target),
    ...macBytes(source),
    ...tagged,
    ...u16(type),
    ...payload,
  );
}

/** An ARP reply that says that `ip` has `mac`. */
export function arpReply(mac: string, ip: string, to: { mac: string; ip: string }): Uint8Array {
  const head = [...u16(1), ...u16(ETHER.IP4), 6, 4, ...u16(2)];
  return Uint8Array.of(
    ...head,
    ...macBytes(mac),
    ...ipBytes(ip),
    ...macBytes(to.mac),
    ...ipBytes(to.ip),
  );
}

/** A packet of either version. */
export function packet(
  route: Route,
  proto: number,
  payload: Uint8Array,
  options: {
    /** IPv4: flags and offset of a fragment, as they stand in the header */
    readonly fragment?: number;
    /** IPv4: words of the header that are claimed, whatever there are */
    readonly headerWords?: number;
    /** IPv6: what stands before the payload: the type of each header, and its bytes */
    readonly extensions?: readonly (readonly [type: number, bytes: readonly number[]])[];
  } = {},
): Uint8Array {
  const { fragment = 0, headerWords = 5, extensions = [] } = options;
  if (!route.source.includes(":")) {
    const header = Uint8Array.of(
      ...[0x40 | headerWords, 0, ...u16(20 + payload.length), ...u16(7), ...u16(fragment)],
      ...[64, proto, 0, 0, ...ipBytes(route.source), ...ipBytes(route.target)],
    );
    return Uint8Array.of(...withChecksum(header, 10), ...payload);
  }
  const types = [...extensions.map(([type]) => type), proto];
  const before = extensions.flatMap((
    [, [_, ...bytes]],
    index,
  ) => [types[index + 1] ?? 0, ...bytes]);
  return Uint8Array.of(
    ...[0x60, 0, 0, 0, ...u16(before.length + payload.length), types[0] ?? proto, 255],
    ...[...ipBytes(route.source), ...ipBytes(route.target), ...before, ...payload],
  );
}

/** A TCP segment. */
export function tcp(
  route: Route,
  ports: { readonly source: number; readonly target: number },
  options: {
    readonly flags?: number;
    readonly headerWords?: number;
    readonly text?: string;
  } = {},
): Uint8Array {
  const { flags = TCP_SYN, headerWords = 5, text = "" } = options;
  const segment = Uint8Array.of(
    ...[...u16(ports.source), ...u16(ports.target), 0, 0, 0, 1, 0, 0, 0, flags & TCP_ACK ? 1 : 0],
    ...[headerWords << 4, flags, ...u16(64_000), 0, 0, 0, 0, ...new TextEncoder().encode(text)],
  );
  return withChecksum(segment, 16, pseudoHeader(route, PROTO.TCP, segment.length));
}

/** A message of ICMPv6. */
export function icmp6(route: Route, type: number, body: readonly number[]): Uint8Array {
  const message = Uint8Array.of(type, 0, 0, 0, ...body);
  return withChecksum(message, 2, pseudoHeader(route, PROTO.ICMP6, message.length));
}

/** Body of a neighbour advertisement that overrides what others believe: `ip` has `mac`. */
export function advertisement(ip: string, mac: string): number[] {
  return [0x20, 0, 0, 0, ...ipBytes(ip), 2, 1, ...macBytes(mac)];
}

/** Body of a router advertisement: a router for half an hour. */
export const ROUTER = [64, 0, ...u16(1800), 0, 0, 0, 0, 0, 0, 0, 0] as const;

export const TCP_SYN = 2;
export const TCP_ACK = 16;

/** The 4 or 16 bytes of an address. */
export function ipBytes(text: string): number[] {
  if (!text.includes(":")) return text.split(".").map(Number);
  const [head = "", tail] = text.split("::");
  const groups = (part: string) => part === "" ? [] : part.split(":");
  const left = groups(head);
  const right = groups(tail ?? "");
  const zeros = Array<string>(8 - left.length - right.length).fill("0");
  return [...left, ...zeros, ...right].flatMap((group) => u16(Number.parseInt(group, 16)));
}

function macBytes(text: string): number[] {
  return text.split(":").map((byte) => Number.parseInt(byte, 16));
}

function u16(value: number): number[] {
  return [value >> 8 & 255, value & 255];
}

function pseudoHeader({ source, target }: Route, proto: number, length: number): number[] {
  return [...ipBytes(source), ...ipBytes(target), ...u16(length), ...u16(proto)];
}

function withChecksum(
  bytes: Uint8Array,
  at: number,
  pseudo: readonly number[] = [],
): Uint8Array {
  const all = [...pseudo, ...bytes];
  let sum = 0;
  for (let index = 0; index < all.length; index += 2) {
    sum += ((all[index] ?? 0) << 8) + (all[index + 1] ?? 0);
  }
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  bytes.set(u16(~sum & 0xffff), at);
  return bytes;
}
