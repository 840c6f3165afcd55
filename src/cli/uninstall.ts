/**
 * `weft uninstall`: takes this node's weft away. In come its directories, out goes a machine
 * without its links, maps, pins, socket and announcement. Invariant: the announcement goes first,
 * so that other nodes stop sending mesh traffic here before the programs are gone; keys go only
 * with --purge. It works with a running agent (which it asks to end), after SIGKILL, and twice.
 *
 * @module
 */
import { Option } from "@commander-js/extra-typings";
import { resolve } from "node:path";
import { InUseError } from "../errors.ts";
import type { AgentRecord } from "../observe/mod.ts";
import { AgentClient, isUnreachable } from "./client.ts";
import type { CliEnv } from "./env.ts";
import { DEFAULT_BPFFS, DEFAULT_STATE_DIRECTORY, type Program, runDirOption } from "./options.ts";

const HELP = `
A running agent is asked to end first. Its paths are those that it wrote into RUN_DIR/agent.json;
flags beat them. Pods keep their connections, but for those that the relay carried; STRICT ends:
from now on everything is as the pods make it.

The keys and certificates in the state directory stay, so that \`weft run\` continues where it was;
--purge removes them, and the root if it lies in STATE/ca. That cannot be undone.

Examples:
  weft uninstall
  weft uninstall --purge
  weft uninstall --run-dir /run/weft-a
`;

const STOP_TIMEOUT_MS = 20_000;
const STOP_POLL_MS = 50;

/** Adds `weft uninstall`. */
export function registerUninstall(program: Program, env: CliEnv): void {
  program.command("uninstall")
    .description("end the agent and remove everything that it put into the kernel")
    .option("--purge", "remove keys and certificates too, the root in STATE/ca included")
    .addOption(runDirOption())
    .addOption(new Option("--bpffs <dir>", "directory of pins").env("WEFT_BPFFS"))
    .addOption(new Option("--state-dir <dir>", "keys and certificates").env("WEFT_STATE_DIR"))
    .addOption(new Option("--nodes-dir <dir>", "where the agent announced itself"))
    .addOption(new Option("--node <name>", "name of this node").env("WEFT_NODE"))
    .addHelpText("after", HELP)
    .action((options) => uninstall(options, env));
}

interface UninstallOptions {
  readonly purge?: true | undefined;
  readonly runDir: string;
  readonly bpffs?: string | undefined;
  readonly stateDir?: string | undefined;
  readonly nodesDir?: string | undefined;
  readonly node?: string | undefined;
}

async function uninstall(options: UninstallOptions, env: CliEnv): Promise<void> {
  const say = (text: string) => env.out(`${text}\n`);
  const runDirectory = resolve(options.runDir);
  const { lockPins, readRecord } = await import("../observe/mod.ts");
  const places = placesOf(options, readRecord(runDirectory));
  if (await stopAgent(runDirectory, env.signal)) say("ended the agent");
  using _pins = lockPins(places.bpffs); // an agent with another run directory may rule by them
  if (places.node !== undefined && places.nodesDirectory !== undefined) {
    const { withdrawNode } = await import("../watch/mod.ts");
    await withdrawNode(places.nodesDirectory, places.node);
    say(`withdrew node "${places.node}" from ${places.nodesDirectory}`);
  }
  const { removeDatapath } = await import("../load/mod.ts");
  const removed = removeDatapath(places.bpffs);
  say(
    removed ? `removed programs, maps and pins in ${places.bpffs}` : `no pins in ${places.bpffs}`,
  );
  removeAll(runDirectory, ["weft.sock", "agent.json", "agent.json.next", "lock"]);
  removeAll(places.stateDirectory, ["last-good-policies.json", "last-good-policies.json.new"]);
  if (namesIn(places.stateDirectory).length === 0) return; // no keys were made, or they are gone
  if (!options.purge) {
    say(`kept keys and certificates in ${places.stateDirectory} (--purge removes them)`);
    return;
  }
  purge(places.stateDirectory);
  say(`removed keys and certificates in ${places.stateDirectory}`);
}

