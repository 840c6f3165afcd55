/**
 * Ports of one entry of `toPorts` become matches. In: port, end and protocol as they are written.
 * Out: ranges or names, one for each protocol. SEMANTICS B.9.
 *
 * @module
 */

import type { FieldPath } from "../../../model/mod.ts";
import type { PortMatch, Transport } from "../../../model/network_policy/mod.ts";
import type { PolicyContext } from "./context.ts";
import type { PortShape } from "./shapes.ts";

/** Every port. */
export const ALL_PORTS = { first: 0, last: 65535 } as const;

/** What `ANY` stands for: never ICMP. */
const ANY_TRANSPORT: readonly Transport[] = ["TCP", "UDP", "SCTP"];

/** Reads `ports`; none at all are all ports. */
export function portMatches(
  shapes: readonly PortShape[],
  path: FieldPath,
  context: PolicyContext,
): PortMatch[] {
  if (shapes.length === 0) return ANY_TRANSPORT.map((transport) => ({ transport, ...ALL_PORTS }));
  return shapes.flatMap((shape, index) => matchesOf(shape, [...path, index], context));
}

/** An IANA service name (RFC 6335 5.1). */
export function isPortName(text: string): boolean {
  return text.length <= 15 && /[a-zA-Z]/.test(text) &&
    /^[a-zA-Z0-9]+(-[a-zA-Z0-9]+)*$/.test(text);
}

/** A port's number, 0 included; undefined where it is none. */
function portNumberOf(text: string): number | undefined {
  if (!/^(0|[1-9]\d{0,4})$/.test(text)) return undefined;
  return Number(text) <= 65535 ? Number(text) : undefined;
}

/** Protocols that have no ports. */
const WHOLE = ["VRRP", "IGMP", "GRE", "IPIP", "IPV6", "ESP", "AH"];

function matchesOf(shape: PortShape, path: FieldPath, context: PolicyContext): PortMatch[] {
  const protocol = shape.protocol ?? "ANY";
  const transports = protocol === "ANY" ? ANY_TRANSPORT : [TRANSPORTS[protocol]];
  const isWhole = WHOLE.includes(protocol);
  const text = shape.port ?? "";
  const fail = (field: string, reason: string): [] => {
    context.faults.push({ path: [...path, field], reason });
    return [];
  };
  if (text === "" && !isWhole) return fail("port", 'is required: "0" stands for all ports');
  if (isPortName(text)) {
    if (isWhole) return fail("port", `must be absent or "0": ${protocol} has no ports`);
    const name = text.toLowerCase();
    return transports.map((transport) => ({ transport, name }));
  }
  const first = text === "" ? 0 : portNumberOf(text);
  if (first === undefined) {
    return fail("port", `must be "0" to "65535" or a port's name: current value is "${text}"`);
  }
  const end = shape.endPort ?? 0;
  if (isWhole && (first > 0 || end > 0)) {
    return fail("port", `must be absent or "0": ${protocol} has no ports`);
  }
  if (first === 0) {
    if (end > 0) return fail("endPort", 'must be absent where port is "0", which is all ports');
    return transports.map((transport) => ({ transport, ...ALL_PORTS }));
  }
  if (end > 0 && end < first) {
    return fail("endPort", `must be at least the port, ${first}: current value is ${end}`);
  }
  return transports.map((transport) => ({ transport, first, last: end || first }));
}

const TRANSPORTS = {
  TCP: "TCP",
  UDP: "UDP",
  SCTP: "SCTP",
  ICMP: "ICMP",
  ICMPV6: "ICMPv6",
  VRRP: "VRRP",
  IGMP: "IGMP",
  GRE: "GRE",
  IPIP: "IPIP",
  IPV6: "IPV6",
  ESP: "ESP",
  AH: "AH",
} as const satisfies Record<string, Transport>;
