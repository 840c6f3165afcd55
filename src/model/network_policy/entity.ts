/**
 * Entities: names for identities that are no workloads. In: an entity and labels. Out: whether they
 * belong to it. SEMANTICS B.7.
 *
 * @module
 */

import { CLUSTER_KEY, K8S, type Label, LOCAL_CLUSTER, RESERVED } from "./label.ts";

/** What a policy may name. */
export const ENTITIES = [
  "all",
  "world",
  "cluster",
  "host",
  "init",
  "ingress",
  "unmanaged",
  "remote-node",
  "health",
  "none",
  "kube-apiserver",
] as const;

/** The name of an entity. */
export type Entity = typeof ENTITIES[number];

/** Reserved labels of what is outside the cluster. */
export const WORLD = ["world", "world-ipv4", "world-ipv6"] as const;

/** Reserved labels of what is inside it and no pod. */
const CLUSTER = [
  "host",
  "remote-node",
  "init",
  "ingress",
  "health",
  "unmanaged",
  "kube-apiserver",
] as const;

/** Whether an identity with these labels belongs to the entity. `none` matches nothing real. */
export function isEntity(
  entity: Entity,
  labels: readonly Label[],
  cluster: string = LOCAL_CLUSTER,
): boolean {
  switch (entity) {
    case "all":
      return true;
    case "world":
      return hasReserved(labels, WORLD);
    case "cluster":
      return hasReserved(labels, CLUSTER) ||
        labels.some(({ source, key, value }) =>
          source === K8S && key === CLUSTER_KEY && value === cluster
        );
    default:
      return hasReserved(labels, [entity]);
  }
}

function hasReserved(labels: readonly Label[], names: readonly string[]): boolean {
  return labels.some(({ source, key }) => source === RESERVED && names.includes(key));
}
