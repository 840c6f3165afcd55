/**
 * Whose an address is: the ground on which identity by address stands (DESIGN §6, issuer binding).
 * In: workloads and nodes. Out: per address a pod, a node, or a conflict.
 *
 * The rule: address A is a pod's iff that pod is live, not on the host network, scheduled to a node
 * N, A lies in N's pod CIDRs where N has any, and no other live pod lists A. A stolen kubelet can
 * write any address into the status of its own pods; the CIDRs keep that from becoming an identity.
 * Every live pod that lists A counts against the others, also one whose own claim is void: an
 * address that is disputed proves nothing.
 *
 * A terminating pod keeps its address while nobody else lists it (it may have connections to
 * finish), and yields to a pod that is not terminating, since addresses are used again.
 *
 * An address that is claimed but nobody's is still kept, as a conflict, with its claimants: a pod
 * of this node must not lose the protection of its mode because its address is disputed.
 *
 * @module
 */

import { cidrContains, parseAddress } from "../address.ts";
import type { Cause } from "./cause.ts";
import type { NodeModel } from "./node.ts";
import type { Workload } from "./workload.ts";

export type Owner =
  | { readonly kind: "pod"; readonly workload: Workload }
  | { readonly kind: "node"; readonly node: string; readonly local: boolean }
  | {
    readonly kind: "conflict";
    /** Live pods that list it; one, where that one may not have it. */
    readonly workloads: readonly Workload[];
    /** Nodes that list it. */
    readonly nodes: readonly string[];
    readonly cause: Cause;
  };

/** The owner of every address that some live pod or some node lists. */
export function deriveOwners(
  workloads: Iterable<Workload>,
  nodes: ReadonlyMap<string, NodeModel>,
): ReadonlyMap<string, Owner> {
  const claims = new Map<string, Claims>();
  for (const workload of workloads) {
    if (!workload.live) continue;
    for (const address of new Set(workload.addresses)) {
      claimsOn(claims, address).workloads.push(workload);
    }
  }
  for (const node of nodes.values()) {
    for (const address of new Set(node.addresses)) claimsOn(claims, address).nodes.push(node);
  }
  const owners = new Map<string, Owner>();
  for (const [address, claim] of claims) {
    const owner = judgeClaims(address, claim, nodes);
    if (owner !== undefined) owners.set(address, owner);
  }
  return owners;
}

interface Claims {
  readonly workloads: Workload[];
  readonly nodes: NodeModel[];
}

function claimsOn(claims: Map<string, Claims>, address: string): Claims {
  let claim = claims.get(address);
  if (claim === undefined) claims.set(address, claim = { workloads: [], nodes: [] });
  return claim;
}

function judgeClaims(
  address: string,
  claims: Claims,
  nodes: ReadonlyMap<string, NodeModel>,
): Owner | undefined {
  const workloads = withoutLeaving(claims.workloads);
  const podNetwork = workloads.filter((workload) => !workload.hostNetwork);
  const [node, otherNode] = claims.nodes;
  if (podNetwork.length === 0) {
    // Host-network pods have the addresses of their node.
    if (node === undefined) return undefined;
    if (otherNode === undefined) return { kind: "node", node: node.name, local: node.local };
    return conflict(address, [], claims.nodes, `Several nodes list ${address}`);
  }
  const [workload] = podNetwork;
  if (workload === undefined || workloads.length > 1) {
    return conflict(address, workloads, claims.nodes, `Several live pods list ${address}`);
  }
  const fault = claimFault(address, workload, nodes);
  if (fault !== undefined) {
    // A void claim from elsewhere takes no address from its node.
    if (node !== undefined && otherNode === undefined && !workload.local) {
      return { kind: "node", node: node.name, local: node.local };
    }
    return conflict(address, workloads, claims.nodes, fault);
  }
  if (node !== undefined) {
    return conflict(address, workloads, claims.nodes, `A pod and a node list ${address}`);
  }
  return { kind: "pod", workload };
}

/**
 * Terminating pods yield to others. One of this node yields only to a pod of this node: no other
 * node's word may take the protection from a pod that still runs here.
 */
function withoutLeaving(workloads: readonly Workload[]): readonly Workload[] {
  const staying = workloads.filter((workload) => !workload.terminating);
  if (staying.length === 0) return workloads;
  const isTakenHere = staying.some((workload) => workload.local);
  return workloads.filter((workload) => !workload.terminating || (workload.local && !isTakenHere));
}

/** Why a pod that alone lists the address may not have it, or undefined. */
function claimFault(
  address: string,
  workload: Workload,
  nodes: ReadonlyMap<string, NodeModel>,
): string | undefined {
  if (workload.node === "") return `Pod "${workload.key}" lists ${address} but is on no node`;
  const podCidrs = nodes.get(workload.node)?.podCidrs ?? [];
  const bytes = parseAddress(address);
  if (bytes === undefined) return `Pod "${workload.key}" lists ${address}, which is no address`;
  if (podCidrs.length === 0 || podCidrs.some((cidr) => cidrContains(cidr, bytes))) return undefined;
  const ranges = podCidrs.map((cidr) => cidr.text).join(", ");
  return `Pod "${workload.key}" lists ${address}, which lies outside the pod CIDRs of its node` +
    ` "${workload.node}" (${ranges})`;
}

function conflict(
  address: string,
  workloads: readonly Workload[],
  nodes: readonly NodeModel[],
  reason: string,
): Owner {
  const claimants = [
    ...workloads.map(({ key }) => `pod "${key}"`),
    ...nodes.map(({ name }) => `node "${name}"`),
  ];
  const sentence = claimants.length > 1 ? `${reason}: ${claimants.join(", ")}` : reason;
  return {
    kind: "conflict",
    workloads,
    nodes: nodes.map(({ name }) => name),
    cause: { sentence: `${sentence}; ${address} is nobody's` },
  };
}
