/**
 * Whether a party is one of a rule's peers. In: a peer of a rule, and who is at the other end. Out:
 * yes or no. SEMANTICS B.6 to B.8, B.12, B.13, D.1, D.2.
 *
 * @module
 */

import {
  type Cidr,
  cidrContains,
  includesLabels,
  parseAddress,
  type ServiceObject,
} from "../model/mod.ts";
import {
  CIDR,
  type CidrGroupObject,
  type CidrGroupPeer,
  isEntity,
  k8sLabels,
  type LabelSelector,
  labelsOfCidrGroup,
  matchesName,
  type Peer,
  type PolicyWorld,
  rangeOfKey,
  type Rule,
  selectsLabels,
  type ServicePeer,
} from "../model/network_policy/mod.ts";
import type { Party } from "./parties.ts";

/** The peers of one world: it knows the groups and Services that rules refer to. */
export class Peers {
  readonly #groups: readonly CidrGroupObject[];
  readonly #services: readonly ServiceObject[];
  /** By namespace and name of the Service. */
  readonly #endpoints = new Map<string, Cidr[]>();
  /** What a rule refers to, found once. */
  readonly #groupsOf = new Map<CidrGroupPeer, readonly Cidr[]>();
  readonly #byLabels = new Map<readonly Peer[], boolean>();
  readonly #servicesOf = new Map<ServicePeer, readonly ServiceObject[]>();

  constructor({ groups, services, slices }: PolicyWorld) {
    this.#groups = groups;
    this.#services = services;
    for (const { namespace, service, endpoints } of slices) {
      const key = `${namespace}/${service}`;
      const addresses = endpoints.flatMap(({ addresses }) => addresses);
      const ranges = addresses.flatMap((address) => singleAddress(address) ?? []);
      this.#endpoints.set(key, [...this.#endpoints.get(key) ?? [], ...ranges]);
    }
  }

  /** Whether the rule speaks of the party. `name`: what a party outside may be called. */
  match(peers: Rule["peers"], party: Party, name: string | undefined): boolean {
    if (peers === "any") return true;
    const matches = () => peers.some((peer) => this.#matches(peer, party, name));
    return this.#dependOnLabels(peers) ? party.identity.recall(peers, matches) : matches();
  }

  /** Whether nothing but the labels of a party decides. */
  #dependOnLabels(peers: readonly Peer[]): boolean {
    let answer = this.#byLabels.get(peers);
    if (answer === undefined) {
      answer = peers.every(({ kind }) => kind === "labels" || kind === "entity");
      this.#byLabels.set(peers, answer);
    }
    return answer;
  }

  #matches(peer: Peer, party: Party, name: string | undefined): boolean {
    switch (peer.kind) {
      case "labels":
        return party.identity.isSelectedBy(peer.selector);
      case "entity":
        return isEntity(peer.entity, party.identity.labels);
      case "cidr":
        return peer.scope === "everywhere"
          ? party.address !== undefined && isWithin(party.address, peer.cidr, peer.except)
          : isOutsideWithin(party, peer.cidr, peer.except);
      case "cidr-group":
        return this.#cidrsOf(peer).some((cidr) => isOutsideWithin(party, cidr, peer.except));
      case "service":
        return this.#behind(peer).some((service) => this.#serves(service, party));
      case "name":
        return party.kind === "outside" && name !== undefined && matchesName(peer.pattern, name);
    }
  }

  #cidrsOf(peer: CidrGroupPeer): readonly Cidr[] {
    let cidrs = this.#groupsOf.get(peer);
    if (cidrs === undefined) {
      const { group } = peer;
      cidrs = this.#groups
        .filter(({ name, labels }) =>
          "name" in group
            ? name === group.name
            : selectsLabels(group.selector, labelsOfCidrGroup(labels))
        )
        .flatMap(({ cidrs }) => cidrs);
      this.#groupsOf.set(peer, cidrs);
    }
    return cidrs;
  }

  #behind(peer: ServicePeer): readonly ServiceObject[] {
    let services = this.#servicesOf.get(peer);
    if (services === undefined) {
      services = this.#services.filter((service) =>
        (peer.namespace === undefined || peer.namespace === service.namespace) &&
        isMeant(peer.service, service)
      );
      this.#servicesOf.set(peer, services);
    }
    return services;
  }

  #serves({ namespace, name, selector }: ServiceObject, party: Party): boolean {
    if (selector !== undefined) {
      const { pod } = party;
      return pod?.namespace === namespace && includesLabels(selector, pod.labels);
    }
    const endpoints = this.#endpoints.get(`${namespace}/${name}`) ?? [];
    return endpoints.some((cidr) => isOutsideWithin(party, cidr, []));
  }
}

function isMeant(
  wanted: { readonly name: string } | { readonly selector: LabelSelector },
  { name, labels }: ServiceObject,
): boolean {
  if ("name" in wanted) return name === wanted.name;
  return selectsLabels(wanted.selector, k8sLabels(labels));
}

function isWithin(address: Uint8Array, cidr: Cidr, except: readonly Cidr[]): boolean {
  return cidrContains(cidr, address) && !except.some((hole) => cidrContains(hole, address));
}

/** By the address, or by the ranges among the labels of an identity that has no address. */
function isOutsideWithin(party: Party, cidr: Cidr, except: readonly Cidr[]): boolean {
  if (party.address !== undefined) {
    return party.kind === "outside" && isWithin(party.address, cidr, except);
  }
  return party.identity.labels.some(({ source, key }) => {
    const range = source === CIDR ? rangeOfKey(key) : undefined;
    const isIn = (outer: Cidr) =>
      range !== undefined && range.bits >= outer.bits && cidrContains(outer, range.bytes);
    return isIn(cidr) && !except.some(isIn);
  });
}

function singleAddress(address: string): Cidr | undefined {
  const bytes = parseAddress(address);
  return bytes && { text: address, bytes, bits: 128 };
}
