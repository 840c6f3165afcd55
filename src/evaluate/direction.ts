/**
 * The rules that hold for one end in one direction, and which of them speak of a flow's port. In:
 * rules and a flow. Out: those that match by port, deny and allow apart, and whether they ask for
 * two proxies. SEMANTICS B.9, B.11, D.11.
 *
 * Found once for each port: the peers of a flow change, the ports of a server hardly do.
 *
 * @module
 */

import type { Layer7, NetworkPolicyObject, Parser, Rule } from "../model/network_policy/mod.ts";
import { type FlowPort, matchedWidth } from "./ports.ts";

/** A rule, and the policy that it stands in. */
export interface PolicyRule {
  readonly policy: NetworkPolicyObject;
  readonly rule: Rule;
}

/** A rule that speaks of a flow's port. */
export interface PortMatch extends PolicyRule {
  /** Ports of its narrowest range that holds the port; infinite for all protocols. */
  readonly width: number;
  /** Of the entries that match; undefined stands for one without a Layer 7 part. */
  readonly parts: readonly (Layer7 | undefined)[];
}

/** What there is to say about one port. */
export interface PortRules {
  readonly denies: readonly PortMatch[];
  readonly allows: readonly PortMatch[];
  /** Two proxies are asked for. */
  readonly hasConflict: boolean;
}

/** What holds for one end in one direction. */
export class DirectionRules {
  /** Whether what no rule allows is denied. */
  readonly defaultDeny: boolean;
  /** Of any port. */
  readonly allows: readonly PolicyRule[];
  readonly #rules: readonly PolicyRule[];
  readonly #onPort = new Map<string, PortRules>();

  constructor(rules: readonly PolicyRule[], defaultDeny: boolean) {
    this.defaultDeny = defaultDeny;
    // A rule for nobody is as if it were not there.
    this.#rules = rules.filter(({ rule: { peers } }) => peers === "any" || peers.length > 0);
    this.allows = this.#rules.filter(({ rule }) => rule.action === "allow");
  }

  onPort(flow: FlowPort): PortRules {
    const key = [flow.transport, flow.port, ...flow.names].join(" ");
    let found = this.#onPort.get(key);
    if (found === undefined) {
      found = this.#find(flow);
      this.#onPort.set(key, found);
    }
    return found;
  }

  #find(flow: FlowPort): PortRules {
    const matches = this.#rules.flatMap((one) => matchOf(one, flow) ?? []);
    const allows = matches.filter(({ rule }) => rule.action === "allow");
    return {
      denies: matches.filter(({ rule }) => rule.action === "deny"),
      allows,
      hasConflict: hasConflict(allows),
    };
  }
}

/** The entries of a rule that speak of the port, or undefined. */
function matchOf({ policy, rule }: PolicyRule, flow: FlowPort): PortMatch | undefined {
  if (rule.ports === "any") return { policy, rule, width: Infinity, parts: [undefined] };
  const parts: (Layer7 | undefined)[] = [];
  let narrowest = Infinity;
  for (const { ports, layer7 } of rule.ports) {
    const width = matchedWidth(ports, flow);
    if (width === undefined) continue;
    parts.push(layer7);
    narrowest = Math.min(narrowest, width);
  }
  return parts.length === 0 ? undefined : { policy, rule, width: narrowest, parts };
}

/** A proxy that reads server names alone gives way to others, but not to DNS. */
function hasConflict(allows: readonly PortMatch[]): boolean {
  const parsers = new Set<Parser>();
  for (const { parts } of allows) {
    for (const part of parts) if (part !== undefined) parsers.add(part.parser);
  }
  if (!parsers.has("dns")) parsers.delete("tls");
  return parsers.size > 1;
}
