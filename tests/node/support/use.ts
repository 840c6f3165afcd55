/**
 * What an agent uses of its machine: memory and descriptors of its process, rows of its maps.
 *
 * Invariant: what is meant to be kept for the next connection (idle tunnels) is counted apart, so
 * that what is left over is a leak.
 *
 * @module
 */
import assert from "node:assert/strict";
import type { Mesh } from "./mesh.ts";

/** An agent's use, without what its idle and live tunnels need. */
export interface Use {
  /** Open descriptors that belong to no tunnel. */
  readonly descriptors: number;
  /** Connections that the relay carries. */
  readonly connections: number;
  /** Rows that connections make, by map; without those of tunnels. */
  readonly rows: Readonly<Record<string, number>>;
}

/** Maps whose rows come with connections; the others hold the plan. */
const CONNECTION_MAPS = ["connections", "steered", "clients"];

/** Reads all of it now. */
export async function readUse(mesh: Mesh, node: string): Promise<Use> {
  const { relay } = await mesh.status(node);
  const sum = (name: "tunnels_open" | "connections_open") =>
    relay.reduce((total, { counters }) => total + counters[name], 0);
  const tunnels = sum("tunnels_open");
  const pid = await pidOf(mesh, node);
  const descriptors = [...Deno.readDirSync(`/proc/${pid}/fd`)].length - tunnels;
  const { connections = 0, ...others } = await rows(mesh, node);
  return {
    descriptors,
    connections: sum("connections_open"),
    rows: { connections: connections - tunnels, ...others },
  };
}

/** Resident memory of an agent. */
export async function residentBytes(mesh: Mesh, node: string): Promise<number> {
  const status = await Deno.readTextFile(`/proc/${await pidOf(mesh, node)}/status`);
  const kib = /^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1];
  assert.ok(kib !== undefined, "the agent has no memory");
  return Number(kib) * 1024;
}

async function rows(mesh: Mesh, node: string): Promise<Record<string, number>> {
  const { runDir } = await mesh.bed.node(node);
  using client = Deno.createHttpClient({
    proxy: { transport: "unix", path: `${runDir}/weft.sock` },
  });
  const text = await (await fetch("http://localhost/metrics", { client })).text();
  const found = [...text.matchAll(/^weft_map_entries\{map="(\w+)"\} (\d+)$/gm)]
    .map(([, name = "", count]) => [name, Number(count)] as const)
    .filter(([name]) => CONNECTION_MAPS.includes(name));
  assert.equal(found.length, CONNECTION_MAPS.length, text);
  return Object.fromEntries(found);
}

async function pidOf(mesh: Mesh, node: string): Promise<number> {
  const { agentPid } = await mesh.bed.node(node);
  assert.ok(agentPid !== undefined, `the agent of ${node} does not run`);
  return agentPid;
}
