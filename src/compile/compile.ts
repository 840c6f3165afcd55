/**
 * Compiles a State into a Plan. Pure and deterministic: everything is visited in sorted order, so
 * the same objects give the same bytes, whatever the order in which they came.
 *
 * Apply a Plan only of a State whose source is ready: before the first complete read a State knows
 * too little to judge by, and what is pinned rules.
 *
 * @module
 */

import { clusterIpFaults, clusterIpKey, familyOf, type Owner, type State } from "../model/mod.ts";
import { destinationOf, sourceOfOwner, sourceOfWorkload } from "./classify.ts";
import { decisionTable } from "./decide.ts";
import {
  type AddressEntry,
  type Backend,
  type LocalPod,
  type Plan,
  type PortEntry,
  portKey,
  type ServiceEntry,
} from "./plan.ts";

/** Compiles. */
export function compile(state: State): Plan {
  return {
    ...addressTables(state),
    cidrs: podCidrs(state),
    services: serviceTable(state),
    localPods: localPodTable(state),
    decisions: decisionTable(),
  };
}

function addressTables(state: State): Pick<Plan, "addresses" | "ports"> {
  const addresses = new Map<string, AddressEntry>();
  const ports = new Map<string, PortEntry>();
  for (const [address, owner] of [...state.owners].sort(byText)) {
    const { mode, where } = destinationOf(state, address, ANY_PORT);
    const named = namedPorts(owner)
      .map((port) => ({ port, ...destinationOf(state, address, port) }))
      .filter((port) => port.mode !== mode);
    for (const { port, ...destination } of named) {
      const entry = { address, port, proto: "TCP", mode: destination.mode, where } as const;
      ports.set(portKey(address, port, "TCP"), entry);
    }
    const pod = podBehind(owner);
    addresses.set(address, {
      source: sourceOfOwner(owner),
      mode,
      where,
      flags: {
        local: isLocalPod(owner),
        ports: named.length > 0,
        strict: mode === "strict" || named.some((port) => port.mode === "strict"),
        host: owner.kind === "node" && owner.local,
      },
      ...(pod !== undefined && { pod }),
    });
  }
  return { addresses, ports };
}

/** No port has this number: what stands for all the others. */
const ANY_PORT = 0;

/** Ports of the owner that some policy names, sorted. */
function namedPorts(owner: Owner): number[] {
  const workloads = owner.kind === "pod"
    ? [owner.workload]
    : owner.kind === "conflict"
    ? owner.workloads
    : [];
  const ports = new Set(workloads.flatMap((workload) => workload.ports.map(({ port }) => port)));
  return [...ports].sort((a, b) => a - b);
}

function isLocalPod(owner: Owner): boolean {
  if (owner.kind === "pod") return owner.workload.local;
  return owner.kind === "conflict" && owner.workloads.some((workload) => workload.local);
}

/** Of a disputed address: the one pod of this node that claims it, which must stay protected. */
function podBehind(owner: Owner): string | undefined {
  if (owner.kind === "pod") return owner.workload.key;
  if (owner.kind === "node") return undefined;
  const [local, other] = owner.workloads.filter((workload) => workload.local);
  return other === undefined && local?.hostNetwork === false ? local.key : undefined;
}

function podCidrs(state: State): string[] {
  const cidrs = [...state.nodes.values()].flatMap((node) => node.podCidrs.map(({ text }) => text));
  return [...new Set(cidrs)].sort();
}

function serviceTable(state: State): ServiceEntry[] {
  const faults = clusterIpFaults(state.services);
  const entries: ServiceEntry[] = [];
  const seen = new Set<string>();
  for (const service of state.services.values()) {
    for (const address of service.clusterIps) {
      for (const port of service.ports) {
        const key = clusterIpKey(address, port);
        if (seen.has(key)) continue;
        seen.add(key);
        const endpoints = faults.has(key) ? [] : port.endpoints;
        entries.push({
          service: service.key,
          address,
          port: port.port,
          proto: port.proto,
          backends: chooseBackends(state, address, endpoints),
        });
      }
    }
  }
  return entries.sort((a, b) =>
    byText([portKey(a.address, a.port, a.proto)], [portKey(b.address, b.port, b.proto)])
  );
}

/**
 * "Service choice skips unready peers while others remain" (DESIGN §3): a backend that nobody knows
 * yet, or a STRICT one whose node has not announced itself, would make the client wait.
 */
function chooseBackends(
  state: State,
  clusterIp: string,
  endpoints: readonly Backend[],
): readonly Backend[] {
  const family = endpoints.filter(({ address }) => familyOf(address) === familyOf(clusterIp));
  const prompt = family.filter(({ address, port }) => {
    const { mode, where } = destinationOf(state, address, port);
    return mode !== "unknown" && !(mode === "strict" && where === "unready");
  });
  return prompt.length > 0 ? prompt : family;
}

function localPodTable(state: State): ReadonlyMap<string, LocalPod> {
  const pods = new Map<string, LocalPod>();
  for (const workload of state.workloads.values()) {
    const { key, addresses, netns } = workload;
    if (!workload.local || !workload.live || workload.hostNetwork || addresses.length === 0) {
      continue;
    }
    pods.set(key, {
      key,
      addresses,
      ...(netns !== undefined && { netns }),
      source: sourceOfWorkload(workload),
    });
  }
  return pods;
}

function byText([a]: readonly [string, ...unknown[]], [b]: readonly [string, ...unknown[]]) {
  return a < b ? -1 : a > b ? 1 : 0;
}
