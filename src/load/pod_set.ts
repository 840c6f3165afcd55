/**
 * The local pods that are guarded: found, numbered, attached, given up.
 *
 * A slot is a small number by which kernel rows name a pod's listeners; it stays a pod's for as
 * long as the pod's namespace lives, also across agents (the pinned `pods` rows say whose it is).
 *
 * @module
 */

import { WeftPodRow } from "../../bpf/layout.gen.ts";
import type { BpfMap } from "../../ffi/bpf/map.ts";
import type { Link } from "../../ffi/linux/links.ts";
import { assert } from "../assert.ts";
import type { LocalPod, Plan } from "../compile/mod.ts";
import { formatError } from "../errors.ts";
import { seedConnections } from "./connections.ts";
import { removeFilters } from "./guard.ts";
import {
  type AttachedPod,
  attachPod,
  detachSlot,
  findPod,
  isInPlace,
  type PodHooks,
} from "./pods.ts";

/** Slots are indexes into the array of listeners; 0 means none. */
const SLOTS_MAX = 1023;

/** All pods of this node that the datapath holds. */
export class PodSet implements Disposable {
  readonly #hooks: PodHooks;
  readonly #attached = new Map<string, AttachedPod>();
  readonly #failures = new Map<string, string>();
  /** Cookie -> slot, as the kernel has it. */
  readonly #slots = new Map<bigint, number>();

  constructor(hooks: PodHooks, pods: BpfMap) {
    this.#hooks = hooks;
    for (const [key, value] of pods.entries()) {
      const cookie = new DataView(key.buffer, key.byteOffset).getBigUint64(0, true);
      this.#slots.set(cookie, WeftPodRow.decode(value).slot);
    }
  }

  get attached(): ReadonlyMap<string, AttachedPod> {
    return this.#attached;
  }

  get failures(): ReadonlyMap<string, string> {
    return this.#failures;
  }

  /**
   * Looks for the plan's pods, notes in `failures` whom it cannot find; true if anything changed.
   */
  find(plan: Plan, links: readonly Link[]): boolean {
    let changed = false;
    for (const pod of plan.localPods.values()) {
      const print = JSON.stringify([pod.netns, pod.addresses]);
      const known = this.#attached.get(pod.key);
      if (known?.print === print && stillThere(known, links)) continue;
      try {
        const found = findPod(pod, links);
        if (known) this.#drop(known, found.cookie);
        const slot = this.#slotOf(found.cookie);
        this.#attached.set(pod.key, { key: pod.key, slot, print, ...found });
        this.#failures.delete(pod.key);
        changed = true;
      } catch (error) {
        // What is attached stays: a pod that cannot be found for a moment must not be let go.
        this.#failures.set(pod.key, formatError(error));
      }
    }
    for (const key of this.#failures.keys()) {
      if (!plan.localPods.has(key)) this.#failures.delete(key);
    }
    return changed;
  }

  /** Attaches the programs of every pod, or finds them in place. */
  attach(plan: Plan, connections: BpfMap, revision: number): void {
    const linked = this.#hooks.pins.linkedSlots();
    for (const pod of [...this.#attached.values()]) {
      if (!plan.localPods.has(pod.key)) continue;
      try {
        if (!linked.has(pod.slot)) seedConnections(pod, plan, connections, revision);
        attachPod(pod, this.#hooks);
      } catch (error) {
        this.#failures.set(pod.key, formatError(error));
      }
    }
  }

  /**
   * Detaches what the plan no longer has, and slots that nobody owns. While some pod cannot be
   * found, an unowned slot may be that pod's: its guard stays, and drops for want of rows.
   */
  release(plan: Plan): void {
    for (const pod of [...this.#attached.values()]) {
      if (!plan.localPods.has(pod.key)) this.#drop(pod);
    }
    const deadOnly = this.#failures.size > 0;
    const used = new Set([...this.#attached.values()].map(({ slot }) => slot));
    const { pins } = this.#hooks;
    for (const slot of pins.linkedSlots()) if (!used.has(slot)) detachSlot(slot, pins, deadOnly);
    if (deadOnly) return;
    for (const [cookie, slot] of this.#slots) if (!used.has(slot)) this.#slots.delete(cookie);
  }

  /** Pods whose programs are not where they belong. */
  disturbed(): string[] {
    const pods = [...this.#attached.values()];
    return pods.filter((pod) => !isInPlace(pod, this.#hooks)).map(({ key }) => key);
  }

  /** Whether finding the plan's pods now would give another set than is attached. */
  wouldChange(plan: Plan, links: readonly Link[]): boolean {
    for (const pod of this.#attached.values()) if (!stillThere(pod, links)) return true;
    for (const key of this.#failures.keys()) {
      const pod = plan.localPods.get(key);
      if (pod && canBeFound(pod, links)) return true;
    }
    return false;
  }

  [Symbol.dispose](): void {
    for (const pod of this.#attached.values()) pod.netns[Symbol.dispose]();
    this.#attached.clear();
  }

  #slotOf(cookie: bigint): number {
    const known = this.#slots.get(cookie);
    if (known !== undefined) return known;
    const used = new Set(this.#slots.values());
    let slot = 1;
    while (used.has(slot)) slot++;
    assert(slot <= SLOTS_MAX, `a node has at most ${SLOTS_MAX} pods`);
    this.#slots.set(cookie, slot);
    return slot;
  }

  /** Gives a pod up; its slot and links too, unless its namespace is `kept`. */
  #drop(pod: AttachedPod, kept?: bigint): void {
    this.#attached.delete(pod.key);
    pod.netns[Symbol.dispose]();
    if (pod.cookie === kept) return;
    this.#slots.delete(pod.cookie);
    detachSlot(pod.slot, this.#hooks.pins);
    removeFilters(pod.veth.ifindex);
  }
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
