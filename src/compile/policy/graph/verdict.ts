/**
 * The verdict of one pod's policies in one direction, as a graph.
 *
 * In: entries, the rules of the pod taken apart to one transport, one range of ports and a set of
 * peers each. Out: a node. The order of judgement: a deny rule; two parsers on one port; what must
 * be authenticated; an allow rule that needs no payload; one that does, which this data path cannot
 * read; and what nothing speaks of.
 *
 * @module
 */

import {
  AUTHENTICATION_MODES,
  type AuthenticationMode,
  type Parser,
  type Transport,
} from "../../../model/network_policy/mod.ts";
import { type Candidate, firstOf } from "./first.ts";
import type { Graph, NodeId } from "./node.ts";
import { decideByPort, type Ranged } from "./ports.ts";

/** A piece of a rule. */
export interface Entry extends Ranged {
  /** Index of the rule. */
  readonly rule: number;
  readonly action: "allow" | "deny";
  /** Undefined: all, ICMP too. */
  readonly transport: Transport | undefined;
  readonly bits: readonly number[] | "any";
  readonly authentication: AuthenticationMode | undefined;
  /** Whether the rule says who, and not only where. */
  readonly namesPeers: boolean;
  /** Only the payload, or a name that was asked for, can tell whether it allows. */
  readonly needsPayload: boolean;
  readonly parser: Parser | undefined;
  /** Peers for which its port is the one that it says: those with a port of that name. */
  readonly parserBits: readonly number[] | "any";
}

/** Numbers of protocols (IANA). */
const PROTOCOLS: Readonly<Record<Transport, number>> = {
  ICMP: 1,
  IGMP: 2,
  IPIP: 4,
  TCP: 6,
  UDP: 17,
  IPV6: 41,
  GRE: 47,
  ESP: 50,
  AH: 51,
  ICMPv6: 58,
  VRRP: 112,
  SCTP: 132,
};

/** The IANA number of a transport. */
export function protocolNumber(transport: Transport): number {
  return PROTOCOLS[transport];
}

/** What happens to a flow of one direction; `unlisted` is for what no rule speaks of. */
export function directionVerdict(
  graph: Graph,
  entries: readonly Entry[],
  unlisted: NodeId,
): NodeId {
  const decide = (applying: readonly Entry[]) => decideEntries(graph, applying, unlisted);
  const ofAll = entries.filter(({ transport }) => transport === undefined);
  const transports = new Set(
    entries.flatMap(({ transport }) => transport === undefined ? [] : [transport]),
  );
  let node = decideByPort(graph, ofAll, decide);
  const byNumber = [...transports].sort((a, b) => PROTOCOLS[b] - PROTOCOLS[a]);
  for (const transport of byNumber) {
    const its = entries.filter((entry) => (entry.transport ?? transport) === transport);
    node = graph.equal(
      "protocol",
      PROTOCOLS[transport],
      decideByPort(graph, its, decide),
      node,
    );
  }
  return node;
}

/** The verdict where exactly these entries apply, by peer. Built from its end to its beginning. */
function decideEntries(graph: Graph, entries: readonly Entry[], unlisted: NodeId): NodeId {
  const allows = entries.filter(({ action }) => action === "allow");
  const needingPayload = allows.filter(({ needsPayload }) => needsPayload);
  const plain = allows.filter(({ needsPayload }) => !needsPayload);
  let node = firstOf(
    graph,
    candidates(needingPayload, (rule) => graph.verdict("l7-unavailable", rule)),
    unlisted,
  );
  node = firstOf(graph, candidates(plain, (rule) => graph.verdict("none", rule)), node);
  node = authentication(graph, allows, node);
  node = conflict(graph, needingPayload, graph.verdict("policy-conflict"), node);
  const denies = entries.filter(({ action }) => action === "deny");
  return firstOf(graph, candidates(denies, (rule) => graph.verdict("policy-denied", rule)), node);
}

/**
 * The mode of the narrowest rule that has one counts, of equally narrow ones the strongest.
 * Narrower is who speaks of fewer ports, and of the same number who says which peers (SEMANTICS
 * B.14).
 */
function authentication(graph: Graph, allows: readonly Entry[], otherwise: NodeId): NodeId {
  const outcome = (mode: AuthenticationMode, rule: number): NodeId => {
    if (mode === "disabled") return otherwise;
    const denied = graph.verdict("auth-required", rule);
    return mode === "required" ? graph.authenticated(otherwise, denied) : denied;
  };
  const asking = allows
    .flatMap((entry) => entry.authentication ? [entry] : [])
    .sort((a, b) => breadth(a) - breadth(b) || strength(b) - strength(a) || a.order - b.order);
  return firstOf(
    graph,
    asking.map(({ rule, bits, authentication = "disabled" }) => ({
      rule,
      bits,
      outcome: outcome(authentication, rule),
    })),
    otherwise,
  );
}

/** Larger the more it speaks of: ports first, then peers. */
function breadth({ transport, first, last, namesPeers }: Entry): number {
  const ports = transport === undefined ? Number.MAX_SAFE_INTEGER / 4 : last - first + 1;
  return 2 * ports + (namesPeers ? 0 : 1);
}

function strength({ authentication }: Entry): number {
  return authentication === undefined ? -1 : AUTHENTICATION_MODES.indexOf(authentication);
}

/** Parsers that cannot read one connection together; server names alone give way to the others. */
const CONFLICTS: readonly (readonly [Parser, Parser])[] = [
  ["http", "dns"],
  ["http", "listener"],
  ["dns", "listener"],
  ["dns", "tls"],
];

function conflict(
  graph: Graph,
  entries: readonly Entry[],
  yes: NodeId,
  no: NodeId,
): NodeId {
  const asking = (parser: Parser) => entries.filter((entry) => entry.parser === parser);
  let node = no;
  for (const [one, other] of CONFLICTS) {
    const both = asksFor(graph, asking(other), yes, node);
    node = asksFor(graph, asking(one), both, node);
  }
  return node;
}

/** Whether any of the entries asks for its parser on the peer's port. */
function asksFor(
  graph: Graph,
  entries: readonly Entry[],
  yes: NodeId,
  no: NodeId,
): NodeId {
  const asking = entries.map(({ rule, parserBits }) => ({ rule, bits: parserBits, outcome: yes }));
  return firstOf(graph, asking, no);
}

function candidates(
  entries: readonly Entry[],
  outcome: (rule: number) => NodeId,
): Candidate[] {
  return entries.map(({ rule, bits }) => ({ rule, bits, outcome: outcome(rule) }));
}
