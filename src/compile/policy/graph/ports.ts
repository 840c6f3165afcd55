/**
 * Port ranges as a balanced search. In: entries with ranges, which may overlap in any way, and what
 * to decide where a given list of them applies. Out: a node that finds the port's interval in as
 * many comparisons as the number of intervals has binary digits.
 *
 * @module
 */

import { POLICY_RANGE_STEPS_MAX, PolicyLimitError } from "../limits.ts";
import type { Graph, NodeId } from "./node.ts";

/** Something that applies to some ports. */
export interface Ranged {
  readonly first: number;
  /** Inclusive. */
  readonly last: number;
  /** Its place among all entries. */
  readonly order: number;
}

/** Ports that one node decides about, from `first` to the next interval. */
interface Interval {
  readonly first: number;
  readonly node: NodeId;
}

/** A node that decides by port; `decide` gets the entries of an interval, in their order. */
export function decideByPort<E extends Ranged>(
  graph: Graph,
  entries: readonly E[],
  decide: (applying: readonly E[]) => NodeId,
): NodeId {
  const starts = new Set([0]);
  for (const { first, last } of entries) {
    starts.add(first);
    if (last < PORT_MAX) starts.add(last + 1);
  }
  const byFirst = [...entries].sort((a, b) => a.first - b.first || a.order - b.order);
  const intervals: Interval[] = [];
  let applying: E[] = [];
  let [next, steps] = [0, 0];
  for (const start of [...starts].sort((a, b) => a - b)) {
    applying = applying.filter(({ last }) => last >= start);
    for (let entry = byFirst[next]; entry !== undefined && entry.first <= start;) {
      applying.push(entry);
      entry = byFirst[++next];
    }
    steps += applying.length;
    if (steps > POLICY_RANGE_STEPS_MAX) {
      throw new PolicyLimitError("ranges", { current: steps, max: POLICY_RANGE_STEPS_MAX });
    }
    applying.sort((a, b) => a.order - b.order);
    const node = decide(applying);
    if (intervals.at(-1)?.node !== node) intervals.push({ first: start, node });
  }
  return search(graph, intervals, 0, intervals.length);
}

/** Highest number of a port. */
const PORT_MAX = 65_535;

function search(
  graph: Graph,
  intervals: readonly Interval[],
  low: number,
  high: number,
): NodeId {
  const middle = (low + high) >> 1;
  const [left, right] = [intervals[low], intervals[middle]];
  if (left === undefined || right === undefined) return graph.verdict("default-deny");
  if (high - low === 1) return left.node;
  return graph.below(
    right.first,
    search(graph, intervals, low, middle),
    search(graph, intervals, middle, high),
  );
}
