/**
 * Waiting with an end, for tests.
 *
 * Invariant: nothing here lets a test go on that has not seen what it waited for.
 *
 * @module
 */
import assert from "node:assert/strict";

/** What comes in time; else the test fails and says what did not. */
export async function within<T>(limitMs: number, what: string, coming: Promise<T>): Promise<T> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const message = `Not within ${limitMs} ms: ${what}`;
  const timer = setTimeout(() => reject(new assert.AssertionError({ message })), limitMs);
  try {
    return await Promise.race([coming, late]);
  } finally {
    clearTimeout(timer);
  }
}

/**
 * Asks until it holds; fails with `what` when time is up. Only for what is announced to nobody,
 * such as what an agent or the kernel says when it is asked.
 */
export async function eventually(
  what: string,
  holds: () => Promise<boolean> | boolean,
  limitMs = 10_000,
): Promise<void> {
  const deadline = performance.now() + limitMs;
  // deno-lint-ignore no-await-in-loop -- until it holds
  while (!await holds()) {
    assert.ok(performance.now() < deadline, `Not within ${limitMs} ms: ${what}`);
    // deno-lint-ignore no-await-in-loop
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
