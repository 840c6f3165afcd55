/**
 * Which authentication a flow needs. In: all allow rules that match it. Out: a mode, or undefined
 * where none is asked for. SEMANTICS B.14, D.13.
 *
 * A mode that is written on a narrower rule counts before one of a broader rule; among rules of the
 * same breadth the strongest counts. Narrower is who speaks of fewer ports, and of two of the same
 * ports who names a peer.
 *
 * @module
 */

import {
  AUTHENTICATION_MODES,
  type AuthenticationMode,
  type Rule,
} from "../model/network_policy/mod.ts";

/** An allow rule that matches a flow, by so many of its ports. */
export interface Match {
  readonly rule: Rule;
  /** Of the narrowest range that holds the flow's port; infinite for all protocols. */
  readonly width: number;
}

/** The mode that the flow needs. */
export function neededMode(matches: readonly Match[]): AuthenticationMode | undefined {
  let narrowest: Match | undefined;
  for (const match of matches) {
    if (match.rule.authentication === undefined) continue;
    const order = narrowest === undefined ? -1 : compare(match, narrowest);
    if (order < 0) narrowest = match;
  }
  return narrowest?.rule.authentication;
}

/** Below zero: `a` counts before `b`. */
function compare(a: Match, b: Match): number {
  if (a.width !== b.width) return a.width < b.width ? -1 : 1;
  const breadth = Number(isBroad(a.rule)) - Number(isBroad(b.rule));
  return breadth !== 0 ? breadth : strengthOf(b.rule) - strengthOf(a.rule);
}

function isBroad({ peers }: Rule): boolean {
  return peers === "any" || peers.some((peer) => peer.kind === "entity" && peer.entity === "all");
}

function strengthOf({ authentication }: Rule): number {
  return authentication === undefined ? -1 : AUTHENTICATION_MODES.indexOf(authentication);
}
