/**
 * The weft agents of a testbed: one per node, in the node's network namespace and cgroup, each with
 * run directory, state directory and bpffs of its own.
 *
 * Invariant: `startAgent` returns when `weft status` says that the agent is ready, or fails with
 * the end of its log. Several nodes share one root (`weft ca init`), kept outside of every node's
 * directories; a single node makes its own.
 *
 * @module
 */
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import type { NodeState, TestbedState } from "../state.ts";
import { attempt, enter, isAlive, launch, type Place, run, tail } from "./process.ts";
import { settle, TestbedError, until } from "./process.ts";

/** How long an agent may take until it is ready. */
export const AGENT_READY_TIMEOUT_MS = 60_000;

/** The weft executable: `$WEFT_BIN`, or what `deno task build` made. */
export function findWeft(): string {
  const given = Deno.env.get("WEFT_BIN");
  const path = given ?? `${repository()}/dist/weft`;
  try {
    if (Deno.statSync(path).isFile) return Deno.realPathSync(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  throw new TestbedError(
    given === undefined
      ? `Cannot find "${path}": run 'deno task build', set WEFT_BIN, or use --no-agent`
      : `Cannot find the executable that WEFT_BIN names: "${path}"`,
  );
}

/** Makes the directories of a node's agent, and mounts its bpffs. */
export async function prepareAgent(state: TestbedState, node: NodeState): Promise<void> {
  for (const directory of [node.runDir, node.stateDir, node.bpffs]) {
    Deno.mkdirSync(directory, { recursive: true, mode: 0o700 });
  }
  await run(processPlace(node, "host"), ["mount", "-t", "bpf", `weft-${state.id}`, node.bpffs]);
}

/** Makes the root that several nodes share, and each node's issuer. */
export async function issueNodes(state: TestbedState): Promise<void> {
  const weft = executable(state);
  const place = { cgroup: `${state.cgroup}/setup` };
  const ca = caDirectory(state);
  await run(place, [weft, "ca", "init", "--ca-dir", ca]);
  await settle(state.nodes.map(({ name, uid, stateDir }) =>
    run(place, [
      ...[weft, "ca", "issue-node", name, "--ca-dir", ca],
      ...["--out", stateDir, "--uid", uid],
    ])
  ));
}

/** Starts a node's agent and returns its process id; it is not ready yet. */
export async function launchAgent(state: TestbedState, node: NodeState): Promise<number> {
  return await launch(processPlace(node, "agent"), [
    ...[executable(state), "run", "--source", sourceDirectory(state), "--node", node.name],
    ...["--run-dir", node.runDir, "--state-dir", node.stateDir],
    ...["--bpffs", node.bpffs, "--cgroup", node.cgroup],
    ...state.agentArgs,
  ], { log: node.log, env: Deno.env.toObject() });
}

/** Resolves when the agent that was launched is ready. */
export async function agentReady(state: TestbedState, node: NodeState): Promise<void> {
  let last = "its socket is not there yet";
  const fail = async (what: string) => {
    const log = await tail(node.log);
    return new TestbedError(`${what}; the end of its log (${node.log}):\n${log}`);
  };
  const ready = until("the agent", AGENT_READY_TIMEOUT_MS, async () => {
    if (!agentAlive(node)) throw await fail(`Cannot start the agent of "${node.name}": it ended`);
    // Looking for the socket is cheaper than a process that finds it missing.
    if (!await exists(`${node.runDir}/weft.sock`)) return undefined;
    const command = weftCommand(state, node, ["status"]);
    const { code, output } = await attempt({ cgroup: `${node.cgroup}/host` }, command);
    last = `"weft status" says: ${output}`;
    // A command line that is not understood will not be understood later.
    if (code === 2) throw await fail(`Cannot ask the agent of "${node.name}": ${last}`);
    return code === 0 ? true : undefined;
  });
  await ready.catch(async (error) => {
    if (!String(error).includes("wait any longer")) throw error;
    throw await fail(
      `Cannot bring up the agent of "${node.name}" in ${AGENT_READY_TIMEOUT_MS} ms: ${last}`,
    );
  });
}

/** Whether a node's agent runs. */
export function agentAlive(node: NodeState): boolean {
  return node.agentPid !== undefined && isAlive(node.agentPid, processPlace(node, "agent").cgroup);
}

/** Sends a signal; with one that ends a process, waits until it has ended. */
export async function signalAgent(node: NodeState, signal: string): Promise<void> {
  const { agentPid } = node;
  if (agentPid === undefined || !agentAlive(node)) {
    throw new TestbedError(`Cannot signal the agent of "${node.name}": it is not running`);
  }
  const name = signal.toUpperCase().replace(/^SIG/, "");
  await run(processPlace(node, "host"), ["kill", "-s", name, String(agentPid)]);
  if (!["KILL", "TERM", "INT", "9", "15", "2"].includes(name)) return;
  await until(
    `the agent of "${node.name}" to end`,
    30_000,
    () => agentAlive(node) ? undefined : true,
  );
}

/** The command that runs weft's command line against a node's agent. */
export function weftCommand(
  state: TestbedState,
  node: NodeState,
  args: readonly string[],
): string[] {
  const place = processPlace(node, "host");
  const settings = [
    `WEFT_RUN_DIR=${node.runDir}`,
    `WEFT_STATE_DIR=${node.stateDir}`,
    `WEFT_BPFFS=${node.bpffs}`,
    `WEFT_CGROUP=${node.cgroup}`,
    `WEFT_NODE=${node.name}`,
    ...(state.nodes.length > 1 ? [`WEFT_CA_DIR=${caDirectory(state)}`] : []),
  ];
  return enter(place, ["env", ...settings, executable(state), ...args]);
}

/** Where commands of a node run: "agent" for its agent, "host" for all else. */
export function processPlace(node: NodeState, what: "agent" | "host"): Place & { netns: string } {
  return { cgroup: `${node.cgroup}/${what}`, netns: node.netns };
}

/** The directory source that all agents read. */
export function sourceDirectory(state: TestbedState): string {
  return `${state.directory}/source`;
}

/** Where the root is kept when several nodes share one. */
export function caDirectory(state: TestbedState): string {
  return `${state.directory}/ca`;
}

function executable(state: TestbedState): string {
  if (state.weft !== undefined) return state.weft;
  throw new TestbedError("Cannot run weft: this testbed was made with --no-agent");
}

function repository(): string {
  return dirname(dirname(dirname(dirname(fileURLToPath(import.meta.url)))));
}

async function exists(path: string): Promise<boolean> {
  return await Deno.stat(path).then(() => true, () => false);
}
