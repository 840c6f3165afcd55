/**
 * A flow, as a person asks about it, becomes questions to verdict programs.
 *
 * In: two ends (a pod, an address, an entity, labels) and a port. Out: whose programs are to be
 * asked, about whom: the egress side of the source first, then the ingress side of the destination.
 * An end that is neither a pod nor a host with policies has no side.
 *
 * Invariant: the local node's own sockets reach its pods before any policy (SEMANTICS D.5): then
 * there is nothing to ask.
 *
 * @module
 */

import {
  canonicalAddress,
  familyOf,
  type Labels,
  type NodeObject,
  parseAddress,
  type PodObject,
} from "../../../model/mod.ts";
import {
  absoluteName,
  labelsOfPod,
  labelsOfWorld,
  matchesName,
  parseLabel,
  reservedLabel,
  UNSPECIFIED,
} from "../../../model/network_policy/mod.ts";
import type { PolicyPlan } from "../compile.ts";
import { protocolNumber } from "../graph/verdict.ts";
import { apiServerAddresses, contestedAddresses, nodeLabels, ownAddresses } from "../identities.ts";
import { type Identity, rangesOfLabels } from "../peers/table.ts";
import type { OrderedRule } from "../rules.ts";
import type { PolicyQuestion } from "./query.ts";
import type { PolicySnapshot } from "../snapshot.ts";
import { hostSubject, podSubject, UNKNOWN_HOST } from "../subjects.ts";

/** The first packet of a connection. */
export interface PolicyFlow {
  readonly from: FlowEnd;
  readonly to: FlowEnd;
  readonly transport: "TCP" | "UDP" | "SCTP" | "ICMP" | "ICMPv6";
  /** For ICMP the type of the message. */
  readonly port: number;
  /** Of ICMP. */
  readonly family: Family | undefined;
  readonly authenticated: boolean;
}

/** Who is at one end. */
export type FlowEnd =
  | { readonly kind: "pod"; readonly key: string }
  /** `name`: what the source was given the address for. */
  | { readonly kind: "ip"; readonly address: string; readonly name?: string | undefined }
  | { readonly kind: "entity"; readonly entity: string }
  | { readonly kind: "labels"; readonly labels: readonly string[] };

type Family = "IPv4" | "IPv6";

/** What is to be asked about a flow. */
export type FlowQuestions =
  | { readonly error: string }
  | { readonly sides: readonly FlowSide[] };

/** One end's say in a flow. */
export interface FlowSide {
  readonly direction: "egress" | "ingress";
  /** Without `identity`, which the peer decides. */
  readonly question: Omit<PolicyQuestion, "identity">;
  /** Set where the peer is not found by its address. */
  readonly identity: Identity | undefined;
}

/** Finds the questions of flows in one snapshot. */
export class FlowReader {
  readonly #plan: PolicyPlan;
  readonly #pods: ReadonlyMap<string, PodObject>;
  readonly #nodes: ReadonlyMap<string, NodeObject>;
  readonly #podByAddress = new Map<string, PodObject>();
  readonly #nodeByAddress = new Map<string, NodeObject>();
  readonly #namespaces: ReadonlyMap<string, Labels>;
  readonly #contested: ReadonlySet<string>;
  readonly #servers: ReadonlySet<string>;

  constructor(snapshot: PolicySnapshot, plan: PolicyPlan) {
    this.#plan = plan;
    this.#pods = new Map(snapshot.pods.map((pod) => [`${pod.namespace}/${pod.name}`, pod]));
    this.#nodes = new Map(snapshot.nodes.map((node) => [node.name, node]));
    this.#contested = contestedAddresses(snapshot.pods);
    this.#servers = apiServerAddresses(snapshot);
    for (const pod of snapshot.pods) {
      for (const address of ownAddresses(pod)) this.#podByAddress.set(address, pod);
    }
    this.#namespaces = new Map(snapshot.namespaces.map(({ name, labels }) => [name, labels]));
    for (const node of snapshot.nodes) {
      for (const address of node.addresses) this.#nodeByAddress.set(address, node);
    }
  }

  /** The questions of a flow, or why there are none. */
  questionsOf(flow: PolicyFlow): FlowQuestions {
    const from = this.#partyOf(flow.from, familyAsked(flow, flow.to));
    const to = this.#partyOf(flow.to, familyAsked(flow, flow.from));
    if (typeof from === "string") return { error: from };
    if (typeof to === "string") return { error: to };
    if (this.#isHost(from, to) && to.pod !== undefined) return { sides: [] };
    const sides = [
      this.#side("egress", from, to, flow),
      this.#side("ingress", to, from, flow),
    ];
    return { sides: sides.filter((side) => side !== undefined) };
  }

  #side(
    direction: "egress" | "ingress",
    subject: Party,
    peer: Party,
    flow: PolicyFlow,
  ): FlowSide | undefined {
    const key = this.#subjectOf(subject, peer);
    const program = key === undefined ? undefined : this.#plan.subjects.get(key);
    if (program === undefined) return undefined;
    const rules = this.#plan.programs[program]?.rules ?? [];
    const name = direction === "egress" ? learntName(rules, peer.name) : undefined;
    const isPlaced = peer.address !== undefined && name === undefined &&
      !this.#isHost(peer, subject);
    return {
      direction,
      question: {
        peer: isPlaced ? parseAddress(peer.address ?? "") : undefined,
        program,
        port: flow.port,
        protocol: protocolNumber(flow.transport),
        direction,
        authenticated: flow.authenticated,
      },
      identity: isPlaced ? undefined : this.#identityOf(peer, subject, name),
    };
  }

