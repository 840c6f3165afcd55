/**
 * Labels with the source that they come from: `k8s:app=web`, `reserved:host`, `cidr:10.0.0.0/8`.
 * In: text as policies and queries write it. Out: source, key and value. SEMANTICS B.5.
 *
 * Invariant: the first colon ends the source, whatever follows. A key with a colon of its own can
 * therefore only be written with its source before it.
 *
 * @module
 */

import type { Labels } from "../selector.ts";

/** One label of an identity. */
export interface Label {
  readonly source: string;
  readonly key: string;
  readonly value: string;
}

/** Source of a selector's key that does not name one: it matches every source. */
export const ANY = "any";

/** Of pods, namespaces and nodes. */
export const K8S = "k8s";

/** Of what is no workload: the host, other nodes, the world. */
export const RESERVED = "reserved";

/** Of ranges of addresses. */
export const CIDR = "cidr";

/** Of CiliumCIDRGroups. */
export const CIDR_GROUP = "cidrgroup";

/** Of labels of an identity that were written without a source. */
export const UNSPECIFIED = "unspec";

/** The namespace of a pod. */
export const NAMESPACE_KEY = "io.kubernetes.pod.namespace";

/** In front of a namespace's own labels, on each of its pods. */
export const NAMESPACE_LABELS_PREFIX = "io.cilium.k8s.namespace.labels.";

/** The service account of a pod. */
export const SERVICE_ACCOUNT_KEY = "io.cilium.k8s.policy.serviceaccount";

/** The cluster of a pod or node. */
export const CLUSTER_KEY = "io.cilium.k8s.policy.cluster";

/** Name of the cluster that the agents are part of. */
export const LOCAL_CLUSTER = "default";

/** Reads `source:key=value`; without a source it is `fallback`. */
export function parseLabel(text: string, fallback: string): Label {
  const { source, rest } = splitSource(text);
  const equals = rest.indexOf("=");
  return {
    source: source === "" ? fallback : source,
    key: equals < 0 ? rest : rest.slice(0, equals),
    value: equals < 0 ? "" : rest.slice(equals + 1),
  };
}

/** Reads the key of a selector; without a source it matches all of them. */
export function parseLabelKey(text: string): { source: string; key: string } {
  const { source, rest } = splitSource(text);
  return { source: source === "" ? ANY : source, key: rest };
}

/** `k8s:app=web`, `reserved:host` */
export function formatLabel({ source, key, value }: Label): string {
  return value === "" ? `${source}:${key}` : `${source}:${key}=${value}`;
}

/** `reserved:NAME` */
export function reservedLabel(name: string): Label {
  return { source: RESERVED, key: name, value: "" };
}

/** Labels of one Kubernetes object. */
export function k8sLabels(labels: Labels): Label[] {
  return [...labels].map(([key, value]) => ({ source: K8S, key, value }));
}

function splitSource(text: string): { source: string; rest: string } {
  if (text.startsWith("$")) return { source: RESERVED, rest: text.slice(1) };
  const colon = text.indexOf(":");
  if (colon < 0) return { source: "", rest: text };
  // "source::key": the second colon belongs to the key.
  const isDouble = text[colon + 1] === ":";
  return { source: text.slice(0, colon), rest: text.slice(isDouble ? colon : colon + 1) };
}
