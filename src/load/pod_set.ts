/**
 * The local pods that are guarded: found, numbered, attached, given up.
 *
 * A slot is a small number by which kernel rows name a pod's listeners; it stays a pod's for as
 * long as the pod's namespace lives, also across agents (the pinned `pods` rows say whose it is,
 * or, where maps are of another layout, the namespace of the pinned link). A pod for which the maps
 * have no room is guarded all the same, under a slot beyond those of listeners: without rows its
 * guard drops everything.
 *
 * @module
 */

import { WeftPodRow } from "../../bpf/layout.gen.ts";
import { BpfLink } from "../../ffi/bpf/link.ts";
import type { BpfMap } from "../../ffi/bpf/map.ts";
import type { Link } from "../../ffi/linux/links.ts";
import { netnsIdentity } from "../../ffi/linux/netns.ts";
import type { LocalPod, Plan } from "../compile/mod.ts";
import { formatError } from "../errors.ts";
import { type KnownPods, seedConnections } from "./connections.ts";
import { removeFilters } from "./guard.ts";
import {
  type AttachedPod,
  attachPod,
  detachSlot,
  findPod,
  type FoundPod,
  isInPlace,
  type PodHooks,
} from "./pods.ts";
import type { Pins } from "./pins.ts";

/** Slots are indexes into the array of listeners; 0 means none. */
const SLOTS_MAX = 1023;

/** All pods of this node that the datapath holds. */
export class PodSet implements Disposable {
  readonly #hooks: PodHooks;
  readonly #attached = new Map<string, AttachedPod>();
  /** Why a pod could not be found at the last look, and why its programs could not be attached. */
  readonly #unfound = new Map<string, string>();
  readonly #unattached = new Map<string, string>();
  /** Pods without room for their rows. */
  readonly #surplus = new Map<string, AttachedPod>();
  /** Cookie -> slot, as the kernel has it. */
  readonly #slots = new Map<bigint, number>();
  /** Inode of a namespace -> slot, by the pinned links. */
  readonly #linked: ReadonlyMap<number, number>;
  readonly #max: number;
  /** Connections of all pods are to be given rows: the table is new, the pods are not. */
  #seedsAll: boolean;

  /** @param max pods for which the maps have room */
  constructor(hooks: PodHooks, pods: BpfMap, max: number) {
    this.#hooks = hooks;
    this.#max = Math.min(max, SLOTS_MAX);
    this.#linked = linkedNamespaces(hooks.pins);
    this.#seedsAll = hooks.pins.isReplacing;
    for (const [key, value] of pods.entries()) {
      const cookie = new DataView(key.buffer, key.byteOffset).getBigUint64(0, true);
      this.#slots.set(cookie, WeftPodRow.decode(value).slot);
    }
  }

  get attached(): ReadonlyMap<string, AttachedPod> {
    return this.#attached;
  }

