/**
 * Services: a cluster address and port, and the endpoints behind it. In: Service objects, their
 * EndpointSlices, and workloads for Services that have none. Out: per port the endpoints that may
 * be chosen now.
 *
 * Ready endpoints are chosen; where none is, those that are terminating but still serve (as
 * kube-proxy does); where none is either, nobody: the client is refused at once, for a pod that
 * says that it is not ready is believed. Only clusterIPs are translated: externalIPs and
 * load-balancer addresses would let a namespace user capture any address (DESIGN §8).
 *
 * @module
 */

import type { EndpointSliceObject, ServiceObject, ServicePort } from "../object.ts";
import { includesLabels } from "../selector.ts";
import type { Workload } from "./workload.ts";

export interface ServiceModel {
  /** "namespace/name" */
  readonly key: string;
  readonly namespace: string;
  readonly name: string;
  readonly clusterIps: readonly string[];
  readonly ports: readonly ServicePortModel[];
  /** Where the endpoints come from. */
  readonly endpointsFrom: "slices" | "selector" | "nowhere";
}

export interface ServicePortModel {
  readonly name: string;
  readonly port: number;
  readonly proto: "TCP" | "UDP";
  /** May be chosen now; both families; sorted, none twice. */
  readonly endpoints: readonly Endpoint[];
}

export interface Endpoint {
  readonly address: string;
  readonly port: number;
}

/** What a Service is derived from. */
export interface ServiceInputs {
  readonly service: ServiceObject;
  /** EndpointSlices of its namespace that carry its name. */
  readonly slices: readonly EndpointSliceObject[];
  /** Workloads of its namespace, for a Service without slices. */
  readonly workloads: readonly Workload[];
  readonly localNode: string;
}

/** Derives one Service. Protocols other than TCP and UDP are not translated. */
export function deriveService(inputs: ServiceInputs): ServiceModel {
  const { service, slices } = inputs;
  const endpointsFrom = slices.length > 0
    ? "slices"
    : service.selector === undefined
    ? "nowhere"
    : "selector";
  return {
    key: `${service.namespace}/${service.name}`,
    namespace: service.namespace,
    name: service.name,
    clusterIps: service.clusterIps,
    ports: service.ports.flatMap((port) => {
      if (port.proto !== "TCP" && port.proto !== "UDP") return [];
      const candidates = endpointsFrom === "slices"
        ? candidatesOfSlices(inputs, port)
        : candidatesOfSelector(inputs, port);
      const endpoints = chooseEndpoints(inputs, candidates);
      return [{ name: port.name, port: port.port, proto: port.proto, endpoints }];
    }),
    endpointsFrom,
  };
}

/** Names one cluster address and port: `10.96.0.10 53/UDP`. */
export function clusterIpKey(address: string, port: ServicePortModel): string {
  return `${address} ${port.port}/${port.proto}`;
}

/**
 * Cluster addresses and ports that two Services have, with the reason why none is served, sorted.
 * An API server does not allow it; files may, and then no name decides who gets the traffic.
 */
export function clusterIpFaults(
  services: ReadonlyMap<string, ServiceModel>,
): ReadonlyMap<string, string> {
  const claims = new Map<string, string[]>();
  for (const service of services.values()) {
    for (const address of service.clusterIps) {
      for (const port of service.ports) {
        const key = clusterIpKey(address, port);
        claims.set(key, [...claims.get(key) ?? [], `"${service.key}"`]);
      }
    }
  }
  const faults = [...claims].filter(([, names]) => names.length > 1);
  return new Map(
    faults.map(([key, names]): [string, string] => [
      key,
      `It is refused, for several Services have it: ${names.join(", ")}`,
    ]).sort(([a], [b]) => a < b ? -1 : 1),
  );
}

interface Candidate extends Endpoint {
  readonly ready: boolean;
  /** Terminating, but still answers. */
  readonly finishing: boolean;
  readonly node: string;
}

function chooseEndpoints(
  { service, localNode }: ServiceInputs,
  candidates: readonly Candidate[],
): Endpoint[] {
  const near = candidates.filter(({ node }) => !service.localOnly || node === localNode);
  const ready = near.filter((candidate) => candidate.ready);
  const chosen = ready.length > 0 ? ready : near.filter((candidate) => candidate.finishing);
  const unique = new Map(
    chosen.map(({ address, port }) => [`${address} ${port}`, { address, port }]),
  );
  return [...unique.values()].sort(compareEndpoints);
}

function compareEndpoints(a: Endpoint, b: Endpoint): number {
  return a.address < b.address ? -1 : a.address > b.address ? 1 : a.port - b.port;
}

function candidatesOfSlices({ slices }: ServiceInputs, port: ServicePort): Candidate[] {
  return slices.flatMap((slice) =>
    slice.ports
      .filter(({ name, proto }) => name === port.name && proto === port.proto)
      .flatMap((target) =>
        slice.endpoints.flatMap((endpoint) =>
          endpoint.addresses.map((address) => ({
            address,
            port: target.port,
            ready: endpoint.ready,
            finishing: endpoint.serving && endpoint.terminating,
            node: endpoint.node,
          }))
        )
      )
  );
}

/** What the endpoint controller would write for the Service. */
function candidatesOfSelector(
  { service, workloads }: ServiceInputs,
  port: ServicePort,
): Candidate[] {
  const { selector } = service;
  if (selector === undefined) return [];
  return workloads
    .filter((workload) => workload.live && includesLabels(selector, workload.labels))
    .flatMap((workload) => {
      const target = targetPortOn(workload, port);
      if (target === undefined) return [];
      return workload.addresses.map((address) => ({
        address,
        port: target,
        ready: service.publishNotReady || (workload.ready && !workload.terminating),
        finishing: workload.ready && workload.terminating,
        node: workload.node,
      }));
    });
}

/** A named port is looked up on each pod: pods may give one name different numbers. */
function targetPortOn(workload: Workload, { target, proto }: ServicePort): number | undefined {
  if (typeof target === "number") return target;
  return workload.namedPorts.find((port) => port.name === target && port.proto === proto)?.port;
}
