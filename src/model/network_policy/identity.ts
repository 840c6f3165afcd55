/**
 * The labels that policies see: of a pod, of a node, of an address outside the cluster. In:
 * objects. Out: labels with sources. SEMANTICS B.5, B.7.
 *
 * Invariant: what is derived wins over what a pod says of itself, so that no pod can claim another
 * namespace, service account or cluster.
 *
 * @module
 */

import { familyOf } from "../address.ts";
import type { NodeObject, PodObject } from "../object.ts";
import type { Labels } from "../selector.ts";
import {
  CIDR,
  CIDR_GROUP,
  CLUSTER_KEY,
  k8sLabels,
  type Label,
  LOCAL_CLUSTER,
  NAMESPACE_KEY,
  NAMESPACE_LABELS_PREFIX,
  reservedLabel,
  SERVICE_ACCOUNT_KEY,
} from "./label.ts";

/** The label that every namespace has, whether an object says so or not. */
export const NAMESPACE_NAME_LABEL = "kubernetes.io/metadata.name";

/** What a pod's own labels may not begin with. */
const DERIVED_PREFIX = "io.cilium.k8s.";

/** Labels of nodes that run the API server, by kubeadm's convention. */
const CONTROL_PLANE_LABEL = "node-role.kubernetes.io/control-plane";

/** Labels of a pod; `namespaceLabels` are those of its namespace, if that has an object. */
export function labelsOfPod(
  pod: Pick<PodObject, "namespace" | "labels" | "serviceAccount">,
  namespaceLabels: Labels | undefined,
): Label[] {
  const own = [...pod.labels].filter(([key]) =>
    key !== NAMESPACE_KEY && !key.startsWith(DERIVED_PREFIX)
  );
  const labels = new Map(own);
  for (const [key, value] of namespaceLabels ?? []) {
    labels.set(`${NAMESPACE_LABELS_PREFIX}${key}`, value);
  }
  labels.set(`${NAMESPACE_LABELS_PREFIX}${NAMESPACE_NAME_LABEL}`, pod.namespace);
  labels.set(NAMESPACE_KEY, pod.namespace);
  labels.set(SERVICE_ACCOUNT_KEY, pod.serviceAccount);
  labels.set(CLUSTER_KEY, LOCAL_CLUSTER);
  return k8sLabels(labels);
}

/**
 * Labels of a node: `host` for its own pods, `remote-node` for all others. `apiServer`: the API
 * server answers on one of its addresses.
 */
export function labelsOfNode(
  node: Pick<NodeObject, "labels">,
  as: "host" | "remote-node",
  apiServer: boolean,
): Label[] {
  const isControlPlane = apiServer || node.labels.has(CONTROL_PLANE_LABEL);
  return [
    reservedLabel(as),
    ...(isControlPlane ? [reservedLabel("kube-apiserver")] : []),
    ...k8sLabels(new Map([...node.labels, [CLUSTER_KEY, LOCAL_CLUSTER]])),
  ];
}

/** Labels of a CiliumCIDRGroup: a source of their own, so that `k8s:` speaks of none of them. */
export function labelsOfCidrGroup(labels: Labels): Label[] {
  return [...labels].map(([key, value]) => ({ source: CIDR_GROUP, key, value }));
}

/** Labels of an address that is neither a pod's nor a node's. */
export function labelsOfWorld(address: string, apiServer: boolean): Label[] {
  const isIpv4 = familyOf(address) === "IPv4";
  return [
    reservedLabel("world"),
    reservedLabel(isIpv4 ? "world-ipv4" : "world-ipv6"),
    ...(apiServer ? [reservedLabel("kube-apiserver")] : []),
    { source: CIDR, key: `${address}/${isIpv4 ? 32 : 128}`, value: "" },
  ];
}
