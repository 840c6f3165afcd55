/**
 * Plan → rows: what `compile` has decided, in the kernel's layout, with the numbers that only the
 * running node knows (netns cookies and slots of the attached pods).
 *
 * Pure. Rows are in the order of their importance, this node's own first, and there are never more
 * than their map holds: what does not fit is named. An address without room for all its overrides
 * is STRICT and has none, because one that is missing would leave the address's own mode to the
 * port. A local pod that could not be attached keeps its address rows without LOCAL: the guard is
 * not there, so nothing may count on it, and others treat the pod as they would a remote one.
 *
 * @module
 */

import {
  U32,
  WEFT_ADDRESS_HOST,
  WEFT_ADDRESS_LOCAL,
  WEFT_ADDRESS_PORTS,
  WEFT_ADDRESS_STRICT,
  WEFT_VETH_STRICT,
  WeftAddressRow,
  WeftCidrKey,
  WeftPodRow,
  WeftPortKey,
  WeftPortRow,
  WeftVethRow,
} from "../../bpf/layout.gen.ts";
import { assert } from "../assert.ts";
import {
  type AddressEntry,
  codeOf,
  MODES,
  type Plan,
  type PortEntry,
  SOURCES,
  WHERES,
} from "../compile/mod.ts";
import { familyOf, parseAddress, parseCidr } from "../model/mod.ts";
import { Rows } from "./table.ts";
import type { AttachedPod } from "./pods.ts";

/** IP protocol numbers. */
export const PROTO = { TCP: 6, UDP: 17 } as const;

export interface PlanRows {
  readonly addresses: Rows;
  readonly ports: Rows;
  readonly cidrs: Rows;
  readonly pods: Rows;
  readonly veths: Rows;
  /** What did not fit. */
  readonly left: Left;
}

/** Of a plan, what found no room. */
export interface Left {
  /** Addresses without a row. */
  readonly addresses: readonly string[];
  /** Addresses that are STRICT for want of room for their overrides. */
  readonly closed: ReadonlySet<string>;
  readonly cidrs: readonly string[];
}

/** Rows that the maps hold. */
export type Room = Readonly<Record<"addresses" | "ports" | "cidrs", number>>;

/**
 * All rows of a plan but those of Services.
 *
 * @param closed Addresses whose overrides are known not to fit
 */
export function planRows(
  plan: Plan,
  attached: ReadonlyMap<string, AttachedPod>,
  room: Room,
  closed: ReadonlySet<string> = new Set(),
): PlanRows {
  const addresses = byImportance(plan);
  const kept = addresses.slice(0, room.addresses);
  const { ports, full } = portRows(plan, kept, room.ports, closed);
  const rows = {
    addresses: new Rows(),
    ports,
    cidrs: new Rows(),
    pods: new Rows(),
    veths: new Rows(),
    left: {
      addresses: addresses.slice(room.addresses).map(([address]) => address),
      closed: full,
      cidrs: plan.cidrs.slice(room.cidrs),
    },
  };
  for (const [address, entry] of kept) {
    const pod = entry.pod === undefined ? undefined : attached.get(entry.pod);
    const shown = full.has(address) ? closedEntry(entry) : entry;
    rows.addresses.set(addressBytes(address), addressRow(shown, pod));
  }
  for (const cidr of plan.cidrs.slice(0, room.cidrs)) {
    const parsed = parseCidr(cidr);
    assert(parsed, `plan has CIDR "${cidr}"`);
    rows.cidrs.set(
      WeftCidrKey.encode({ prefixBits: parsed.bits, addr: parsed.bytes }),
      U32.encode(1),
    );
  }
  for (const pod of attached.values()) addPod(rows, plan, pod);
  return rows;
}

/** What is on this node comes first: without it nothing works, others are known to the relay. */
function byImportance(plan: Plan): [string, AddressEntry][] {
  const all = [...plan.addresses];
  const isOwn = ([, { flags }]: [string, AddressEntry]) => flags.local || flags.host;
  return [...all.filter(isOwn), ...all.filter((entry) => !isOwn(entry))];
}

/** Overrides of the addresses for which all of them fit, and those for which they do not. */
function portRows(
  plan: Plan,
  addresses: readonly [string, AddressEntry][],
  room: number,
  closed: ReadonlySet<string>,
): { ports: Rows; full: ReadonlySet<string> } {
  const overrides = Map.groupBy(plan.ports.values(), ({ address }) => address);
  const ports = new Rows();
  const full = new Set<string>();
  for (const [address] of addresses) {
    const entries = overrides.get(address) ?? [];
    if (entries.length === 0) continue;
    if (closed.has(address) || ports.byId.size + entries.length > room) full.add(address);
    else for (const entry of entries) ports.set(portKeyBytes(entry), portRow(entry));
  }
  return { ports, full };
}

/** Denies on every port what has not authenticated itself. */
function closedEntry(entry: AddressEntry): AddressEntry {
  return { ...entry, mode: "strict", flags: { ...entry.flags, ports: false, strict: true } };
}

function addPod(rows: PlanRows, plan: Plan, pod: AttachedPod): void {
  const local = plan.localPods.get(pod.key);
  if (!local) return;
  const none = new Uint8Array(16);
  const family = (wanted: "IPv4" | "IPv6"): Uint8Array => {
    const address = local.addresses.find((text) => familyOf(text) === wanted);
    return address === undefined ? none : addressBytes(address);
  };
  const strict = local.addresses.some((address) =>
    plan.addresses.get(address)?.flags.strict || rows.left.closed.has(address)
  );
  rows.pods.set(
    cookieBytes(pod.cookie),
    WeftPodRow.encode({
      ip4: family("IPv4"),
      ip6: family("IPv6"),
      slot: pod.slot,
      source: codeOf(SOURCES, local.source),
    }),
  );
  rows.veths.set(
    U32.encode(pod.veth.ifindex),
    WeftVethRow.encode({
      netnsCookie: pod.cookie,
      slot: pod.slot,
      nsid: pod.nsid,
      mac: pod.veth.podMac,
      linkLocal: pod.veth.linkLocal,
      flags: strict ? WEFT_VETH_STRICT : 0,
    }),
  );
}

function addressRow(entry: AddressEntry, pod: AttachedPod | undefined): Uint8Array {
  const { flags } = entry;
  return WeftAddressRow.encode({
    netnsCookie: pod?.cookie ?? 0n,
    slot: pod?.slot ?? 0,
    source: codeOf(SOURCES, entry.source),
    mode: codeOf(MODES, entry.mode),
    where: codeOf(WHERES, entry.where),
    flags: (flags.local && pod ? WEFT_ADDRESS_LOCAL : 0) |
      (flags.ports ? WEFT_ADDRESS_PORTS : 0) |
      (flags.strict ? WEFT_ADDRESS_STRICT : 0) |
      (flags.host ? WEFT_ADDRESS_HOST : 0),
  });
}

/** The key of an override in `ports`. */
export function portKeyBytes({ address, port, proto }: PortEntry): Uint8Array {
  return WeftPortKey.encode({ addr: addressBytes(address), port, proto: PROTO[proto] });
}

function portRow({ mode, where }: PortEntry): Uint8Array {
  return WeftPortRow.encode({ mode: codeOf(MODES, mode), where: codeOf(WHERES, where) });
}

/** The 16 bytes of an address that the model has checked. */
export function addressBytes(text: string): Uint8Array {
  const bytes = parseAddress(text);
  assert(bytes, `plan has address "${text}"`);
  return bytes;
}

/** Key of `pods`. */
export function cookieBytes(cookie: bigint): Uint8Array {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, cookie, true);
  return bytes;
}
