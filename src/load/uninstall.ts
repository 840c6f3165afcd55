/**
 * Takes everything of one agent out of the kernel. Works without an agent, and twice.
 *
 * @module
 */

import { U32 } from "../../bpf/layout.gen.ts";
import { BpfMap } from "../../ffi/bpf/map.ts";
import { removeFilters } from "./guard.ts";
import { Pins } from "./pins.ts";

/**
 * Removes filters and links, then maps, then the directory; true if there was anything. Call it in
 * the node's network namespace.
 */
export function removeDatapath(bpffs: string): boolean {
  const pins = new Pins(bpffs);
  {
    using veths = openVeths(pins);
    for (const key of veths?.keys() ?? []) removeFilters(U32.decode(key));
  }
  return pins.remove();
}

function openVeths(pins: Pins): BpfMap | undefined {
  try {
    return BpfMap.openPinned(pins.map("veths"));
  } catch {
    return undefined; // Not a bpffs (any more): there is nothing of ours.
  }
}
