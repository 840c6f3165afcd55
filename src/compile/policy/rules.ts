/**
 * Policies in the order in which they count, and their rules taken apart into entries of the
 * decision graph.
 *
 * Where several rules say the same of a flow, the first one is named as the one that decided: by
 * kind, namespace and name of its policy, then as the object has them. The order decides about
 * names alone, never about verdicts.
 *
 * @module
 */

import type {
  NamedPortMatch,
  NetworkPolicyObject,
  PolicySpec,
  PortMatch,
  Rule,
} from "../../model/network_policy/mod.ts";
import type { Entry } from "./graph/verdict.ts";
import type { PeerResolver } from "./peers/resolver.ts";
import type { PeerTable } from "./peers/table.ts";
import type { PeerSelector } from "./peers/selector.ts";

/** A spec of a policy, with its place among all specs. */
export interface OrderedSpec {
  readonly policy: NetworkPolicyObject;
  readonly spec: PolicySpec;
  readonly index: number;
  readonly rules: readonly OrderedRule[];
  /** Names of ports that its rules of each direction ask for. */
  readonly namedIngressPorts: readonly NamedPortMatch[];
  readonly namedEgressPorts: readonly NamedPortMatch[];
}

/** A rule of a policy. */
export interface OrderedRule {
  readonly policy: NetworkPolicyObject;
  readonly rule: Rule;
}

/** All specs, in order. */
export function orderSpecs(policies: readonly NetworkPolicyObject[]): OrderedSpec[] {
  const inOrder = [...policies].sort((a, b) =>
    compare(a.kind, b.kind) || compare(a.namespace, b.namespace) || compare(a.name, b.name)
  );
  return inOrder.flatMap((policy) => policy.specs.map((spec) => ({ policy, spec }))).map((
    { policy, spec },
    index,
  ) => ({
    policy,
    spec,
    index,
    rules: spec.rules.map((rule) => ({ policy, rule })),
    namedIngressPorts: namedPorts(spec, "ingress"),
    namedEgressPorts: namedPorts(spec, "egress"),
  }));
}

function namedPorts(spec: PolicySpec, direction: Rule["direction"]): NamedPortMatch[] {
  return spec.rules.filter((rule) => rule.direction === direction).flatMap(({ ports }) =>
    ports === "any"
      ? []
      : ports.flatMap((clause) => clause.ports.flatMap((port) => "name" in port ? [port] : []))
  );
}

/** What the names of ports mean. */
export interface PortNames {
  /** Numbers that the subject's own containers give a name. */
  ofSubject(port: NamedPortMatch): readonly number[];
  /** Numbers that any pod's containers give a name. */
  ofAnyone(port: NamedPortMatch): readonly number[];
}

/** The pieces of one rule, each of one transport, one range and a set of peers. */
export function entriesOf(
  { rule }: OrderedRule,
  index: number,
  world: { readonly names: PortNames; readonly peers: PeerResolver; readonly table: PeerTable },
): Piece[] {
  return partsOf(rule, world.peers).flatMap(({ selectors, isByName, authentication }): Piece[] => {
    const bits = (list: Selectors) =>
      list === "any" ? list : list.map((selector) => world.table.bitOf(selector));
    const common = {
      rule: index,
      action: rule.action,
      authentication,
      namesPeers: selectors !== "any",
    };
    if (rule.ports === "any") {
      const layer7 = { needsPayload: isByName, parser: undefined, parserBits: "any" as const };
      const all = { transport: undefined, first: 0, last: PORT_MAX };
      return [{ ...common, ...layer7, ...all, bits: bits(selectors) }];
    }
    return rule.ports.flatMap(({ ports, layer7 }) =>
      ports.flatMap((port) =>
        placesOf(port, rule.direction, selectors, world.names).map((place) => ({
          ...common,
          needsPayload: isByName || layer7 !== undefined,
          parser: layer7?.parser,
          transport: port.transport,
          first: place.first,
          last: place.last,
          bits: bits(place.selectors),
          parserBits: bits(place.anyone),
        }))
      )
    );
  });
}

/** An entry that has no place among the others yet. */
export type Piece = Omit<Entry, "order">;

const PORT_MAX = 65_535;

type Selectors = readonly PeerSelector[] | "any";

interface Part {
  readonly selectors: Selectors;
  /** Only a name, of which the data path knows nothing, can tell whether it allows. */
  readonly isByName: boolean;
  readonly authentication: Rule["authentication"];
}

/**
 * Peers that are names apart from the others. Any address outside may be meant, so all of them need
 * to be looked into; but only whoever was given the address for the name is asked for more.
 */
function partsOf({ peers, authentication }: Rule, resolver: PeerResolver): Part[] {
  if (peers === "any") return [{ selectors: "any", isByName: false, authentication }];
  const parts: Part[] = [];
  const names = peers.filter(({ kind }) => kind === "name");
  const known = peers.filter(({ kind }) => kind !== "name");
  if (known.length > 0) {
    parts.push({ selectors: resolver.selectorsOf(known), isByName: false, authentication });
  }
  if (names.length > 0) {
    const outside = [{ kind: "outside" as const }];
    parts.push({ selectors: outside, isByName: true, authentication: undefined });
    if (authentication !== undefined) {
      parts.push({ selectors: resolver.selectorsOf(names), isByName: true, authentication });
    }
  }
  return parts;
}

interface Place {
  readonly first: number;
  readonly last: number;
  readonly selectors: Selectors;
  /** Everybody for whom the ports are these. */
  readonly anyone: Selectors;
}

/** Where a port lies: for a name at each number that it has, for those who give it that number. */
function placesOf(
  port: PortMatch,
  direction: Rule["direction"],
  selectors: Selectors,
  names: PortNames,
): Place[] {
  if (!("name" in port)) return [{ ...port, selectors, anyone: "any" }];
  if (direction === "ingress") {
    return names.ofSubject(port).map((number) => ({
      first: number,
      last: number,
      selectors,
      anyone: "any",
    }));
  }
  return names.ofAnyone(port).map((number) => {
    const resolved = { ...port, number };
    const anyone: PeerSelector[] = [{ kind: "named-port", peer: undefined, port: resolved }];
    const its = selectors === "any"
      ? anyone
      : selectors.flatMap((peer): PeerSelector[] =>
        peer.kind === "named-port" ? [] : [{ kind: "named-port", peer, port: resolved }]
      );
    return { first: number, last: number, selectors: its, anyone };
  });
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
