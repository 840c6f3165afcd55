/**
 * An invariant, or a crash. What is pinned in the kernel keeps enforcing when the process dies, so
 * dying is safer than going on with a state that cannot be.
 *
 * @module
 */

/** Throws when `condition` does not hold. */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new AssertionError(message);
}

/** A broken invariant: a defect of weft itself, never an input error. */
export class AssertionError extends Error {
  override readonly name = "AssertionError";
}
