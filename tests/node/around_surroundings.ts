/**
 * What attackers and their victims leave behind, for tests: counts of refusals, an application's
 * log, a capture without a packet.
 *
 * @module
 */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import type { Capture } from "@/tests/testbed/capture.ts";
import type { Mesh } from "./support/mesh.ts";

/** How a program of these tests is run in a place. */
export const DENO: readonly string[] = [
  ...[Deno.execPath(), "run", "-A", "--quiet", "--no-config", "--no-lock"],
];
/** `around_program.ts` */
export const PROGRAM: string = fileURLToPath(import.meta.resolve("./around_program.ts"));

/** Size of a capture without a packet. */
const EMPTY_CAPTURE = 24;

/** What is seen of a mesh. */
export class Surroundings {
  readonly #mesh: Mesh;

  constructor(mesh: Mesh) {
    this.#mesh = mesh;
  }

  /** How often all agents have counted a reason. */
  async refusals(reason: string): Promise<number> {
    const mesh = this.#mesh;
    const reports = await Promise.all(mesh.nodes.map((node) => mesh.status(node)));
    const rows = reports.flatMap((status) => status.refusals);
    return rows.filter((row) => row.reason === reason).reduce((sum, row) => sum + row.total, 0);
  }

  /** All that an application's own log says. */
  async heard(name: string): Promise<string> {
    return await Deno.readTextFile((await this.#mesh.bed.pod(name)).log);
  }
}

/** Fails if a packet passed. */
export async function assertQuiet(capture: Capture, what = "something has arrived"): Promise<void> {
  await capture.stop();
  const { size } = await Deno.stat(capture.file);
  if (size === EMPTY_CAPTURE) return;
  const fields = ["_ws.col.Info"] as const;
  assert.fail(`${what}: ${JSON.stringify((await capture.packets({ fields })).slice(0, 5))}`);
}

/** Bytes as the command line takes them. */
export function hex(bytes: Uint8Array): string {
  return (bytes as Uint8Array<ArrayBuffer>).toHex();
}
