/**
 * What a compiled policy may be at most, with the reason of each bound. What exceeds one is an
 * error of the policies that ask for it, and a denial for the pods that they select: never a silent
 * pass.
 *
 * @module
 */

/**
 * Distinct peers (selectors, entities, ranges) of all policies: bits of an identity's row. A row is
 * then at most 2 KiB, which an array map holds for a hundred thousand identities.
 */
export const POLICY_SELECTORS_MAX = 16_384;

/** Rules that one pod is subject to: an answer has 23 bits for the number of a rule. */
export const POLICY_RULES_MAX = 65_535;

/**
 * Slots of one verdict program, before it is laid out. The kernel looks at a million instructions
 * at most, and at each of a decision graph about once, because its paths do not multiply. This
 * stays far below, for the time that laying out takes; ten thousand plain rules need about 75,000.
 */
export const POLICY_SLOTS_MAX = 131_072;

/**
 * Entries looked at while the port ranges of one direction and protocol are laid out. Nested ranges
 * multiply (a thousand within each other make a million), and the compiler must end.
 */
export const POLICY_RANGE_STEPS_MAX = 4_000_000;

/** Which bound was exceeded. */
export type PolicyLimit = "selectors" | "rules" | "slots" | "ranges";

/** Policies that are too large to be compiled together. The pods that they select are denied. */
export class PolicyLimitError extends Error {
  override readonly name = "PolicyLimitError";
  readonly code = "policy-limit";
  readonly limit: PolicyLimit;
  readonly current: number;
  readonly max: number;

  constructor(limit: PolicyLimit, fields: { readonly current: number; readonly max: number }) {
    const { current, max } = fields;
    super(`Cannot compile policies: number of ${limit} is ${current}, want at most ${max}`);
    this.limit = limit;
    this.current = current;
    this.max = max;
  }
}
