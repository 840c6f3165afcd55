/**
 * Looks up what a rule's peers refer to: CIDR groups and Services. In: peers of the model. Out:
 * predicates over identities, or `any`. What refers to nothing selects nobody.
 *
 * @module
 */

import {
  type Cidr,
  type EndpointSliceObject,
  type Labels,
  parseCidr,
  type ServiceObject,
} from "../../../model/mod.ts";
import {
  type CidrGroupObject,
  type CidrGroupPeer,
  CLUSTER_KEY,
  K8S,
  k8sLabels,
  type LabelSelector,
  labelsOfCidrGroup,
  LOCAL_CLUSTER,
  NAMESPACE_KEY,
  type Peer,
  selectsLabels,
  type ServicePeer,
} from "../../../model/network_policy/mod.ts";
import type { PolicySnapshot } from "../snapshot.ts";
import type { PeerSelector } from "./selector.ts";

/** Looks up groups and Services of one snapshot. */
export class PeerResolver {
  readonly #groups: readonly CidrGroupObject[];
  readonly #services: readonly ServiceObject[];
  readonly #slices = new Map<string, EndpointSliceObject[]>();

  constructor(snapshot: Pick<PolicySnapshot, "groups" | "services" | "slices">) {
    this.#groups = sorted(snapshot.groups, ({ name }) => name);
    this.#services = sorted(snapshot.services, ({ namespace, name }) => `${namespace}/${name}`);
    for (const slice of snapshot.slices) {
      const key = `${slice.namespace}/${slice.service}`;
      this.#slices.set(key, [...(this.#slices.get(key) ?? []), slice]);
    }
  }

  /** Predicates of which a peer must fulfil one. */
  selectorsOf(peers: readonly Peer[]): readonly PeerSelector[] | "any" {
    if (peers.some((peer) => peer.kind === "entity" && peer.entity === "all")) return "any";
    return peers.flatMap((peer) => this.#selectorsOf(peer));
  }

  #selectorsOf(peer: Peer): PeerSelector[] {
    switch (peer.kind) {
      case "labels":
      case "entity":
      case "cidr":
      case "name":
        return [peer];
      case "cidr-group":
        return this.#ofGroups(peer);
      case "service":
        return this.#ofServices(peer);
    }
  }

  #ofGroups({ group, except }: CidrGroupPeer): PeerSelector[] {
    return this.#groups
      .filter(({ name, labels }) =>
        "name" in group
          ? group.name === name
          : selectsLabels(group.selector, labelsOfCidrGroup(labels))
      )
      .flatMap(({ cidrs }) => cidrs)
      .map((cidr) => ({ kind: "cidr", cidr, except, scope: "outside" }));
  }

  #ofServices(peer: ServicePeer): PeerSelector[] {
    const services = this.#services.filter(({ namespace, name, labels }) =>
      (peer.namespace === undefined || peer.namespace === namespace) &&
      ("name" in peer.service
        ? peer.service.name === name
        : selectsLabels(peer.service.selector, k8sLabels(labels)))
    );
    return services.map((service) =>
      service.selector === undefined || service.selector.size === 0
        ? { kind: "addresses", cidrs: this.#foreignAddresses(service) }
        : { kind: "pods", selector: podsOf(service.namespace, service.selector) }
    );
  }

  #foreignAddresses({ namespace, name }: ServiceObject): Cidr[] {
    const slices = this.#slices.get(`${namespace}/${name}`) ?? [];
    const addresses = slices.flatMap(({ endpoints }) => endpoints.flatMap((one) => one.addresses));
    return [...new Set(addresses)].sort().flatMap((address) => {
      const cidr = parseCidr(`${address}/${address.includes(":") ? 128 : 32}`);
      return cidr === undefined ? [] : [cidr];
    });
  }
}

/** The pods that a Service selects: like endpoints of a policy in its namespace. */
function podsOf(namespace: string, selector: Labels): LabelSelector {
  const scope = [[NAMESPACE_KEY, namespace], [CLUSTER_KEY, LOCAL_CLUSTER]] as const;
  const requirements = [...scope, ...selector].map(([key, value]) => ({
    source: K8S,
    key,
    operator: "In" as const,
    values: [value],
  }));
  return { requirements };
}

function sorted<T>(list: readonly T[], key: (item: T) => string): T[] {
  return [...list].sort((a, b) => key(a) < key(b) ? -1 : key(a) > key(b) ? 1 : 0);
}