  /** Pods that are guarded but have no rows: nothing of theirs passes. */
  get surplus(): readonly string[] {
    return [...this.#surplus.keys()];
  }

  get failures(): ReadonlyMap<string, string> {
    return new Map([...this.#unattached, ...this.#unfound]);
  }

  /** Whose sockets can be looked at, and who of the plan cannot be found. */
  known(plan: Plan): KnownPods {
    const held = this.#all();
    const keys = new Set(held.map(({ key }) => key));
    return { held, lost: [...plan.localPods.values()].filter(({ key }) => !keys.has(key)) };
  }

  /**
   * Looks for the plan's pods, notes in `failures` whom it cannot find; true if anything changed.
   */
  find(plan: Plan, links: readonly Link[]): boolean {
    let changed = false;
    for (const pod of plan.localPods.values()) {
      const print = JSON.stringify([pod.netns, pod.addresses]);
      const known = this.#attached.get(pod.key) ?? this.#surplus.get(pod.key);
      const isSettled = !this.#surplus.has(pod.key) || !this.#hasRoom;
      if (known?.print === print && isSettled && stillThere(known, links)) {
        this.#unfound.delete(pod.key);
        continue;
      }
      try {
        const found = findPod(pod, links);
        if (known) this.#drop(known, found.cookie);
        this.#take({ key: pod.key, slot: this.#slotOf(found), print, ...found });
        this.#unfound.delete(pod.key);
        changed = true;
      } catch (error) {
        // What is attached stays: a pod that cannot be found for a moment must not be let go.
        this.#unfound.set(pod.key, formatError(error));
      }
    }
    for (const faults of [this.#unfound, this.#unattached]) {
      for (const key of faults.keys()) if (!plan.localPods.has(key)) faults.delete(key);
    }
    return changed;
  }

  /** Attaches the programs of every pod, or finds them in place. */
  attach(plan: Plan, connections: BpfMap, revision: number): void {
    const linked = this.#hooks.pins.linkedSlots();
    for (const pod of this.#all()) {
      if (!plan.localPods.has(pod.key)) continue;
      try {
        if (this.#seedsAll || !linked.has(pod.slot)) {
          seedConnections(pod, plan, connections, revision);
        }
        attachPod(pod, this.#hooks);
        this.#unattached.delete(pod.key);
      } catch (error) {
        this.#unattached.set(pod.key, formatError(error));
      }
    }
    this.#seedsAll = false;
  }

  /**
   * Detaches what the plan no longer has, and slots that nobody owns. While some pod cannot be
   * found, an unowned slot may be that pod's: its guard stays, and drops for want of rows.
   */
  release(plan: Plan): void {
    for (const pod of this.#all()) if (!plan.localPods.has(pod.key)) this.#drop(pod);
    const deadOnly = this.failures.size > 0;
    const used = new Set(this.#all().map(({ slot }) => slot));
    const { pins } = this.#hooks;
    for (const slot of pins.linkedSlots()) if (!used.has(slot)) detachSlot(slot, pins, deadOnly);
    if (deadOnly) return;
    for (const [cookie, slot] of this.#slots) if (!used.has(slot)) this.#slots.delete(cookie);
  }

  /** Pods whose programs are not where they belong. */
  disturbed(): string[] {
    return this.#all().filter((pod) => !isInPlace(pod, this.#hooks)).map(({ key }) => key);
  }

  /** Whether finding the plan's pods now would give another set than is attached. */
  wouldChange(plan: Plan, links: readonly Link[]): boolean {
    if (this.#surplus.size > 0 && this.#hasRoom) return true;
    // Once it is known that a pod cannot be found, nothing changes until it can.
    const { failures } = this;
    const settled = this.#all().filter(({ key }) => !failures.has(key));
    if (settled.some((pod) => !stillThere(pod, links))) return true;
    for (const key of failures.keys()) {
      const pod = plan.localPods.get(key);
      if (pod && canBeFound(pod, links)) return true;
    }
    return false;
  }

  [Symbol.dispose](): void {
    for (const pod of this.#all()) pod.netns[Symbol.dispose]();
    this.#attached.clear();
    this.#surplus.clear();
  }

  #all(): AttachedPod[] {
    return [...this.#attached.values(), ...this.#surplus.values()];
  }

  get #hasRoom(): boolean {
    return this.#attached.size < this.#max;
  }

  /** Among those that are served, or cut off. */
  #take(pod: AttachedPod): void {
    (pod.slot <= SLOTS_MAX ? this.#attached : this.#surplus).set(pod.key, pod);
    this.#slots.set(pod.cookie, pod.slot);
  }

  /** The slot that the namespace has; it moves when there is room for a pod that had none. */
  #slotOf({ cookie, netns }: FoundPod): number {
    const known = this.#slots.get(cookie) ?? this.#linked.get(Number(netnsIdentity(netns).inode));
    const used = new Set([...this.#slots.values(), ...this.#hooks.pins.linkedSlots()]);
    const isServed = known !== undefined && known <= SLOTS_MAX;
    if (isServed && (this.#slots.has(cookie) || !this.#isTaken(known))) return known;
    if (known !== undefined && !isServed && !this.#hasRoom) return known;
    let slot = this.#hasRoom ? 1 : SLOTS_MAX + 1;
    while (used.has(slot)) slot++;
    if (known !== undefined && !isServed) this.#hooks.pins.renameSlot(known, slot);
    return slot;
  }

  #isTaken(slot: number): boolean {
    return this.#all().some((pod) => pod.slot === slot);
  }

  /** Gives a pod up; its slot and links too, unless its namespace is `kept`. */
  #drop(pod: AttachedPod, kept?: bigint): void {
    this.#attached.delete(pod.key);
    this.#surplus.delete(pod.key);
    pod.netns[Symbol.dispose]();
    if (pod.cookie === kept) return;
    this.#slots.delete(pod.cookie);
    detachSlot(pod.slot, this.#hooks.pins);
    removeFilters(pod.veth.ifindex);
  }
}

/** Whose links are pinned: the namespace of each slot that still lives. */
function linkedNamespaces(pins: Pins): ReadonlyMap<number, number> {
  const slots = new Map<number, number>();
  for (const slot of pins.linkedSlots()) {
    using link = BpfLink.openPinned(pins.podLink(slot, "lookup"));
    const info = link?.info();
    if (info?.kind === "netns" && info.netnsInode !== 0) slots.set(info.netnsInode, slot);
  }
  return slots;
}

function stillThere({ veth, nsid }: AttachedPod, links: readonly Link[]): boolean {
  return links.some(({ ifindex, peerNetnsId }) => ifindex === veth.ifindex && peerNetnsId === nsid);
}

function canBeFound(pod: LocalPod, links: readonly Link[]): boolean {
  try {
    findPod(pod, links).netns[Symbol.dispose]();
    return true;
  } catch {
    return false;
  }
}
