/**
 * Takes everything of one agent out of the kernel. Works without an agent, and twice.
 *
 * @module
 */

import { Pins } from "./pins.ts";

/** Removes links, then maps, then the directory; true if there was anything. */
export function removeDatapath(bpffs: string): boolean {
  return new Pins(bpffs).remove();
}
