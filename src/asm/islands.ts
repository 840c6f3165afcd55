/**
 * Brings the targets of far jumps within reach.
 *
 * In: items of a program of any length. Out: the same items, with "islands" between them: an
 * unconditional jump that nothing falls into, on which a far jump lands on its way. Kernels from
 * 6.6 on have a jump of 32 bits, but the oldest that weft supports has not.
 *
 * Islands go where no path is cut: behind an exit or an unconditional jump.
 *
 * @module
 */

import { jump, label } from "./build.ts";
import { isLabel, type Item, slotsOf } from "./instruction.ts";
import { endsPath, JUMP_DISTANCE_MAX, layOut } from "./program.ts";

/** Adds islands until every jump can be encoded. */
export function withIslands(items: readonly Item[]): readonly Item[] {
  let current = items;
  for (let round = 0; round < ROUNDS_MAX; round++) {
    const next = addIslands(current, round);
    if (next === undefined) return current;
    current = next;
  }
  return current; // `link` names the jump that is still too far
}

/** One hop a round; a program of the greatest length needs 31. */
const ROUNDS_MAX = 64;
/** Hops are shorter than a jump can be: later islands make the way longer. */
const HOP_SLOTS = JUMP_DISTANCE_MAX - 4096;

/** A place in the items at which an island may stand. */
interface Gap {
  readonly index: number;
  readonly slot: number;
}

/** An island of this round. */
interface Island {
  readonly name: string;
  readonly slot: number;
}

function addIslands(items: readonly Item[], round: number): Item[] | undefined {
  const { labels } = layOut(items);
  const gaps = gapsOf(items);
  const byTarget = new Map<string, Island[]>();
  const byGap = new Map<number, Item[]>();
  let slot = 0;
  const hopped = items.map((item) => {
    if (isLabel(item)) return item;
    const at = slot;
    slot += slotsOf(item);
    const target = item.label === undefined ? undefined : labels.get(item.label);
    if (item.label === undefined || target === undefined || fits(at, target)) return item;
    const known = byTarget.get(item.label) ?? [];
    const near = known.find((island) => isOnTheWay(at, island.slot, target));
    if (near !== undefined) return { ...item, label: near.name };
    const gap = nearestGap(gaps, at + Math.sign(target - at) * HOP_SLOTS);
    if (gap === undefined || !isOnTheWay(at, gap.slot, target)) return item;
    const name = `${item.label}~${round}.${gap.index}`;
    byTarget.set(item.label, [...known, { name, slot: gap.slot }]);
    byGap.set(gap.index, [...byGap.get(gap.index) ?? [], label(name), jump(item.label)]);
    return { ...item, label: name };
  });
  if (byGap.size === 0) return undefined;
  return hopped.flatMap((item, index) => [item, ...byGap.get(index) ?? []]);
}

/** Whether a jump from `at` reaches `place` and comes a good deal nearer to `target` by it. */
function isOnTheWay(at: number, place: number, target: number): boolean {
  const [whole, rest] = [Math.abs(target - at), Math.abs(target - place)];
  return fits(at, place) && rest <= whole - HOP_SLOTS / 4;
}

function fits(from: number, to: number): boolean {
  const distance = to - from - 1;
  return distance <= JUMP_DISTANCE_MAX && distance >= -JUMP_DISTANCE_MAX - 1;
}

/** Places right behind an instruction that ends its path. */
function gapsOf(items: readonly Item[]): Gap[] {
  const gaps: Gap[] = [];
  let slot = 0;
  for (const [index, item] of items.entries()) {
    if (isLabel(item)) continue;
    slot += slotsOf(item);
    if (endsPath(item)) gaps.push({ index, slot });
  }
  return gaps;
}

function nearestGap(gaps: readonly Gap[], slot: number): Gap | undefined {
  let [low, high] = [0, gaps.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((gaps[middle]?.slot ?? 0) < slot) low = middle + 1;
    else high = middle;
  }
  const [before, after] = [gaps[low - 1], gaps[low]];
  if (before === undefined || after === undefined) return before ?? after;
  return slot - before.slot <= after.slot - slot ? before : after;
}
