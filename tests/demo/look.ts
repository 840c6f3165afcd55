/**
 * Looks that several steps take: at the application's own log, at what reached it inside its pod,
 * at a curl that was refused.
 *
 * @module
 */
import type { Testbed } from "@/tests/testbed/mod.ts";
import type { Inside } from "./inside.ts";
import type { Ran } from "./scene.ts";
import type { Told } from "./step.ts";
import type { Segment } from "./wire.ts";
import { count, duration, linesOf } from "./words.ts";

const LOG_TIMEOUT_MS = 5000;
/** A refusal comes at once, or it is a time-out. */
const AT_ONCE_MS = 1000;

/**
 * Lines of the application's own log, which begin with the client's address. A request of its own,
 * over the pod's loopback, is waited for: the server has one worker, so all before it is written.
 */
export async function logLines(bed: Testbed, pod: string): Promise<string[]> {
  const { log } = await bed.pod(pod);
  const mark = `mark-${crypto.randomUUID()}`;
  await bed.exec(pod, ["curl", "-s", "-o", "/dev/null", `http://127.0.0.1/${mark}`]);
  const deadline = performance.now() + LOG_TIMEOUT_MS;
  for (;;) {
    // deno-lint-ignore no-await-in-loop -- until the mark is there
    const lines = linesOf(await Deno.readTextFile(log));
    if (lines.some((line) => line.includes(mark))) {
      return lines.filter((line) => !line.startsWith("127.0.0.1 "));
    }
    if (performance.now() > deadline) throw new Error(`${pod} does not write its log any more`);
  }
}

/** Checks that the last lines of a log name the client as one of `addresses`. */
export function checkNamed(
  told: Told,
  lines: readonly string[],
  addresses: readonly string[],
  expected: string,
): void {
  const [line] = lines;
  const client = line?.split(" ")[0] ?? "";
  const request = /"[^"]*" \d+/.exec(line ?? "")?.[0] ?? "";
  told.check(
    expected,
    lines.length === 1 && addresses.includes(client),
    line === undefined ? "no line" : `${client} ${request}`,
  );
}

/** Checks that curl was refused by ECONNREFUSED, and quickly. */
export function checkRefused(told: Told, ran: Ran, expected = "refused at once"): void {
  const refused = ran.code === 7 && ran.stderr.includes("Connection refused");
  const happened = refused
    ? "Connection refused"
    : ran.code === 0
    ? "it was answered"
    : `curl ends with status ${ran.code}`;
  told.check(
    expected,
    refused && ran.elapsedMs < AT_ONCE_MS,
    `${happened} after ${duration(ran.elapsedMs)}`,
  );
}

/** Checks that the backend's access log has not grown. */
export async function checkSilent(
  told: Told,
  bed: Testbed,
  pod: string,
  before: readonly string[],
): Promise<void> {
  const more = (await logLines(bed, pod)).slice(before.length);
  told.check(
    "the application's log: nothing",
    more.length === 0,
    more[0] ?? `${count(before.length, "line")} before, as many now`,
  );
}

/** Checks by a capture on the pod's own loopback that the application was given nothing. */
export async function checkNothingInside(told: Told, inside: Inside): Promise<void> {
  const packets = await inside.packets();
  told.check(
    "capture inside the pod: nothing handed on",
    packets.length === 0,
    packets.length === 0 ? "no packet on its lo" : `${count(packets.length, "packet")} on its lo`,
  );
}

/** Segments to a port of an address. */
export function segmentsTo(
  segments: readonly Segment[],
  address: string,
  port: number,
): Segment[] {
  return segments.filter((each) => each.target === address && each.targetPort === port);
}