interface Places {
  readonly bpffs: string;
  readonly stateDirectory: string;
  readonly nodesDirectory: string | undefined;
  readonly node: string | undefined;
}

/** Flags beat the record, the record beats defaults. */
function placesOf(options: UninstallOptions, record: AgentRecord | undefined): Places {
  const { bpffs, stateDir, nodesDir, node } = options;
  return {
    bpffs: resolve(bpffs ?? record?.bpffs ?? DEFAULT_BPFFS),
    stateDirectory: resolve(stateDir ?? record?.stateDirectory ?? DEFAULT_STATE_DIRECTORY),
    nodesDirectory: nodesDir === undefined ? record?.nodesDirectory : resolve(nodesDir),
    node: node ?? record?.node,
  };
}

/** True if one was running. Returns when it has let go of its run directory. */
async function stopAgent(runDirectory: string, signal: AbortSignal): Promise<boolean> {
  try {
    using client = await AgentClient.open(runDirectory, signal);
    await client.post("/stop", {});
  } catch (error) {
    if (!isUnreachable(error) || error.how === "forbidden") throw error;
    if (isFree(runDirectory)) return false;
    // It cannot be asked: it is stopped, or stuck. The kernel knows who holds the lock.
    if (error.how === "broken") await endHolder(runDirectory);
  }
  const end = Date.now() + STOP_TIMEOUT_MS;
  while (!isFree(runDirectory)) {
    if (Date.now() > end || signal.aborted) {
      throw new InUseError(`The agent of "${runDirectory}" does not end: end its process first`, {
        path: runDirectory,
      });
    }
    // deno-lint-ignore no-await-in-loop -- the kernel tells of a lock only when asked
    await new Promise((resolve) => setTimeout(resolve, STOP_POLL_MS));
  }
  return true;
}

async function endHolder(runDirectory: string): Promise<void> {
  const { lockHolder } = await import("../observe/mod.ts");
  const pid = lockHolder(runDirectory);
  try {
    if (pid !== undefined) Deno.kill(pid, "SIGKILL");
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error; // it has ended by itself
  }
}

/** Whether nobody holds the lock of the run directory. */
function isFree(runDirectory: string): boolean {
  try {
    using file = Deno.openSync(`${runDirectory}/lock`, { write: true });
    return file.tryLockSync(true);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return true;
    throw error;
  }
}

/** Files of ours by name, then the directory if nothing else is in it. */
function removeAll(directory: string, names: readonly string[]): void {
  for (const path of [...names.map((name) => `${directory}/${name}`), directory]) {
    try {
      Deno.removeSync(path);
    } catch (error) {
      const kept = path === directory && error instanceof Error && /not empty/i.test(error.message);
      if (!kept && !(error instanceof Deno.errors.NotFound)) throw error;
    }
  }
}

/** What the agent and `weft ca` have put there; what somebody else did stays. */
function purge(stateDirectory: string): void {
  try {
    Deno.removeSync(`${stateDirectory}/ca`, { recursive: true });
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  for (const name of namesIn(stateDirectory).filter((each) => HALF_MADE.test(each))) {
    Deno.removeSync(`${stateDirectory}/${name}`, { recursive: true });
  }
  removeAll(stateDirectory, STATE_NAMES);
}

const STATE_NAMES = ["issuer.crt", "issuer.key", "bundle.pem"];
/** What a start that was killed had begun to write: keys among it. */
const HALF_MADE =
  /^(issuer\.key\.next|(issuer\.(crt|key(\.next)?)|bundle\.pem|\.ca)\.tmp-[0-9a-f-]{36})$/;

function namesIn(directory: string): string[] {
  try {
    return [...Deno.readDirSync(directory)].map(({ name }) => name);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
}
