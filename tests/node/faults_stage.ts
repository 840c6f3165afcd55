/**
 * The testbed of the tests of an agent's life and faults: a STRICT server, a client of the mesh, a
 * plain pod, and what is asked of them again and again.
 *
 * Invariant: one stage per test file, raised before its first test.
 *
 * @module
 */
import assert from "node:assert/strict";
import type { NodeDescription } from "@/tests/testbed/describe.ts";
import type { ExecResult } from "@/tests/testbed/mod.ts";
import { eventually } from "@/tests/support/waiting.ts";
import { HABITS } from "./support/habits.ts";
import {
  type Answer,
  assertRefused,
  assertServed,
  ENROLLED,
  Mesh,
  pod,
  policy,
} from "./support/mesh.ts";

/** Name of the node. */
export const NODE = "node-1";
/** Exit statuses of weft: see src/cli/exit.ts. */
export const [HEALTHY, DEGRADED, FAILED] = [0, 1, 4] as const;

/** Brings the testbed up; its disposal is the caller's. */
export async function raise(): Promise<void> {
  mesh = await Mesh.up({
    documents: [
      pod({ name: "server", runs: "talker" }),
      pod({ name: "client", labels: ENROLLED }),
      pod({ name: "plain" }),
      policy("server", "STRICT"),
    ],
  });
  node = await mesh.bed.node(NODE);
  addresses = await mesh.addresses("default/server");
  ({ source } = await mesh.bed.describe());
}

/** The testbed, once `raise` has returned. */
export let mesh: Mesh;
/** Its only node. */
export let node: NodeDescription;
/** The directory that its agent reads. */
export let source: string;
/** Of the STRICT server. */
export let addresses: readonly [string, string];

/** Dials the server on both of its addresses. */
const tryAll = (from: string): Promise<Answer[]> => mesh.askAll(from, addresses);

/** Fails if any of these is served. */
export async function checkRefused(...places: string[]): Promise<void> {
  await Promise.all(places.map(async (from) => assertRefused(await tryAll(from), from)));
}

/** Fails if any of these is refused. */
export async function checkServed(...places: string[]): Promise<void> {
  await Promise.all(places.map(async (from) => assertServed(await tryAll(from), from)));
}

/** What the policy says: the mesh and the node, nobody else. */
export async function checkInForce(): Promise<void> {
  await Promise.all([
    checkRefused("outside", "default/plain"),
    checkServed("default/client", NODE),
  ]);
}

/** Whether the kernel accepts, which it does for whoever listens, or refuses; or says neither. */
export async function knock(from: string, address: string): Promise<string> {
  const command = ["nc", "-z", "-v", "-w", "5", address, String(HABITS.who)];
  const { code, stderr } = await mesh.bed.exec(from, command);
  return code === 0 ? "accepted" : /refused/.test(stderr) ? "refused" : stderr;
}

/** Waits until `weft status` ends with a status and says something. */
export async function shows(code: number, pattern: RegExp): Promise<void> {
  let last: ExecResult | undefined;
  try {
    await eventually("the status is as wanted", async () => {
      last = await mesh.weft(NODE, "status");
      return last.code === code && pattern.test(last.stdout);
    }, 15_000);
  } catch (cause) {
    const said = `${last?.code}: ${last?.stdout}${last?.stderr}`;
    assert.fail(`Wanted ${code} and ${pattern}; weft status ended with ${said}; ${cause}`);
  }
}

/** Waits until the agent has nothing to complain of. */
export const isHealthy = (): Promise<void> => shows(HEALTHY, /: healthy,/);

/** The process of the agent. */
export async function agentPid(): Promise<number> {
  return (await mesh.bed.node(NODE)).agentPid ?? assert.fail("no agent runs");
}
