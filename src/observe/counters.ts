/**
 * The kernel's counters by name: `[WEFT_REASON_*]` for refusals, then WEFT_COUNTER_*.
 *
 * @module
 */
import { REASONS, REFUSAL_REASONS, type RefusalReason } from "../reasons.ts";

/** WEFT_COUNTER_* of `bpf/layout.h`; a test compares. */
export const COUNTERS = {
  DIRECT: 64,
  STEERED_IN: 65,
  STEERED_OUT: 66,
  NODE: 67,
  OUTBOUND: 68,
  TRANSLATED: 69,
  PLAINTEXT_FROM_MESH: 70,
  EVENTS_LOST: 71,
  FALLBACK: 72,
  /** the first of a row, by reason: events for which there was no room */
  LOST: 80,
} as const;
export type CounterName = keyof typeof COUNTERS;

/** The sum of one counter; zero where the kernel has none. */
export function counterOf(counters: readonly number[], name: CounterName): number {
  return counters[COUNTERS[name]] ?? 0;
}

/** Events of the kernel that nobody could see, by the reasons that have any. */
export function lostByReason(counters: readonly number[]): Partial<Record<RefusalReason, number>> {
  const lost = REFUSAL_REASONS.map((reason) =>
    [reason, counters[COUNTERS.LOST + REASONS[reason].number] ?? 0] as const
  );
  return Object.fromEntries(lost.filter(([, count]) => count > 0));
}

/** What the kernel refused or dropped for one reason: packets, not only those that begin. */
export function refusedByKernel(counters: readonly number[], reason: RefusalReason): number {
  return counters[REASONS[reason].number] ?? 0;
}
