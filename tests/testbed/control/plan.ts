/**
 * Which address belongs to what in a testbed. Every testbed has the same plan: its wire is a
 * network namespace that nothing else is connected to, so two testbeds cannot collide, and an
 * address in a log means the same thing in every run.
 *
 * Invariant: pure; the same arguments give the same addresses, for IPv4 and IPv6 alike.
 *
 * @module
 */

/** Nodes a testbed can have: host numbers 11 to 74 of the wire. */
export const NODES_MAX = 64;

/** Pods a node can have over its life: addresses are not used again (hosts 2 to 254). */
export const PODS_MAX = 253;

/** Address of each family, IPv4 first. */
export interface AddressPair {
  readonly v4: string;
  readonly v6: string;
}

/** Prefix lengths of the nodes' network. */
export const WIRE_PREFIX = { v4: 24, v6: 64 } as const;

/** The host on the nodes' network that no agent manages. */
export const OUTSIDE: AddressPair = wireAddresses(200);

/** The host that runs the cluster's DNS server. */
export const DNS: AddressPair = wireAddresses(53);

/** Addresses of the Service "kube-dns". */
export const DNS_SERVICE: AddressPair = serviceAddresses(10);

/** First Service number that is given out; those below are reserved. */
export const SERVICE_FIRST = 16;

/** Addresses of node `index` (from 1) on the wire. */
export function nodeAddresses(index: number): AddressPair {
  return wireAddresses(10 + index);
}

/** Pod CIDRs of node `index`. */
export function podCidrs(index: number): AddressPair {
  return { v4: `10.244.${index}.0/24`, v6: `fd00:10:244:${hex(index)}::/64` };
}

/** Addresses of pod number `host` (1 is the node's own end) on node `index`. */
export function podAddresses(index: number, host: number): AddressPair {
  return { v4: `10.244.${index}.${host}`, v6: `fd00:10:244:${hex(index)}::${hex(host)}` };
}

/** Addresses of Service number `host`, in 10.96.0.0/16 and fd00:10:96::/112. */
export function serviceAddresses(host: number): AddressPair {
  return { v4: `10.96.${host >> 8}.${host & 255}`, v6: `fd00:10:96::${hex(host)}` };
}

function wireAddresses(host: number): AddressPair {
  return { v4: `192.0.2.${host}`, v6: `fd00:192:0:2::${hex(host)}` };
}

function hex(value: number): string {
  return value.toString(16);
}
