/**
 * Who the two ends of a query are. In: a world and two ends. Out: for each its labels, its address
 * and, for a pod or the host, what its own policies are found by.
 *
 * Invariant: an address is a pod's before it is a node's, and a node's before it is the world's. A
 * pod of the host's network is its node (SEMANTICS B.7).
 *
 * @module
 */

import {
  canonicalAddress,
  familyOf,
  keyOf,
  type Labels,
  type NodeObject,
  parseAddress,
  type PodObject,
} from "../model/mod.ts";
import {
  type Label,
  labelsOfNode,
  labelsOfPod,
  labelsOfWorld,
  parseLabel,
  type PolicyWorld,
  reservedLabel,
  UNSPECIFIED,
} from "../model/network_policy/mod.ts";
import { Identity } from "./identity.ts";
import type { End, Query } from "./query.ts";

/** One end of a connection. */
export interface Party {
  readonly kind: "pod" | "host" | "remote-node" | "outside" | "other";
  readonly identity: Identity;
  readonly address: Uint8Array | undefined;
  /** Of kind pod. */
  readonly pod: PodObject | undefined;
  /** Of kind host: what a nodeSelector looks at. */
  readonly nodeLabels: readonly Label[];
  /** Name for which the source was given the address. */
  readonly name: string | undefined;
}

/** Both ends, or why one of them names nobody. */
export type PartiesResult =
  | { readonly ok: true; readonly source: Party; readonly target: Party }
  | { readonly ok: false; readonly error: string };

/** The parties of one world. */
export class Parties {
  readonly #pods = new Map<string, PodObject>();
  /** Of addresses: pods that are no node, nodes. */
  readonly #podsAt = new Map<string, PodObject[]>();
  readonly #nodesAt = new Map<string, NodeName>();
  readonly #nodes = new Map<string, NodeObject>();
  readonly #namespaceLabels = new Map<string, Labels>();
  readonly #apiServers = new Set<string>();
  readonly #identities = new Map<string, Identity>();

  constructor(world: PolicyWorld) {
    for (const { name, labels } of world.namespaces) this.#namespaceLabels.set(name, labels);
    for (const pod of world.pods) this.#addPod(pod);
    for (const node of world.nodes) {
      this.#nodes.set(node.name, node);
      for (const address of node.addresses) this.#nodesAt.set(address, node.name);
    }
    for (const { namespace, service, endpoints } of world.slices) {
      if (namespace !== "default" || service !== "kubernetes") continue;
      for (const { addresses } of endpoints) {
        for (const address of addresses) this.#apiServers.add(address);
      }
    }
  }

  /** Both ends; each may depend on the other. */
  of(query: Query): PartiesResult {
    const [source, target] = [this.#place(query.from), this.#place(query.to)];
    if (typeof source === "string") return { ok: false, error: source };
    if (typeof target === "string") return { ok: false, error: target };
    return {
      ok: true,
      source: this.#party(source, target, familyIn(query, query.to)),
      target: this.#party(target, source, familyIn(query, query.from)),
    };
  }

  #addPod(pod: PodObject): void {
    this.#pods.set(keyOf(pod), pod);
    if (pod.finished || pod.hostNetwork) return;
    for (const address of pod.addresses) {
      this.#podsAt.set(address, [...this.#podsAt.get(address) ?? [], pod]);
    }
  }

  /** What an end names, or why it names nothing. */
  #place(end: End): Place | string {
    switch (end.kind) {
      case "pod": {
        const pod = this.#pods.get(end.key);
        if (pod === undefined) return `Pod "${end.key}" does not exist`;
        if (pod.hostNetwork) {
          if (pod.node === "") return `Pod "${end.key}" is on no node yet`;
          const own = this.#nodes.get(pod.node)?.addresses ?? [];
          const addresses = pod.addresses.length > 0 ? pod.addresses : own;
          return { kind: "node", node: pod.node, addresses };
        }
        const addresses = pod.finished ? [] : pod.addresses;
        const clash = addresses.map((address) => this.#clash(address)).find(Boolean);
        return clash ?? { kind: "pod", pod, addresses };
      }
      case "ip": {
        const address = canonicalAddress(end.address) ?? end.address;
        const [pod] = this.#podsAt.get(address) ?? [];
        if (pod !== undefined) {
          return this.#clash(address) ?? { kind: "pod", pod, addresses: [address] };
        }
        const node = this.#nodesAt.get(address);
        if (node !== undefined) return { kind: "node", node, addresses: [address] };
        return { kind: "outside", address, name: end.name };
      }
      case "entity":
        if (end.entity === "host") return { kind: "host" };
        return { kind: "labels", labels: [reservedLabel(end.entity)] };
      case "labels":
        return {
          kind: "labels",
          labels: end.labels.map((text) => parseLabel(text, UNSPECIFIED)),
        };
    }
  }

