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

import { AttachType } from "../../ffi/bpf/constants.ts";
import { BpfLink, queryTcx } from "../../ffi/bpf/link.ts";
import type { BpfProgram } from "../../ffi/bpf/program.ts";
import { Errno } from "../../ffi/errno.ts";
import { SyscallError } from "../../ffi/errors.ts";
import type { Fd } from "../../ffi/fd.ts";
import { ensureNetnsId, type Link, listAddresses, listLinks } from "../../ffi/linux/links.ts";
import { netnsCookie, netnsIdentity, openNetns, withNetns } from "../../ffi/linux/netns.ts";
import type { LocalPod } from "../compile/mod.ts";
import { DatapathError } from "../errors.ts";
import type { Pins, PodHook } from "./pins.ts";
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
}

/** The programs of a pod's hooks, each in two copies where position matters. */
export interface PodPrograms {
  readonly lookup: BpfProgram;
  readonly to: readonly [BpfProgram, BpfProgram];
  readonly from: readonly [BpfProgram, BpfProgram];
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
  return { cookie: netnsCookie(netns), nsid, veth: { ifindex: host.ifindex, podMac: end.mac } };
}

/** Attaches, or adopts, the three links of a pod. The guard comes first of all programs. */
export function attachPod(pod: AttachedPod, pins: Pins, programs: PodPrograms): void {
  attachLookup(pod, pins, programs.lookup);
  attachGuard(pod, pins, "to", programs.to);
  attachGuard(pod, pins, "from", programs.from);
}

/** Takes the links of a slot off their hooks. */
export function detachSlot(slot: number, pins: Pins): void {
  for (const hook of ["from", "to", "lookup"] as const) {
    const path = pins.podLink(slot, hook);
    using link = BpfLink.openPinned(path);
    if (!link) continue;
    link.detach();
    Deno.removeSync(path);
  }
}

function attachLookup(pod: AttachedPod, pins: Pins, program: BpfProgram): void {
  const path = pins.podLink(pod.slot, "lookup");
  {
    using link = BpfLink.openPinned(path);
    if (link) {
      const info = link.info();
      const inode = Number(netnsIdentity(pod.netns).inode);
      if (info.kind === "netns" && info.netnsInode === inode && updated(link, program)) return;
      Deno.removeSync(path);
    }
  }
  using link = BpfLink.attachNetns(program, pod.netns);
  link.pin(path);
}

/**
 * Puts the guard at the head of its hook. Where another program has taken the head, the second copy
 * goes in front of it before the first is taken away: at no moment is there no guard.
 */
function attachGuard(
  pod: AttachedPod,
  pins: Pins,
  hook: Exclude<PodHook, "lookup">,
  programs: readonly [BpfProgram, BpfProgram],
): void {
  const path = pins.podLink(pod.slot, hook);
  const attachType = hook === "to" ? AttachType.TCX_EGRESS : AttachType.TCX_INGRESS;
  const { ifindex } = pod.veth;
  using old = BpfLink.openPinned(path);
  const info = old?.info();
  const order = queryTcx(ifindex, attachType);
  const stands = info?.kind === "tcx" && info.ifindex === ifindex;
  if (old && info && stands && order[0] === info.programId) {
    if (programs.some((program) => program.info.id === info.programId)) return;
    if (updated(old, programs[0])) return;
  }
  const spare = stands && programs[0].info.id === info?.programId ? programs[1] : programs[0];
  using link = BpfLink.attachTcx(spare, ifindex, { attachType, position: "first" });
  if (old) {
    if (stands) old.detach();
    Deno.removeSync(path);
  }
  link.pin(path);
}

/** Whether the guard stands first on both directions of the pod's veth, and the lookup link lives. */
export function isInPlace(pod: AttachedPod, pins: Pins): boolean {
  for (const hook of ["to", "from"] as const) {
    using link = BpfLink.openPinned(pins.podLink(pod.slot, hook));
    const info = link?.info();
    const attachType = hook === "to" ? AttachType.TCX_EGRESS : AttachType.TCX_INGRESS;
    if (info?.kind !== "tcx" || info.ifindex !== pod.veth.ifindex) return false;
    if (queryTcx(pod.veth.ifindex, attachType)[0] !== info.programId) return false;
  }
  using link = BpfLink.openPinned(pins.podLink(pod.slot, "lookup"));
  const info = link?.info();
  return info?.kind === "netns" && info.netnsInode === Number(netnsIdentity(pod.netns).inode);
}

/** False when the hook's owner is gone. */
function updated(link: BpfLink, program: BpfProgram): boolean {
  try {
    link.update(program);
    return true;
  } catch (error) {
    if (error instanceof SyscallError && error.errno === Errno.ENOLINK) return false;
    throw error;
  }
}

function unreachable(pod: LocalPod, why: string, cause?: unknown): DatapathError {
  return new DatapathError(
    `Cannot guard pod "${pod.key}": ${why}`,
    { object: pod.key },
    cause === undefined ? undefined : { cause },
  );
}
