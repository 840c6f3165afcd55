/**
 * Everything that a verdict depends on, as lists of objects. SEMANTICS B.7.
 *
 * @module
 */

import type {
  EndpointSliceObject,
  NamespaceObject,
  NodeObject,
  PodObject,
  ServiceObject,
} from "../object.ts";
import type { CidrGroupObject, NetworkPolicyObject, SecretObject } from "./rule.ts";

/** No object is there twice. */
export interface PolicyWorld {
  readonly pods: readonly PodObject[];
  readonly namespaces: readonly NamespaceObject[];
  readonly nodes: readonly NodeObject[];
  readonly services: readonly ServiceObject[];
  readonly slices: readonly EndpointSliceObject[];
  readonly groups: readonly CidrGroupObject[];
  readonly secrets: readonly SecretObject[];
  readonly policies: readonly NetworkPolicyObject[];
}

/**
 * The same world, in which a pod of the host's network is its node: the addresses of the pod are
 * the node's, and a node that no object describes is there all the same.
 */
export function withHostNetwork(world: PolicyWorld): PolicyWorld {
  const nodes = new Map(world.nodes.map((node) => [node.name, node]));
  for (const pod of world.pods) {
    if (!pod.hostNetwork || pod.finished || pod.node === "") continue;
    const node = nodes.get(pod.node) ?? bareNode(pod.node);
    const addresses = [...new Set([...node.addresses, ...pod.addresses])];
    nodes.set(pod.node, { ...node, addresses });
  }
  return { ...world, nodes: [...nodes.values()] };
}

function bareNode(name: string): NodeObject {
  const labels = new Map<string, string>();
  return { kind: "Node", namespace: "", name, uid: "", labels, addresses: [], podCidrs: [] };
}

/** How strictly policies are enforced (SEMANTICS B.1). */
export type Enforcement = "default" | "always" | "never";
