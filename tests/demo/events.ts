/**
 * The events of an agent, as `weft monitor` prints them.
 *
 * @module
 */
import type { Event } from "@/src/observe/event.ts";
import type { Testbed } from "@/tests/testbed/mod.ts";
import { linesOf } from "./words.ts";

/** How long an event may take from the kernel to the monitor. */
const PATIENCE_MS = 3000;
const INTERVAL_MS = 100;

/** Events since a moment, oldest first. */
export async function eventsSince(bed: Testbed, node: string, sinceMs: number): Promise<Event[]> {
  const { stdout } = await bed.weft(node, ["monitor", "--recent", "--no-follow", "-o", "json"]);
  return linesOf(stdout).map((line) => JSON.parse(line) as { type: string; event: Event })
    .filter(({ type, event }) => type === "event" && event.timeMs >= sinceMs)
    .map(({ event }) => event);
}

/** The first event since a moment for which `holds`; all of them when there is none. */
export async function findEvent(
  bed: Testbed,
  node: string,
  sinceMs: number,
  holds: (event: Event) => boolean,
): Promise<{ readonly event?: Event; readonly seen: readonly Event[] }> {
  const deadline = performance.now() + PATIENCE_MS;
  for (;;) {
    // deno-lint-ignore no-await-in-loop -- until it is there or time is up
    const seen = await eventsSince(bed, node, sinceMs);
    const event = seen.find(holds);
    if (event !== undefined) return { event, seen };
    if (performance.now() > deadline) return { seen };
    // deno-lint-ignore no-await-in-loop
    await new Promise((resolve) => setTimeout(resolve, INTERVAL_MS));
  }
}

/** An event in a few words. */
export function eventText(event: Event): string {
  return `${event.verdict} at ${event.hook}: ${event.reason}`;
}
