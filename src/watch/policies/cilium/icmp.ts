/**
 * ICMP rules become ranges of "ports": the types of messages. In: `icmps`. Out: port matches of the
 * protocols ICMP and ICMPv6. SEMANTICS B.10.
 *
 * The names are Cilium's; the numbers are IANA's (ICMP Parameters, ICMPv6 Parameters).
 *
 * @module
 */

import type { FieldPath } from "../../../model/mod.ts";
import type { PortRange } from "../../../model/network_policy/mod.ts";
import type { PolicyContext } from "./context.ts";
import type { IcmpRuleShape } from "./shapes.ts";

/** Reads all entries of `icmps`. */
export function icmpMatches(
  rules: readonly IcmpRuleShape[],
  path: FieldPath,
  context: PolicyContext,
): PortRange[] {
  return rules.flatMap(({ fields }, rule) =>
    (fields ?? []).flatMap((field, index): PortRange[] => {
      const family = field.family ?? "IPv4";
      const type = typeOf(field.type, family);
      if (type !== undefined) {
        return [{ transport: family === "IPv4" ? "ICMP" : "ICMPv6", first: type, last: type }];
      }
      const reason = `must be 0 to 255 or the name of an ICMP message of ${family}:` +
        ` current value is ${JSON.stringify(field.type)}`;
      context.faults.push({ path: [...path, rule, "fields", index, "type"], reason });
      return [];
    })
  );
}

function typeOf(type: number | string, family: "IPv4" | "IPv6"): number | undefined {
  const known = typeof type === "string" ? NAMES[family].get(type) : undefined;
  if (known !== undefined) return known;
  const number = typeof type === "number" ? type : /^\d{1,3}$/.test(type) ? Number(type) : -1;
  return number >= 0 && number <= 255 ? number : undefined;
}

const NAMES = {
  IPv4: new Map([
    ["EchoReply", 0],
    ["DestinationUnreachable", 3],
    ["Redirect", 5],
    ["Echo", 8],
    ["EchoRequest", 8],
    ["RouterAdvertisement", 9],
    ["RouterSelection", 10],
    ["TimeExceeded", 11],
    ["ParameterProblem", 12],
    ["Timestamp", 13],
    ["TimestampReply", 14],
    ["Photuris", 40],
    ["ExtendedEchoRequest", 42],
    ["ExtendedEcho Request", 42],
    ["ExtendedEchoReply", 43],
    ["ExtendedEcho Reply", 43],
  ]),
  IPv6: new Map([
    ["DestinationUnreachable", 1],
    ["PacketTooBig", 2],
    ["TimeExceeded", 3],
    ["ParameterProblem", 4],
    ["EchoRequest", 128],
    ["EchoReply", 129],
    ["MulticastListenerQuery", 130],
    ["MulticastListenerReport", 131],
    ["MulticastListenerDone", 132],
    ["RouterSolicitation", 133],
    ["RouterAdvertisement", 134],
    ["NeighborSolicitation", 135],
    ["NeighborAdvertisement", 136],
    ["RedirectMessage", 137],
    ["RouterRenumbering", 138],
    ["ICMPNodeInformationQuery", 139],
    ["ICMPNodeInformationResponse", 140],
    ["InverseNeighborDiscoverySolicitation", 141],
    ["InverseNeighborDiscoveryAdvertisement", 142],
    ["HomeAgentAddressDiscoveryRequest", 144],
    ["HomeAgentAddressDiscoveryReply", 145],
    ["MobilePrefixSolicitation", 146],
    ["MobilePrefixAdvertisement", 147],
    ["DuplicateAddressRequestCodeSuffix", 157],
    ["DuplicateAddressConfirmationCodeSuffix", 158],
    ["ExtendedEchoRequest", 160],
    ["ExtendedEchoReply", 161],
  ]),
} as const;
