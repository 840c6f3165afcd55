/**
 * What the relay must know, gathered from the stages that know it: who lives where (State), what is
 * decided (Plan), which pods are guarded (Datapath) and their certificates (Authority).
 *
 * Pure. Invariant: the relay judges by the same Plan that the kernel is brought to.
 *
 * @module
 */

import type { AddressEntry, Plan } from "./compile/mod.ts";
import type { AlternativeNames, Svid } from "./identity/mod.ts";
import type { AttachedPod } from "./load/mod.ts";
import type { State, Workload } from "./model/mod.ts";
import type { RelayPeer, RelayPod, RelayPort, RelaySnapshot } from "./relay/mod.ts";

export interface SnapshotInputs {
  readonly revision: number;
  readonly state: State;
  readonly plan: Plan;
  readonly pods: Iterable<AttachedPod>;
  readonly trustDomain: string;
  readonly bundlePem: string;
  /** The certificate of a workload, if there is one now. */
  readonly svidOf: (workload: Workload) => Svid | undefined;
}

/** Everything the relay works by. */
export function relaySnapshot(inputs: SnapshotInputs): RelaySnapshot {
  const { revision, state, plan, trustDomain, bundlePem } = inputs;
  const ports = portsByAddress(plan);
  return {
    revision,
    trustDomain,
    bundlePem,
    cidrs: plan.cidrs,
    pods: [...inputs.pods].flatMap((pod) => relayPod(pod, inputs)),
    peers: [...plan.addresses].map(([address, entry]) =>
      relayPeer(address, entry, state, ports.get(address) ?? [])
    ),
  };
}

/** The names that a workload's certificate carries beside its SPIFFE ID. */
export function certificateNames(workload: Workload): AlternativeNames {
  return { dnsNames: workload.dnsNames, addresses: workload.addresses };
}

function relayPod(pod: AttachedPod, { state, plan, svidOf }: SnapshotInputs): RelayPod[] {
  const workload = state.workloads.get(pod.key);
  const local = plan.localPods.get(pod.key);
  if (!workload || !local) return [];
  const svid = svidOf(workload);
  return [{
    key: pod.key,
    slot: pod.slot,
    addresses: local.addresses,
    netnsFd: pod.netns.raw,
    netnsCookie: pod.cookie,
    source: local.source,
    ...(svid && { svid }),
  }];
}

function relayPeer(
  address: string,
  { source, mode, where }: AddressEntry,
  state: State,
  ports: readonly RelayPort[],
): RelayPeer {
  const common = { address, source, mode, where, ports };
  const owner = state.owners.get(address);
  switch (owner?.kind) {
    case "pod": {
      const { key, namespace, serviceAccount, spiffeId, node } = owner.workload;
      const nodeUid = state.nodes.get(node)?.uid;
      return {
        ...common,
        kind: "pod",
        key,
        namespace,
        serviceAccount,
        spiffeId,
        node,
        ...(nodeUid !== undefined && { nodeUid }),
      };
    }
    case "node": {
      const nodeUid = state.nodes.get(owner.node)?.uid;
      return {
        ...common,
        kind: "node",
        node: owner.node,
        ...(nodeUid !== undefined && { nodeUid }),
      };
    }
    default:
      return { ...common, kind: "conflict" };
  }
}

function portsByAddress(plan: Plan): ReadonlyMap<string, RelayPort[]> {
  const byAddress = new Map<string, RelayPort[]>();
  for (const { address, port, mode, where } of plan.ports.values()) {
    const list = byAddress.get(address) ?? [];
    list.push({ port, mode, where });
    byAddress.set(address, list);
  }
  return byAddress;
}
