/**
 * "The first rule of a list whose peers include this one": in as many tests as the peers' bits have
 * words when there is none, and after that in as many as the list's length has binary digits.
 *
 * One test asks whether any rule of the list matches. If so, halves of the list are asked, and the
 * last one left needs no question.
 *
 * @module
 */

import type { Graph, NodeId, RuleSpan } from "./node.ts";

/** A rule and the peers that it is about. */
export interface Candidate {
  readonly rule: number;
  readonly bits: readonly number[] | "any";
  readonly outcome: NodeId;
}

/** The outcome of the first candidate that matches, or `otherwise`. */
export function firstOf(
  graph: Graph,
  candidates: readonly Candidate[],
  otherwise: NodeId,
): NodeId {
  const { fresh, rest } = withoutShadows(candidates, otherwise);
  if (fresh.length === 0) return rest;
  const found = descend(graph, fresh, 0, fresh.length);
  return graph.peer(union(fresh, 0, fresh.length), span(fresh, 0, fresh.length), found, rest);
}

interface Fresh {
  readonly rule: number;
  readonly bits: readonly number[];
  readonly outcome: NodeId;
}

/** Leaves out bits that an earlier candidate has, and whatever follows one that matches all. */
function withoutShadows(
  candidates: readonly Candidate[],
  otherwise: NodeId,
): { fresh: Fresh[]; rest: NodeId } {
  const seen = new Set<number>();
  const fresh: Fresh[] = [];
  for (const { rule, bits, outcome } of candidates) {
    if (bits === "any") return { fresh, rest: outcome };
    const unseen = bits.filter((bit) => !seen.has(bit));
    if (unseen.length === 0) continue;
    for (const bit of unseen) seen.add(bit);
    fresh.push({ rule, bits: unseen, outcome });
  }
  return { fresh, rest: otherwise };
}

/** One of `fresh[low..high)` matches, and none before `low` does. */
function descend(graph: Graph, fresh: readonly Fresh[], low: number, high: number): NodeId {
  if (high - low === 1) return fresh[low]?.outcome ?? graph.verdict("default-deny");
  const middle = (low + high) >> 1;
  return graph.peer(
    union(fresh, low, middle),
    span(fresh, low, middle),
    descend(graph, fresh, low, middle),
    descend(graph, fresh, middle, high),
  );
}

function* union(fresh: readonly Fresh[], low: number, high: number): Generator<number> {
  for (let index = low; index < high; index++) yield* fresh[index]?.bits ?? [];
}

function span(fresh: readonly Fresh[], low: number, high: number): RuleSpan {
  return [fresh[low]?.rule ?? -1, fresh[high - 1]?.rule ?? -1];
}
