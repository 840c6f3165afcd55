/**
 * Puts addresses and ports into the classes that `decide` knows. In: a State, an address, a port.
 * Out: who that is as a source, what it asks for as a destination and where it lives, with the
 * cause. The kernel's rows, the relay and `explain` classify through these functions alone.
 *
 * Invariant: what is not known is never `none`. An address in a mesh pod CIDR without a pod is
 * `unknown`, and a disputed address keeps the strictest mode of those who claim it.
 *
 * @module
 */

import {
  type Cause,
  cidrContains,
  isStricter,
  type Mode,
  type Owner,
  parseAddress,
  type PortMode,
  portModeOf,
  type State,
  type Workload,
} from "../model/mod.ts";
import type { ModeClass, SourceClass, Where } from "./classes.ts";

/** A port as a destination. */
export interface Destination {
  readonly mode: ModeClass;
  readonly where: Where;
  readonly cause: Cause;
}

/** Who connects from an address (canonical text). */
export function sourceOf(state: State, address: string): SourceClass {
  const owner = state.owners.get(address);
  if (owner !== undefined) return sourceOfOwner(owner);
  return isInPodCidr(state, address) ? "unknown" : "outside";
}

/** What a port of an address (canonical text) asks for. */
export function destinationOf(state: State, address: string, port: number): Destination {
  const owner = state.owners.get(address);
  if (owner === undefined) {
    return isInPodCidr(state, address)
      ? { mode: "unknown", where: "unready", cause: { sentence: UNKNOWN } }
      : { mode: "none", where: "unready", cause: { sentence: "It is neither a pod nor a node" } };
  }
  if (owner.kind === "node") {
    const sentence = `It is an address of node "${owner.node}"; nodes are not in the mesh`;
    return { mode: "none", where: "unready", cause: { sentence } };
  }
  if (owner.kind === "conflict") return disputed(owner, port);
  const entry = portModeOf(owner.workload, port);
  return { mode: modeClass(entry.mode), where: whereOf(state, owner.workload), cause: entry.cause };
}

/** Who a pod is when it connects: by its own class, whatever its addresses are. */
export function sourceOfWorkload(workload: Workload): SourceClass {
  if (workload.hostNetwork) return "node";
  if (workload.ownCertificate) return "own_cert";
  return workload.enrolled ? "mesh" : "plain";
}

/** Who connects from an address with this owner. */
export function sourceOfOwner(owner: Owner): SourceClass {
  return owner.kind === "pod" ? sourceOfWorkload(owner.workload) : owner.kind;
}

/** Where a pod lives, seen from this node. */
export function whereOf(state: State, workload: Workload): Where {
  if (workload.local) return workload.mode.sameNode;
  return state.nodes.get(workload.node)?.announced ? "remote" : "unready";
}

export function modeClass(mode: Mode): ModeClass {
  return MODE_CLASSES[mode];
}

const MODE_CLASSES = { STRICT: "strict", PERMISSIVE: "permissive", DISABLE: "none" } as const;

const UNKNOWN = "It lies in a pod CIDR of the mesh, but no pod is known there";

/** Nobody's address: nobody can be verified there, but what a claimant protects stays protected. */
function disputed(owner: Extract<Owner, { kind: "conflict" }>, port: number): Destination {
  let strictest: PortMode | undefined;
  for (const workload of owner.workloads) {
    const entry = portModeOf(workload, port);
    if (strictest === undefined || isStricter(entry.mode, strictest.mode)) strictest = entry;
  }
  if (strictest === undefined) return { mode: "none", where: "unready", cause: owner.cause };
  const mode = modeClass(strictest.mode);
  return { mode, where: "unready", cause: mode === "none" ? owner.cause : strictest.cause };
}

function isInPodCidr(state: State, address: string): boolean {
  const bytes = parseAddress(address);
  if (bytes === undefined) return false;
  for (const node of state.nodes.values()) {
    if (node.podCidrs.some((cidr) => cidrContains(cidr, bytes))) return true;
  }
  return false;
}
