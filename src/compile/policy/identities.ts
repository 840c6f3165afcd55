/**
 * Who is at the other end: everything that has an address, and the regions of all other addresses.
 *
 * In: the snapshot and the ranges that policies speak of. Out: identities with the addresses or
 * ranges that lead to them. An address that two live pods have is nobody's: it leads to an identity
 * without labels, which rules for everybody alone speak of.
 *
 * @module
 */

import {
  type Cidr,
  familyOf,
  type NodeObject,
  parseCidr,
  type PodObject,
} from "../../model/mod.ts";
import {
  type Label,
  labelsOfNode,
  labelsOfPod,
  labelsOfWorld,
} from "../../model/network_policy/mod.ts";
import { PrefixSet } from "./peers/prefixes.ts";
import type { Identity } from "./peers/table.ts";
import type { PolicySnapshot } from "./snapshot.ts";

/** An identity and what leads to it. */
export interface PlacedIdentity extends Identity {
  /** A single address, or a range of which some parts lead elsewhere. */
  readonly range: Cidr;
}

/** All addresses of the snapshot, and the regions around them. */
export function placedIdentities(
  snapshot: PolicySnapshot,
  bounds: readonly Cidr[],
): PlacedIdentity[] {
  const namespaces = new Map(snapshot.namespaces.map(({ name, labels }) => [name, labels]));
  const servers = apiServerAddresses(snapshot);
  // Whoever has an address comes after the region that is this address alone.
  const placed = new Map(regions(bounds, servers).map((one) => [one.range.text, one]));
  const put = (identity: Omit<Identity, "address">, address: string) => {
    const range = single(address);
    if (range) placed.set(range.text, { ...identity, address, range });
  };
  for (const address of servers) {
    put({ labels: labelsOfWorld(address, true), kind: "outside", ports: [] }, address);
  }
  for (const node of snapshot.nodes) {
    const labels = nodeLabels(node, "remote-node", servers);
    for (const address of node.addresses) put({ labels, kind: "node", ports: [] }, address);
  }
  for (const pod of snapshot.pods.filter(hasOwnEnd)) {
    const labels = labelsOfPod(pod, namespaces.get(pod.namespace));
    for (const address of ownAddresses(pod)) {
      put({ labels, kind: "pod", ports: pod.ports }, address);
    }
  }
  for (const address of contestedAddresses(snapshot.pods)) {
    put({ labels: [], kind: "other", ports: [] }, address);
  }
  return [...placed.values()].sort((a, b) =>
    a.range.text < b.range.text ? -1 : a.range.text > b.range.text ? 1 : 0
  );
}

/** Whether the pod has an end of its own: not that of its node. */
export function hasOwnEnd(pod: PodObject): boolean {
  return !pod.hostNetwork;
}

/** The addresses that lead to the pod: none where it has finished, or has its node's. */
export function ownAddresses(pod: PodObject): readonly string[] {
  return pod.finished || pod.hostNetwork ? [] : pod.addresses;
}

/** Labels of a node as its own pods see it, or as all others do. */
export function nodeLabels(
  node: NodeObject,
  as: "host" | "remote-node",
  servers: ReadonlySet<string>,
): Label[] {
  return labelsOfNode(node, as, node.addresses.some((address) => servers.has(address)));
}

/** Where the API server answers: what is behind the Service `default/kubernetes`. */
export function apiServerAddresses(snapshot: Pick<PolicySnapshot, "slices">): ReadonlySet<string> {
  const slices = snapshot.slices.filter(({ namespace, service }) =>
    namespace === "default" && service === "kubernetes"
  );
  return new Set(
    slices.flatMap(({ endpoints }) => endpoints.flatMap(({ addresses }) => addresses)),
  );
}

/** Addresses that two live pods have. */
export function contestedAddresses(pods: readonly PodObject[]): ReadonlySet<string> {
  const seen = new Set<string>();
  const contested = new Set<string>();
  for (const pod of pods) {
    for (const address of ownAddresses(pod)) (seen.has(address) ? contested : seen).add(address);
  }
  return contested;
}

function regions(bounds: readonly Cidr[], servers: ReadonlySet<string>): PlacedIdentity[] {
  const all = [...WORLD_RANGES, ...bounds];
  return new PrefixSet(all).regions().map(({ range, sample }) => ({
    labels: labelsOfWorld(sample, servers.has(sample)),
    address: sample,
    kind: "outside",
    ports: [],
    range,
  }));
}

/** Everything: each family's addresses. */
const WORLD_RANGES = ["0.0.0.0/0", "::/0"].flatMap((text) => {
  const range = parseCidr(text);
  return range === undefined ? [] : [range];
});

function single(address: string): Cidr | undefined {
  return parseCidr(`${address}/${familyOf(address) === "IPv4" ? 32 : 128}`);
}
