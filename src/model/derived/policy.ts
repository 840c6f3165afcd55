/**
 * What the CiliumServiceMeshPolicies together ask of one pod. In: the policies that target its
 * namespace. Out: the mode of every port, and how it may be reached on its own node, each with the
 * policy that decided.
 *
 * Several policies may select a pod: for each port every one of them has an opinion (its override
 * for that port, else its mode) and the strictest wins. So an override can loosen its own policy,
 * never another: what one team closes, another cannot open by naming the port.
 *
 * @module
 */

import { type Cause, causeIn, nameOf } from "./cause.ts";
import type { Origin, Stored } from "../change.ts";
import type { Mode, SameNode } from "../mode.ts";
import type { MeshPolicyObject } from "../object.ts";
import { type Labels, selects } from "../selector.ts";

/** A policy as the model keeps it. */
export type StoredPolicy = Stored<MeshPolicyObject>;

/** The mode of one port of a pod, or of all ports that have none of their own. */
export interface PortMode {
  /** 0: every port without an entry of its own. */
  readonly port: number;
  readonly mode: Mode;
  readonly sameNode: SameNode;
  readonly cause: Cause;
}

/** The joint result of the policies that select a pod. */
export interface PolicyVerdict {
  readonly mode: Opinion;
  /** Sorted by port; ports whose mode no override touches have no entry. */
  readonly ports: ReadonlyMap<number, Opinion>;
  /** Undefined: no policy says anything about it. */
  readonly sameNode: SameNode | undefined;
  /** The first STRICT or PERMISSIVE among mode and ports: what enrols the pod. */
  readonly enrols: Opinion | undefined;
}

export interface Opinion {
  readonly mode: Mode;
  readonly cause: Cause;
}

/** STRICT before PERMISSIVE before DISABLE. */
export function isStricter(mode: Mode, than: Mode): boolean {
  return STRICTNESS[mode] > STRICTNESS[than];
}

/** The policies of `policies` that select a pod with these labels. */
export function policiesOf(
  policies: readonly StoredPolicy[],
  labels: Labels,
): readonly StoredPolicy[] {
  return policies.filter(({ object }) => selects(object.target.selector, labels));
}

/**
 * What policies that select a pod ask together, or undefined without any. Of equally strict ones
 * the first in the given order is named as the cause.
 */
export function joinPolicies(selecting: readonly StoredPolicy[]): PolicyVerdict | undefined {
  const mode = strictest(selecting.map((policy) => opinionOn(policy, undefined)));
  if (mode === undefined) return undefined;
  const ports = new Map<number, Opinion>();
  for (const port of overriddenPorts(selecting)) {
    const opinion = strictest(selecting.map((policy) => opinionOn(policy, port)));
    if (opinion !== undefined) ports.set(port, opinion);
  }
  return {
    mode,
    ports,
    sameNode: joinSameNode(selecting),
    enrols: [mode, ...ports.values()].find((opinion) => opinion.mode !== "DISABLE"),
  };
}

/**
 * Whether a policy may target the namespace that it names: its own, or any if it lives in the
 * system namespace. The sources reject others; here they count for nothing.
 */
export function mayTarget(policy: MeshPolicyObject, systemNamespace: string): boolean {
  return policy.target.namespace === policy.namespace || policy.namespace === systemNamespace;
}

/** What one policy comes to, for `weft status` and the object's own conditions. */
export interface PolicyModel {
  /** "namespace/name" */
  readonly key: string;
  readonly object: MeshPolicyObject;
  readonly origin: Origin;
  /** Keys of the live pods that it selects. */
  readonly pods: readonly string[];
}

/** What a policy's report needs of a workload. */
interface SelectedPod {
  readonly key: string;
  readonly live: boolean;
  /** Keys of the policies that select it. */
  readonly policies: readonly string[];
}

/** Reports on every policy, sorted by key. */
export function derivePolicies(
  policies: ReadonlyMap<string, StoredPolicy>,
  workloads: Iterable<SelectedPod>,
): ReadonlyMap<string, PolicyModel> {
  const pods = new Map<string, string[]>([...policies.keys()].sort().map((key) => [key, []]));
  for (const { key, live, policies } of workloads) {
    if (!live) continue;
    for (const policy of policies) pods.get(policy)?.push(key);
  }
  return new Map(
    [...pods].flatMap(([key, selected]) => {
      const policy = policies.get(key);
      return policy === undefined ? [] : [[key, { key, ...policy, pods: selected }] as const];
    }),
  );
}

const STRICTNESS: Readonly<Record<Mode, number>> = { STRICT: 2, PERMISSIVE: 1, DISABLE: 0 };

function strictest(opinions: readonly Opinion[]): Opinion | undefined {
  let winner: Opinion | undefined;
  for (const opinion of opinions) {
    if (winner === undefined || isStricter(opinion.mode, winner.mode)) winner = opinion;
  }
  return winner;
}

function overriddenPorts(policies: readonly StoredPolicy[]): number[] {
  const ports = new Set(policies.flatMap(({ object }) => object.overrides.map(({ port }) => port)));
  return [...ports].sort((a, b) => a - b);
}

/** "policy beats flag, `encrypt` beats `attest`" (DESIGN §3.4). */
function joinSameNode(policies: readonly StoredPolicy[]): SameNode | undefined {
  const stated = policies.map(({ object }) => object.sameNode);
  return stated.includes("encrypt") ? "encrypt" : stated.includes("attest") ? "attest" : undefined;
}

/** What one policy asks for a port: its override for the port, else its mode. */
function opinionOn(policy: StoredPolicy, port: number | undefined): Opinion {
  const index = policy.object.overrides.findIndex((override) => override.port === port);
  const override = policy.object.overrides[index];
  const causes = causesOf(policy);
  if (override === undefined) return { mode: policy.object.mode, cause: causes.mode };
  return { mode: override.mode, cause: causes.overrides[index] ?? causes.mode };
}

interface Causes {
  readonly mode: Cause;
  readonly overrides: readonly Cause[];
}

/** A policy selects thousands of pods: its causes are made once. */
const CAUSES = new WeakMap<StoredPolicy, Causes>();

function causesOf(policy: StoredPolicy): Causes {
  const known = CAUSES.get(policy);
  if (known !== undefined) return known;
  const { object } = policy;
  const causes = {
    mode: causeIn(`${nameOf(object)} sets ${object.mode}`, policy, ["spec", "mtls", "mode"]),
    overrides: object.overrides.map(({ port, mode }, index) =>
      causeIn(
        `${nameOf(object)} sets ${mode} for port ${port}`,
        policy,
        ["spec", "mtls", "portOverrides", index, "mode"],
      )
    ),
  };
  CAUSES.set(policy, causes);
  return causes;
}
