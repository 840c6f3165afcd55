/**
 * The reference: what policies mean, written to be read. In: a world and a query. Out: the answer,
 * with the rule that gave it. It knows nothing of programs and bits; whatever else decides flows
 * must agree with it.
 *
 * The order of the steps is the meaning: the host reaches its pods before any policy (SEMANTICS
 * D.5); egress of the source is judged first, then ingress of the destination (B.1); in each, deny
 * rules first, then conflicts, allow rules, authentication and the payload (B.3, D.11, B.14).
 *
 * @module
 */

import { formatPath } from "../model/mod.ts";
import {
  absoluteName,
  type Direction,
  type Enforcement,
  matchesName,
  type PolicyWorld,
} from "../model/network_policy/mod.ts";
import { neededMode } from "./authentication.ts";
import type { DirectionRules, PolicyRule, PortMatch } from "./direction.ts";
import type { Engine } from "./engine.ts";
import { Parties, type Party } from "./parties.ts";
import { Payloads } from "./payload.ts";
import { Peers } from "./peers.ts";
import { type FlowPort, flowPort } from "./ports.ts";
import type { Answer, Denial, DenyReason, Payload, Query, RuleName } from "./query.ts";
import { type SubjectRules, Subjects } from "./subjects.ts";

/** How strictly the policies are enforced. */
export interface ReferenceOptions {
  readonly enforcement: Enforcement;
}

/** Answers by reading the rules. */
export class ReferenceEngine implements Engine {
  readonly name = "reference";
  readonly #parties: Parties;
  readonly #peers: Peers;
  readonly #payloads: Payloads;
  readonly #subjects: Subjects;

  constructor(world: PolicyWorld, { enforcement }: ReferenceOptions) {
    this.#parties = new Parties(world);
    this.#peers = new Peers(world);
    this.#payloads = new Payloads(world.secrets);
    this.#subjects = new Subjects(world.policies, enforcement);
  }

  decide(query: Query): Answer {
    const parties = this.#parties.of(query);
    if (!parties.ok) return { error: parties.error };
    const { source, target } = parties;
    if (source.kind === "host" && target.kind === "pod") return { verdict: "allow" };
    const flow: Flow = { query, port: flowPort(query, target.pod) };
    const egress = this.#judge(this.#subjects.rulesOf(source), "egress", target, flow);
    if ("verdict" in egress) return egress;
    const ingress = this.#judge(this.#subjects.rulesOf(target), "ingress", source, flow);
    if ("verdict" in ingress) return ingress;
    const rule = ingress.allowedBy ?? egress.allowedBy;
    return rule === undefined ? { verdict: "allow" } : { verdict: "allow", rule: nameOf(rule) };
  }

  /** One end, one direction: the denial, or what allows it. */
  #judge(
    rules: SubjectRules | undefined,
    direction: Direction,
    peer: Party,
    flow: Flow,
  ): Denial | Allowance {
    if (rules === undefined) return {};
    const own = rules[direction];
    const { query } = flow;
    const deny = (reason: DenyReason, more: Partial<Denial> = {}): Denial => ({
      verdict: "deny",
      direction,
      reason,
      ...more,
    });
    const name = direction === "egress" ? learntName(own, peer) : undefined;
    const { denies, allows, hasConflict } = own.onPort(flow.port);
    const speaks = ({ rule }: PortMatch) => this.#peers.match(rule.peers, peer, name);
    const denied = denies.find(speaks);
    if (denied !== undefined) return deny("policy-denied", { rule: nameOf(denied) });
    if (hasConflict) return deny("policy-conflict");
    const matches = allows.filter(speaks);
    if (matches.length === 0) return own.defaultDeny ? deny("default-deny") : {};
    const mode = neededMode(matches);
    if (mode === "test-always-fail" || (mode === "required" && !query.authenticated)) {
      return deny("auth-required");
    }
    const admitting = matches.find(isPlain) ??
      matches.find(({ parts }) => parts.some((part) => this.#payloads.admits(part, query.payload)));
    if (admitting !== undefined) return { allowedBy: admitting };
    // Where nothing is denied by default, what no rule admits is allowed all the same.
    return own.defaultDeny ? deny(...payloadDenial(query.payload)) : {};
  }
}

interface Flow {
  readonly query: Query;
  readonly port: FlowPort;
}

interface Allowance {
  /** Undefined: no rule is needed. */
  readonly allowedBy?: PolicyRule;
}

function isPlain({ parts }: PortMatch): boolean {
  return parts.includes(undefined);
}

/**
 * The name of an address outside, if the source may ask for it: an answer that no DNS rule lets
 * through is never seen (SEMANTICS B.12).
 */
function learntName(own: DirectionRules, peer: Party): string | undefined {
  if (peer.name === undefined) return undefined;
  const name = absoluteName(peer.name);
  const isSeen = own.allows.some(({ rule }) =>
    rule.ports !== "any" &&
    rule.ports.some(({ layer7 }) => layer7?.dns?.some((pattern) => matchesName(pattern, name)))
  );
  return isSeen ? name : undefined;
}

function payloadDenial(payload: Payload | undefined): [DenyReason, Partial<Denial>] {
  switch (payload?.kind) {
    case "dns":
      return ["dns-denied", { dnsRcode: "REFUSED" }];
    case "tls":
      return ["sni-denied", {}];
    default:
      return ["http-denied", { httpStatus: 403 }];
  }
}

function nameOf({ policy, rule }: PolicyRule): RuleName {
  const { kind, namespace, name } = policy;
  return { kind, namespace, name, path: formatPath(rule.path) };
}
