/**
 * Local pods in the kernel: from the path of a network namespace to the host's end of its veth, and
 * the three links of the pod: `sk_lookup` in its namespace, and the guard on both directions of the
 * veth.
 *
 * The namespace is believed only from the host's side: it must be at the other end of one of this
 * node's own veths and hold the pod's address. Links are pinned by slot; a link whose namespace or
 * interface is gone is replaced.
 *
 * @module
 */

import { BpfLink } from "../../ffi/bpf/link.ts";
import type { BpfProgram } from "../../ffi/bpf/program.ts";
import type { Fd } from "../../ffi/fd.ts";
import { ensureNetnsId, type Link, listAddresses, listLinks } from "../../ffi/linux/links.ts";
import { netnsCookie, netnsIdentity, openNetns, withNetns } from "../../ffi/linux/netns.ts";
import type { LocalPod } from "../compile/mod.ts";
import { DatapathError } from "../errors.ts";
import {
  type Direction,
  DIRECTIONS,
  type GuardCopies,
  type GuardHooks,
  type GuardPlace,
} from "./guard.ts";
import { isSevered, keepLink, openLink } from "./links.ts";
import type { Pins } from "./pins.ts";
import { addressBytes } from "./rows.ts";

/** A pod that the datapath knows in the kernel. */
export interface AttachedPod {
  readonly key: string;
  /** Of its listeners; from 1. */
  readonly slot: number;
  readonly netns: Fd;
  readonly cookie: bigint;
  /** Id of its namespace, seen from the node's. */
  readonly nsid: number;
  readonly veth: Veth;
  /** JSON of what it was attached by: a change means attaching it anew. */
  readonly print: string;
}

/** The pair of interfaces that joins a pod to its node. */
export interface Veth {
  /** Of the host's end. */
  readonly ifindex: number;
  readonly podMac: Uint8Array;
  /** The pod's link-local address. */
  readonly linkLocal: Uint8Array;
}

/** The programs of a pod's hooks. */
export interface PodPrograms {
  readonly lookup: BpfProgram;
  readonly to: GuardCopies;
  readonly from: GuardCopies;
}

/** What it takes to attach a pod. */
export interface PodHooks {
  readonly pins: Pins;
  readonly programs: PodPrograms;
  readonly guard: GuardHooks;
}

/** What a pod is found by. */
export interface FoundPod {
  readonly netns: Fd;
  readonly cookie: bigint;
  readonly nsid: number;
  readonly veth: Veth;
}

/** Finds the pod's namespace and veth, or says in one sentence why it cannot be guarded. */
export function findPod(pod: LocalPod, hostLinks: readonly Link[]): FoundPod {
  if (pod.netns === undefined) {
    throw unreachable(pod, 'it has no annotation "mesh.cilium.io/netns" that names its namespace');
  }
  let netns: Fd;
  try {
    netns = openNetns(pod.netns);
  } catch (error) {
    throw unreachable(pod, `its network namespace "${pod.netns}" cannot be opened`, error);
  }
  try {
    return { netns, ...inspect(pod, netns, hostLinks) };
  } catch (error) {
    netns[Symbol.dispose]();
    throw error;
  }
}

function inspect(pod: LocalPod, netns: Fd, hostLinks: readonly Link[]): Omit<FoundPod, "netns"> {
  const inside = withNetns(netns, () => ({ links: listLinks(), addresses: listAddresses() }));
  const wanted = pod.addresses.map((text) => String(addressBytes(text)));
  const held = inside.addresses.filter(({ address }) => wanted.includes(String(address)));
  const interfaces = new Set(held.map(({ ifindex }) => ifindex));
  if (new Set(held.map(({ address }) => String(address))).size < wanted.length) {
    throw unreachable(pod, `its namespace does not hold ${pod.addresses.join(" and ")}`);
  }
  const end = inside.links.find(({ ifindex }) => interfaces.has(ifindex));
  const nsid = ensureNetnsId(netns);
  const host = hostLinks.find((link) =>
    link.kind === "veth" && link.ifindex === end?.peerIfindex && link.peerIfindex === end.ifindex &&
    link.peerNetnsId === nsid
  );
  if (interfaces.size !== 1 || !end || !host) {
    throw unreachable(pod, "its address is not on one veth whose other end is on this node");
  }
  const linkLocal =
    inside.addresses.find(({ ifindex, address }) =>
      ifindex === end.ifindex && address[0] === 0xfe && ((address[1] ?? 0) & 0xc0) === 0x80
    )?.address ?? linkLocalOf(end.mac);
  const veth = { ifindex: host.ifindex, podMac: end.mac, linkLocal };
  return { cookie: netnsCookie(netns), nsid, veth };
}

/** fe80::/64 with the modified EUI-64 of a MAC: what the kernel gives an interface by itself. */
function linkLocalOf(mac: Uint8Array): Uint8Array {
  const [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0] = mac;
  return Uint8Array.of(0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0xff, 0xfe, d, e, f);
}

/** Attaches, or adopts, the programs of a pod. */
export function attachPod(pod: AttachedPod, hooks: PodHooks): void {
  const { pins, programs, guard } = hooks;
  keepLink({
    path: pins.podLink(pod.slot, "lookup"),
    program: programs.lookup,
    matches: (link) => isLookupOf(link, pod),
    attach: () => BpfLink.attachNetns(programs.lookup, pod.netns),
  });
  for (const direction of DIRECTIONS) guard.attach(placeOf(pod, direction), programs[direction]);
}

/**
 * Whether the guard stands first in both directions of the pod's veth, and the lookup link lives.
 * A pin that cannot be opened is nothing in place: attaching says what is wrong with it.
 */
export function isInPlace(pod: AttachedPod, { pins, programs, guard }: PodHooks): boolean {
  try {
    using link = BpfLink.openPinned(pins.podLink(pod.slot, "lookup"));
    return link !== undefined && isLookupOf(link, pod) &&
      DIRECTIONS.every((direction) =>
        guard.isInPlace(placeOf(pod, direction), programs[direction])
      );
  } catch {
    return false;
  }
}

/**
 * Takes the links of a slot off their hooks; with `deadOnly`, those whose hook is gone. What is no
 * link is somebody else's and stays: ours went off its hook with its pin.
 */
export function detachSlot(slot: number, pins: Pins, deadOnly = false): void {
  for (const hook of ["from", "to", "lookup"] as const) {
    const path = pins.podLink(slot, hook);
    using link = openLink(path);
    if (!link || (deadOnly && !isSevered(link))) continue;
    link.detach();
    Deno.removeSync(path);
  }
}

function placeOf(pod: AttachedPod, direction: Direction): GuardPlace {
  return { slot: pod.slot, ifindex: pod.veth.ifindex, direction };
}

function isLookupOf(link: BpfLink, pod: AttachedPod): boolean {
  const info = link.info();
  return info.kind === "netns" && info.netnsInode === Number(netnsIdentity(pod.netns).inode);
}

function unreachable(pod: LocalPod, why: string, cause?: unknown): DatapathError {
  return new DatapathError(
    `Cannot guard pod "${pod.key}": ${why}`,
    { object: pod.key },
    cause === undefined ? undefined : { cause },
  );
}