  #clash(address: string): string | undefined {
    const pods = this.#podsAt.get(address) ?? [];
    if (pods.length < 2) return undefined;
    const names = pods.map((pod) => `"${keyOf(pod)}"`).sort().join(" and ");
    return `Address "${address}" belongs to pods ${names}`;
  }

  #party(place: Place, other: Place, family: "IPv4" | "IPv6" | undefined): Party {
    const bare = { address: undefined, pod: undefined, nodeLabels: [], name: undefined };
    switch (place.kind) {
      case "pod": {
        const { pod, addresses } = place;
        const identity = this.#identity(
          `pod ${keyOf(pod)}`,
          () => labelsOfPod(pod, this.#namespaceLabels.get(pod.namespace)),
        );
        return { ...bare, kind: "pod", identity, pod, address: addressOf(addresses, family) };
      }
      case "node": {
        const isHost = other.kind === "pod" && other.pod.node === place.node;
        const kind = isHost ? "host" : "remote-node";
        const identity = this.#nodeIdentity(place.node, kind);
        const nodeLabels = isHost ? identity.labels : [];
        return { ...bare, kind, identity, nodeLabels, address: addressOf(place.addresses, family) };
      }
      case "host": {
        const identity = this.#identity("host", () => [reservedLabel("host")]);
        const node = this.#localNode(other);
        const nodeLabels = node === undefined
          ? identity.labels
          : this.#nodeIdentity(node, "host").labels;
        return { ...bare, kind: "host", identity, nodeLabels };
      }
      case "outside": {
        const { address, name } = place;
        const apiServer = this.#apiServers.has(address);
        const identity = new Identity(labelsOfWorld(address, apiServer));
        return { ...bare, kind: "outside", identity, name, address: parseAddress(address) };
      }
      case "labels":
        return { ...bare, kind: "other", identity: new Identity(place.labels) };
    }
  }

  #nodeIdentity(name: NodeName, as: "host" | "remote-node"): Identity {
    const node = this.#nodes.get(name) ?? { labels: new Map(), addresses: [] };
    const apiServer = node.addresses.some((address) => this.#apiServers.has(address));
    return this.#identity(`${as} ${name}`, () => labelsOfNode(node, as, apiServer));
  }

  /** The node that "the host" is: that of the pod at the other end, or the only one there is. */
  #localNode(other: Place): NodeName | undefined {
    if (other.kind === "pod") return this.#nodes.has(other.pod.node) ? other.pod.node : undefined;
    const [first, second] = this.#nodes.keys();
    return second === undefined ? first : undefined;
  }

  #identity(key: string, labels: () => readonly Label[]): Identity {
    let identity = this.#identities.get(key);
    if (identity === undefined) {
      identity = new Identity(labels());
      this.#identities.set(key, identity);
    }
    return identity;
  }
}

type NodeName = string;

type Place =
  | { readonly kind: "pod"; readonly pod: PodObject; readonly addresses: readonly string[] }
  | { readonly kind: "node"; readonly node: NodeName; readonly addresses: readonly string[] }
  | { readonly kind: "host" }
  | { readonly kind: "outside"; readonly address: string; readonly name: string | undefined }
  | { readonly kind: "labels"; readonly labels: readonly Label[] };

/** The family of the connection, as far as it is said. */
function familyIn(query: Query, other: End): "IPv4" | "IPv6" | undefined {
  if (query.family !== undefined) return query.family;
  return other.kind === "ip" ? familyOf(canonicalAddress(other.address) ?? "") : undefined;
}

function addressOf(
  addresses: readonly string[],
  family: "IPv4" | "IPv6" | undefined,
): Uint8Array | undefined {
  const text = addresses.find((address) => familyOf(address) === family) ?? addresses[0];
  return text === undefined ? undefined : parseAddress(text);
}
