/**
 * What is accepted and enforced, but will surprise somebody: shown in `weft status` beside the
 * object, before a user finds out by an outage. In: the derived State. Out: warnings.
 *
 * @module
 */

import { selects } from "../selector.ts";
import type { Owner } from "./owner.ts";
import type { PolicyModel } from "./policy.ts";
import { clusterIpFaults, type ServiceModel, type ServicePortModel } from "./service.ts";
import type { Workload } from "./workload.ts";

export interface Warning {
  readonly code:
    /** STRICT covers pods behind a Service with UDP ports: mutual TLS cannot carry it. */
    | "strict-covers-udp"
    /** A policy selects pods on the host network, where it is not enforced. */
    | "host-network-selected"
    /** A policy selects no pod. */
    | "selects-nothing"
    /** Several Services have one cluster address and port, or a pod or node lists the address. */
    | "cluster-ip-conflict"
    /** An address is claimed but nobody's. */
    | "address-conflict";
  /** What it is about: `CiliumServiceMeshPolicy "default/backend"`, an address. */
  readonly subject: string;
  readonly sentence: string;
}

/** What of a State is looked at. */
export interface WarningInputs {
  readonly workloads: ReadonlyMap<string, Workload>;
  readonly owners: ReadonlyMap<string, Owner>;
  readonly services: ReadonlyMap<string, ServiceModel>;
  readonly policies: ReadonlyMap<string, PolicyModel>;
}

/** All warnings, in a fixed order. */
export function deriveWarnings(inputs: WarningInputs): readonly Warning[] {
  const hostPods = [...inputs.workloads.values()]
    .filter(({ hostNetwork, live }) => hostNetwork && live);
  const udpPorts = udpPortsOf(inputs.services);
  return [
    ...[...inputs.policies.values()].flatMap((policy) => [
      ...selectionWarnings(policy, hostPods),
      ...udpWarnings(policy, udpPorts, inputs.workloads),
    ]),
    ...clusterIpWarnings(inputs),
    ...conflictWarnings(inputs),
  ];
}

function* selectionWarnings(
  policy: PolicyModel,
  hostPods: readonly Workload[],
): Generator<Warning> {
  const { target } = policy.object;
  const onHost = hostPods.filter(({ namespace, labels }) =>
    namespace === target.namespace && selects(target.selector, labels)
  );
  const subject = subjectOf(policy);
  if (onHost.length > 0) {
    const names = onHost.map(({ key }) => `"${key}"`).join(", ");
    yield {
      code: "host-network-selected",
      subject,
      sentence: `It is not enforced on pods of the host network: ${names}`,
    };
  } else if (policy.pods.length === 0) {
    const sentence = `It selects no pod of namespace "${target.namespace}"`;
    yield { code: "selects-nothing", subject, sentence };
  }
}

function* udpWarnings(
  policy: PolicyModel,
  udpPorts: readonly UdpPort[],
  workloads: ReadonlyMap<string, Workload>,
): Generator<Warning> {
  if (udpPorts.length === 0) return;
  const strict = new Set(policy.pods.flatMap((key) => {
    const workload = workloads.get(key);
    return workload?.mode.mode === "STRICT" ? workload.addresses : [];
  }));
  for (const { service, port } of udpPorts) {
    if (!port.endpoints.some(({ address }) => strict.has(address))) continue;
    const what = port.port === 53 ? "DNS server" : "UDP port";
    yield {
      code: "strict-covers-udp",
      subject: subjectOf(policy),
      sentence: `STRICT covers the ${what} ${port.port}/UDP of Service "${service}": mutual TLS` +
        " cannot carry UDP, so its clients are denied",
    };
  }
}

interface UdpPort {
  readonly service: string;
  readonly port: ServicePortModel;
}

function udpPortsOf(services: ReadonlyMap<string, ServiceModel>): UdpPort[] {
  return [...services.values()].flatMap(({ key: service, ports }) =>
    ports.filter(({ proto }) => proto === "UDP").map((port) => ({ service, port }))
  );
}

function* clusterIpWarnings({ services, owners }: WarningInputs): Generator<Warning> {
  const code = "cluster-ip-conflict";
  for (const [subject, sentence] of clusterIpFaults(services)) yield { code, subject, sentence };
  for (const { key, clusterIps } of services.values()) {
    for (const address of clusterIps.filter((clusterIp) => owners.has(clusterIp))) {
      const sentence = `A pod or a node lists it; its ports of Service "${key}" are translated`;
      yield { code, subject: address, sentence };
    }
  }
}

function conflictWarnings({ owners }: WarningInputs): Warning[] {
  return [...owners].flatMap(([address, owner]): Warning[] =>
    owner.kind === "conflict"
      ? [{ code: "address-conflict", subject: address, sentence: owner.cause.sentence }]
      : []
  ).sort((a, b) => a.subject < b.subject ? -1 : 1);
}

function subjectOf(policy: PolicyModel): string {
  return `CiliumServiceMeshPolicy "${policy.key}"`;
}
