/**
 * From the API's shape of each kind to the model's. In: a document whose kind and metadata are
 * good. Out: the object with defaults filled in as the API server does, or its faults.
 *
 * @module
 */

import type { z } from "zod";
import {
  type Cidr,
  familyOf,
  type Labels,
  type ModelObject,
  type NamedPort,
  type Selector,
  type SliceEndpoint,
} from "../model/mod.ts";
import { type Fault, faultsOf } from "./fault.ts";
import { meshPolicySpec, weftNodeSpec } from "./policy_schema.ts";
import * as schema from "./schema.ts";

export interface ConverterOptions {
  /** Of the object: its own, or the default. */
  readonly namespace: string;
  readonly systemNamespace: string;
  readonly netnsAnnotation: boolean;
}

export type Metadata = z.output<typeof schema.metadata>;

export type ConvertedKind =
  | { readonly object: ModelObject }
  | { readonly faults: readonly Fault[] };

export type Converter = (
  document: object,
  meta: Metadata,
  options: ConverterOptions,
) => ConvertedKind;

const OWN_CERTIFICATE = "mesh.cilium.io/own-certificate";
const NETNS = "mesh.cilium.io/netns";

export function convertPod(
  document: object,
  meta: Metadata,
  options: ConverterOptions,
): ConvertedKind {
  const parsed = schema.pod.safeParse(document);
  if (!parsed.success) return { faults: faultsOf(parsed.error, []) };
  const { spec, status } = parsed.data;
  const addresses = [
    ...new Set(status?.podIPs?.map(({ ip }) => ip) ?? [status?.podIP ?? ""]),
  ].filter((address) => address !== "");
  if (new Set(addresses.map(familyOf)).size < addresses.length) {
    return { faults: [{ path: ["status", "podIPs"], reason: "has several of one family" }] };
  }
  const phase = status?.phase ?? "";
  const netns = meta.annotations?.[NETNS];
  if (options.netnsAnnotation && netns !== undefined && !netns.startsWith("/")) {
    const path = ["metadata", "annotations", NETNS];
    return { faults: [{ path, reason: `must be an absolute path: current value is "${netns}"` }] };
  }
  const object: ModelObject = {
    kind: "Pod",
    ...common(meta, options),
    node: spec?.nodeName ?? "",
    serviceAccount: spec?.serviceAccountName || spec?.serviceAccount || "default",
    hostNetwork: spec?.hostNetwork ?? false,
    addresses,
    finished: phase === "Succeeded" || phase === "Failed",
    terminating: typeof meta.deletionTimestamp === "string",
    ready: isReady(phase, status?.conditions ?? []),
    ownCertificate: meta.annotations?.[OWN_CERTIFICATE] === "true",
    ...(options.netnsAnnotation && netns !== undefined && { netns }),
    ports: namedPorts([...spec?.containers ?? [], ...spec?.initContainers ?? []]),
  };
  return { object };
}

export function convertNode(
  document: object,
  meta: Metadata,
  options: ConverterOptions,
): ConvertedKind {
  const parsed = schema.node.safeParse(document);
  if (!parsed.success) return { faults: faultsOf(parsed.error, []) };
  const { spec, status } = parsed.data;
  const addresses: string[] = [];
  for (const [index, { type, address }] of (status?.addresses ?? []).entries()) {
    if (type !== "InternalIP" && type !== "ExternalIP") continue;
    const routable = schema.nodeAddress.safeParse(address);
    if (!routable.success) {
      return { faults: faultsOf(routable.error, ["status", "addresses", index, "address"]) };
    }
    addresses.push(routable.data);
  }
  const podCidrs: Cidr[] = spec?.podCIDRs ?? (spec?.podCIDR ? [spec.podCIDR] : []);
  return { object: { kind: "Node", ...common(meta, options), addresses, podCidrs } };
}

export function convertService(
  document: object,
  meta: Metadata,
  options: ConverterOptions,
): ConvertedKind {
  const parsed = schema.service.safeParse(document);
  if (!parsed.success) return { faults: faultsOf(parsed.error, []) };
  const spec = parsed.data.spec ?? {};
  const ips = spec.type === "ExternalName" ? [] : spec.clusterIPs ?? [spec.clusterIP ?? ""];
  const selector = toMap(spec.selector);
  const object: ModelObject = {
    kind: "Service",
    ...common(meta, options),
    clusterIps: [...new Set(ips.filter((ip) => ip !== "" && ip !== "None"))],
    ports: (spec.ports ?? []).map(({ name, port, protocol, targetPort }) => ({
      name: name ?? "",
      port,
      proto: protocol ?? "TCP",
      // 0 stands for absent, as in the API.
      target: typeof targetPort === "string" ? numberOrName(targetPort) : targetPort || port,
    })),
    selector: selector.size === 0 ? undefined : selector,
    publishNotReady: spec.publishNotReadyAddresses ?? false,
    localOnly: spec.internalTrafficPolicy === "Local",
  };
  return { object };
}

