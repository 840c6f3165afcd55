/**
 * The guard's place on the host-side veth: first of all programs, in both directions.
 *
 * TCX links where the kernel has them (6.6): pinned by slot, ordered among others. Before that,
 * filters of `clsact`: they stay with the interface without a pin, and the lowest priority runs
 * first.
 *
 * @module
 */

import {
  attachClsact,
  type ClsactPlace,
  ClsactPoint,
  detachClsact,
  queryClsact,
} from "../../ffi/bpf/clsact.ts";
import { AttachType } from "../../ffi/bpf/constants.ts";
import { BpfLink, queryTcx } from "../../ffi/bpf/link.ts";
import type { BpfProgram } from "../../ffi/bpf/program.ts";
import { SyscallError } from "../../ffi/errors.ts";
import { updateLink } from "./links.ts";
import type { Pins } from "./pins.ts";

/** Direction, seen from the pod. */
export type Direction = "to" | "from";
export const DIRECTIONS: readonly Direction[] = ["to", "from"];

/** The guard's program, in two copies so that one can stand while the other takes the head. */
export type GuardCopies = readonly [BpfProgram, BpfProgram];

/** Where a guard stands. */
export interface GuardPlace {
  readonly slot: number;
  readonly ifindex: number;
  readonly direction: Direction;
}

/** One way of putting the guard on an interface. */
export interface GuardHooks {
  /** Puts the guard first, or finds it there. At no moment is there none, once there was one. */
  attach(place: GuardPlace, copies: GuardCopies): void;
  /** Whether it stands first: one of the copies, or the program of its link. */
  isInPlace(place: GuardPlace, copies: GuardCopies): boolean;
}

/** The way of this kernel. */
export function guardHooks(pins: Pins, kind: "tcx" | "clsact" = probe()): GuardHooks {
  return kind === "tcx" ? new TcxHooks(pins) : new ClsactHooks();
}

/** Takes filters of clsact off an interface; links go with their pins. */
export function removeFilters(ifindex: number): void {
  for (const direction of DIRECTIONS) {
    try {
      detachClsact(clsactPlace(ifindex, direction));
    } catch (error) {
      // The interface is gone, and its filters with it.
      if (!(error instanceof SyscallError)) throw error;
    }
  }
}

class TcxHooks implements GuardHooks {
  readonly #pins: Pins;

  constructor(pins: Pins) {
    this.#pins = pins;
  }

  attach({ slot, ifindex, direction }: GuardPlace, copies: GuardCopies): void {
    const path = this.#pins.podLink(slot, direction);
    const attachType = TCX_TYPES[direction];
    using old = BpfLink.openPinned(path);
    const info = old?.info();
    const stands = info?.kind === "tcx" && info.ifindex === ifindex;
    if (old && info && stands && queryTcx(ifindex, attachType)[0] === info.programId) {
      if (copies.some((program) => program.info.id === info.programId)) return;
      if (updateLink(old, copies[0])) return;
    }
    const spare = stands && copies[0].info.id === info?.programId ? copies[1] : copies[0];
    using link = BpfLink.attachTcx(spare, ifindex, { attachType, position: "first" });
    if (old) {
      if (stands) old.detach();
      Deno.removeSync(path);
    }
    link.pin(path);
  }

  isInPlace({ slot, ifindex, direction }: GuardPlace): boolean {
    using link = BpfLink.openPinned(this.#pins.podLink(slot, direction));
    const info = link?.info();
    return info?.kind === "tcx" && info.ifindex === ifindex &&
      queryTcx(ifindex, TCX_TYPES[direction])[0] === info.programId;
  }
}

class ClsactHooks implements GuardHooks {
  attach({ ifindex, direction }: GuardPlace, copies: GuardCopies): void {
    const place = clsactPlace(ifindex, direction);
    if (queryClsact(place) !== copies[0].info.id) attachClsact(copies[0], place);
  }

  isInPlace({ ifindex, direction }: GuardPlace, copies: GuardCopies): boolean {
    const first = queryClsact(clsactPlace(ifindex, direction));
    return copies.some((program) => program.info.id === first);
  }
}

/** The first of priorities: the kernel gives others to whoever does not ask for this one. */
function clsactPlace(ifindex: number, direction: Direction): ClsactPlace {
  const point = direction === "to" ? ClsactPoint.EGRESS : ClsactPoint.INGRESS;
  return { ifindex, point, priority: 1, handle: 1 };
}

const TCX_TYPES = { to: AttachType.TCX_EGRESS, from: AttachType.TCX_INGRESS } as const;
const LOOPBACK_IFINDEX = 1;

/** Kernels without TCX do not know its attach types. */
function probe(): "tcx" | "clsact" {
  try {
    queryTcx(LOOPBACK_IFINDEX, AttachType.TCX_INGRESS);
    return "tcx";
  } catch (error) {
    if (error instanceof SyscallError) return "clsact";
    throw error;
  }
}