  /** Whose policies an end has: a pod's own, or the host's as its own pods see it. */
  #subjectOf(subject: Party, peer: Party): string | undefined {
    if (subject.pod !== undefined) return podSubject(subject.pod);
    if (!this.#isHost(subject, peer)) return undefined;
    const node = subject.node ?? this.#localNode(peer);
    return node === undefined ? UNKNOWN_HOST : hostSubject(node);
  }

  /** The node whose host is meant where only "host" is said: the pod's, or the only one. */
  #localNode(peer: Party): NodeObject | undefined {
    if (peer.pod !== undefined) return this.#nodes.get(peer.pod.node);
    const [only, ...others] = this.#nodes.values();
    return others.length === 0 ? only : undefined;
  }

  /** Whether a party is the host of the node that the other end is on. */
  #isHost(party: Party, other: Party): boolean {
    if (party.entity === "host") return true;
    return party.node !== undefined && other.pod?.node === party.node.name;
  }

  #identityOf(party: Party, other: Party, name: string | undefined): Identity {
    const { address, node, entity } = party;
    if (name !== undefined && address !== undefined) {
      const labels = labelsOfWorld(address, this.#servers.has(address));
      return { labels, address, kind: "outside", ports: [], name };
    }
    if (node !== undefined) {
      const as = this.#isHost(party, other) ? "host" : "remote-node";
      const labels = nodeLabels(node, as, this.#servers);
      return { labels, address, kind: "node", ports: [] };
    }
    const labels = entity === undefined ? party.labels : [reservedLabel(entity)];
    if (party.pod !== undefined) {
      return { labels, address: undefined, kind: "pod", ports: party.pod.ports };
    }
    const kind = rangesOfLabels(labels).length > 0 ? "outside" : "other";
    return { labels, address: undefined, kind, ports: [] };
  }

  #partyOf(end: FlowEnd, family: Family | undefined): Party | string {
    switch (end.kind) {
      case "pod": {
        const pod = this.#pods.get(end.key);
        if (pod === undefined) return `pod "${end.key}" does not exist`;
        return this.#partyOfPod(pod, family);
      }
      case "ip": {
        const address = canonicalAddress(end.address) ?? end.address;
        return this.#partyOfAddress(address, end.name);
      }
      case "entity":
        return { labels: [], entity: end.entity };
      case "labels":
        return { labels: end.labels.map((text) => parseLabel(text, UNSPECIFIED)) };
    }
  }

  #partyOfPod(pod: PodObject, family: Family | undefined): Party | string {
    const key = `${pod.namespace}/${pod.name}`;
    if (pod.hostNetwork) {
      const node = this.#nodes.get(pod.node);
      if (node === undefined) return `node "${pod.node}" of pod "${key}" does not exist`;
      const addresses = pod.addresses.length > 0 ? pod.addresses : node.addresses;
      return { labels: [], node, ...addressOf(addresses, family) };
    }
    const addresses = ownAddresses(pod);
    const clash = addresses.find((address) => this.#contested.has(address));
    if (clash !== undefined) return contested(clash);
    const labels = labelsOfPod(pod, this.#namespaces.get(pod.namespace));
    return { labels, pod, ...addressOf(addresses, family) };
  }

  #partyOfAddress(address: string, name: string | undefined): Party | string {
    if (this.#contested.has(address)) return contested(address);
    const pod = this.#podByAddress.get(address);
    if (pod !== undefined) return { labels: [], pod, address };
    const node = this.#nodeByAddress.get(address);
    return node === undefined ? { labels: [], address, name } : { labels: [], node, address };
  }
}

/** An end, found. */
interface Party {
  readonly labels: Identity["labels"];
  readonly pod?: PodObject;
  readonly node?: NodeObject;
  readonly entity?: string;
  readonly address?: string | undefined;
  /** Of an address that is neither a pod's nor a node's. */
  readonly name?: string | undefined;
}

/** The name, absolute, if a DNS rule lets the source see the answer (SEMANTICS B.12). */
function learntName(rules: readonly OrderedRule[], name: string | undefined): string | undefined {
  if (name === undefined) return undefined;
  const wanted = absoluteName(name);
  const isSeen = rules.some(({ rule: { direction, peers, ports } }) =>
    direction === "egress" && peers.length > 0 && ports !== "any" &&
    ports.some(({ layer7 }) => layer7?.dns?.some((pattern) => matchesName(pattern, wanted)))
  );
  return isSeen ? wanted : undefined;
}

function contested(address: string): string {
  return `address ${address} belongs to two pods`;
}

/** The family that a query asks for: its own, or that of the address at the other end. */
function familyAsked(flow: PolicyFlow, other: FlowEnd): Family | undefined {
  if (flow.family !== undefined) return flow.family;
  return other.kind === "ip" ? familyOf(canonicalAddress(other.address) ?? "") : undefined;
}

/** The address of a family, else the first. */
function addressOf(
  addresses: readonly string[],
  family: Family | undefined,
): { address: string | undefined } {
  return { address: addresses.find((address) => familyOf(address) === family) ?? addresses[0] };
}