export function convertEndpointSlice(
  document: object,
  meta: Metadata,
  options: ConverterOptions,
): ConvertedKind {
  const parsed = schema.endpointSlice.safeParse(document);
  if (!parsed.success) return { faults: faultsOf(parsed.error, []) };
  const { addressType, endpoints, ports } = parsed.data;
  const converted: SliceEndpoint[] = [];
  // Names are not resolved: an endpoint of type FQDN is no address.
  for (const [index, endpoint] of (addressType === "FQDN" ? [] : endpoints ?? []).entries()) {
    const addresses: string[] = [];
    for (const [position, text] of endpoint.addresses.entries()) {
      const path = ["endpoints", index, "addresses", position];
      const address = schema.endpointAddress.safeParse(text);
      if (!address.success) return { faults: faultsOf(address.error, path) };
      if (familyOf(address.data) !== addressType) {
        return { faults: [{ path, reason: `"${text}" is not ${addressType}` }] };
      }
      addresses.push(address.data);
    }
    const { ready, serving, terminating } = endpoint.conditions ?? {};
    converted.push({
      addresses,
      // Unknown counts as ready (API: "consumers should interpret this unknown state as ready").
      ready: (ready ?? true) && !(terminating ?? false),
      serving: serving ?? ready ?? true,
      terminating: terminating ?? false,
      node: endpoint.nodeName ?? "",
    });
  }
  const object: ModelObject = {
    kind: "EndpointSlice",
    ...common(meta, options),
    service: meta.labels?.["kubernetes.io/service-name"] ?? "",
    // A port without a number stands for all ports; no Service port maps to it.
    ports: (ports ?? []).flatMap(({ name, port, protocol }) =>
      port ? [{ name: name ?? "", port, proto: protocol ?? "TCP" }] : []
    ),
    endpoints: converted,
  };
  return { object };
}

export function convertMeshPolicy(
  document: object,
  meta: Metadata,
  options: ConverterOptions,
): ConvertedKind {
  const { spec: rawSpec, apiVersion: _, kind: __, metadata: ___, status: ____, ...unknown } =
    document as Record<string, unknown>;
  const faults: Fault[] = Object.keys(unknown)
    .map((key) => ({ path: [key], reason: `unknown field "${key}"` }));
  const parsed = meshPolicySpec.safeParse(rawSpec);
  if (!parsed.success) return { faults: [...faults, ...faultsOf(parsed.error, ["spec"])] };
  const { target, mtls } = parsed.data;
  const namespace = target?.namespace ?? options.namespace;
  if (namespace !== options.namespace && options.namespace !== options.systemNamespace) {
    faults.push({
      path: ["spec", "target", "namespace"],
      reason:
        `must be the policy's own namespace "${options.namespace}", not "${namespace}": only` +
        ` policies in the system namespace "${options.systemNamespace}" may target others`,
    });
  }
  if (faults.length > 0) return { faults };
  const selector: Selector = {
    matchLabels: toMap(target?.selector?.matchLabels),
    matchExpressions: (target?.selector?.matchExpressions ?? []).map((expression) => ({
      ...expression,
      values: expression.values ?? [],
    })),
  };
  const object: ModelObject = {
    kind: "MeshPolicy",
    ...common(meta, options),
    target: { namespace, selector },
    mode: mtls.mode,
    sameNode: mtls.sameNode,
    overrides: (mtls.portOverrides ?? []).map(({ port, mode }) => ({ port, mode })),
  };
  return { object };
}

export function convertWeftNode(
  document: object,
  meta: Metadata,
  options: ConverterOptions,
): ConvertedKind {
  const parsed = weftNodeSpec.safeParse((document as { spec?: unknown }).spec);
  if (!parsed.success) return { faults: faultsOf(parsed.error, ["spec"]) };
  const { node, uid, issuerFingerprint, datapathVersion, ready } = parsed.data;
  if (node !== meta.name) {
    const reason = `must be "${meta.name}", the object's own name: current value is "${node}"`;
    return { faults: [{ path: ["spec", "node"], reason }] };
  }
  const object: ModelObject = {
    kind: "WeftNode",
    ...common(meta, options),
    node,
    nodeUid: uid,
    issuerFingerprint,
    datapathVersion,
    ready,
  };
  return { object };
}

function common(meta: Metadata, { namespace }: ConverterOptions) {
  return { namespace, name: meta.name, uid: meta.uid ?? "", labels: toMap(meta.labels) };
}

function toMap(record: Readonly<Record<string, string>> | null | undefined): Labels {
  return new Map(Object.entries(record ?? {}));
}

/** A pod of files without a status is taken for running: its author says that it is there. */
function isReady(
  phase: string,
  conditions: readonly { readonly type: string; readonly status: string }[],
): boolean {
  const condition = conditions.find(({ type }) => type === "Ready");
  if (condition !== undefined) return condition.status === "True";
  return phase === "" || phase === "Running";
}

function namedPorts(
  containers: readonly z.output<typeof schema.container>[],
): NamedPort[] {
  return containers.flatMap(({ ports }) =>
    (ports ?? []).flatMap(({ name, containerPort, protocol }) =>
      name ? [{ name, port: containerPort, proto: protocol ?? "TCP" }] : []
    )
  );
}

/** IntOrString: "80" is the number 80. */
function numberOrName(text: string): number | string {
  return /^\d+$/.test(text) ? Number(text) : text;
}
