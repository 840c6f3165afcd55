/**
 * Makes plain scripts of the agent and its workers: `main.js`, one script for each worker and the
 * chunks that they share or load late. In: the checkout. Out: files in a directory, laid out below
 * it as `src/assets.ts` expects.
 *
 * Invariant: the scripts need no network, no cache and no configuration; every dependency is in
 * them. What a command imports lazily stays a chunk of its own, so that a command which does not
 * need it does not parse it.
 *
 * @module
 */

import { WORKERS } from "../../src/assets.ts";

/** Bundles into `target`, which must be empty. */
export async function bundleInto(target: string, root: string): Promise<void> {
  const entries = ["main.ts", ...Object.values(WORKERS)];
  const result = await Deno.bundle({
    entrypoints: entries.map((entry) => `${root}/${entry}`),
    outputDir: target,
    codeSplitting: true,
    format: "esm",
    platform: "deno",
    minify: false, // stack traces that can be read are worth the 300 kB
    write: true,
  });
  if (!result.success) {
    const reasons = result.errors.map((error) => error.text).join("; ");
    throw new Error(`Cannot bundle: ${reasons}`);
  }
}
