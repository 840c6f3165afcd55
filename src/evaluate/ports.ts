/**
 * Whether a rule speaks of a flow's port. In: alternatives of ports, and a flow. Out: how many
 * ports the narrowest one that matches has, or undefined. SEMANTICS B.9, B.10.
 *
 * @module
 */

import type { PodObject } from "../model/mod.ts";
import type { PortMatch } from "../model/network_policy/mod.ts";
import type { Query } from "./query.ts";

/** The port of a flow. */
export interface FlowPort {
  readonly transport: Query["transport"];
  /** For ICMP the type of the message. */
  readonly port: number;
  /** What the server calls it, in lower case; nothing where the server is no pod. */
  readonly names: readonly string[];
}

/** The port of a query, with the names that its server has for it. */
export function flowPort({ transport, port }: Query, server: PodObject | undefined): FlowPort {
  const names = (server?.ports ?? [])
    .filter((given) => given.proto === transport && given.port === port)
    .map(({ name }) => name.toLowerCase());
  return { transport, port, names };
}

/** Ports of the narrowest match, or undefined where none matches. */
export function matchedWidth(matches: readonly PortMatch[], flow: FlowPort): number | undefined {
  let width: number | undefined;
  for (const match of matches) {
    if (match.transport !== flow.transport) continue;
    if ("name" in match) {
      if (flow.names.includes(match.name)) width = 1;
    } else if (match.first <= flow.port && flow.port <= match.last) {
      width = Math.min(width ?? Infinity, match.last - match.first + 1);
    }
  }
  return width;
}
