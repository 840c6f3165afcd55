/**
 * Testbeds for tests, demo and benchmarks: nodes and pods as network namespaces of this machine, on
 * a wire that can be captured, from the documents that a cluster would take, with a weft agent per
 * node. `scripts/testbed` is the same as a command.
 *
 * @example
 * ```ts
 * await using bed = await Testbed.up({ source: "tests/seed", nodes: 2 });
 * const { stdout } = await bed.exec("default/frontend", ["curl", "-s", "http://backend"]);
 * ```
 *
 * Invariant: when the process that called `Testbed.up` ends, for whatever reason, its testbed goes,
 * too: a guard outside of it holds a pipe and notices when that breaks.
 *
 * @module
 */
import { dirname, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { type Capture, type CaptureOptions, startCapture } from "./capture.ts";
import { applyTexts, deleteTexts, type Outcome, readTexts, startAgent } from "./commands.ts";
import { tearDown, type UpOptions, upTestbed } from "./commands.ts";
import { describeTestbed, type Description, type NodeDescription } from "./describe.ts";
import type { PodDescription } from "./describe.ts";
import { signalAgent, weftCommand } from "./host/agent.ts";
import { enter, environmentInside, TestbedError, toCommand } from "./host/process.ts";
import { findNode, findPod, loadState } from "./state.ts";
import { capturePlace, placeOf } from "./target.ts";

/** A testbed that is up. */
export class Testbed implements AsyncDisposable {
  /** where it keeps its state: the `--state` of `scripts/testbed` */
  readonly directory: string;
  readonly #guard: Deno.ChildProcess | undefined;
  #captures = 0;

  private constructor(directory: string, guard?: Deno.ChildProcess) {
    this.directory = directory;
    this.#guard = guard;
  }

  /** Makes a testbed; with `directory`, in that one, else in one of its own. */
  static async up(options: UpOptions & { readonly directory?: string } = {}): Promise<Testbed> {
    const directory = options.directory ??
      await Deno.makeTempDir({ dir: "/run", prefix: "weft-testbed-" });
    const guard = spawnGuard(directory);
    try {
      await upTestbed(directory, options);
    } catch (error) {
      await endGuard(guard);
      // Empty when it failed before there was anything to remove.
      if (options.directory === undefined) await Deno.remove(directory).catch(() => undefined);
      throw error;
    }
    return new Testbed(directory, guard);
  }

  /** The testbed that somebody else made in `directory`; disposing of it leaves it up. */
  static async open(directory: string): Promise<Testbed> {
    await loadState(directory);
    return new Testbed(directory);
  }

  /** What there is now. */
  async describe(): Promise<Description> {
    return describeTestbed(await loadState(this.directory));
  }

  /** A pod by "namespace/name", of the pod or of its Deployment. */
  async pod(name: string): Promise<PodDescription> {
    const state = await loadState(this.directory);
    const index = state.pods.indexOf(findPod(state, name));
    return found(describeTestbed(state).pods[index]);
  }

  /** A node by name. */
  async node(name: string): Promise<NodeDescription> {
    const state = await loadState(this.directory);
    const index = state.nodes.indexOf(findNode(state, name));
    return found(describeTestbed(state).nodes[index]);
  }

  /** Runs a command in a pod ("namespace/name"), on a node or "outside", to its end. */
  async exec(
    target: string,
    command: readonly string[],
    options: ExecOptions = {},
  ): Promise<ExecResult> {
    const state = await loadState(this.directory);
    return await runToEnd(enter(placeOf(state, target), command), options);
  }

  /** Starts a command in a pod, on a node or "outside"; its streams are the caller's to handle. */
  async spawn(
    target: string,
    command: readonly string[],
    options: Deno.CommandOptions = {},
  ): Promise<Deno.ChildProcess> {
    const state = await loadState(this.directory);
    const env = { ...environmentInside(), ...options.env };
    return toCommand(enter(placeOf(state, target), command), { ...options, clearEnv: true, env })
      .spawn();
  }

  /** Runs weft's command line against the agent of a node. */
  async weft(
    node: string,
    args: readonly string[],
    options: ExecOptions = {},
  ): Promise<ExecResult> {
    const state = await loadState(this.directory);
    return await runToEnd(weftCommand(state, findNode(state, node), args), options);
  }

  /** Applies the objects of files. */
  async apply(...files: string[]): Promise<Outcome[]> {
    return await applyTexts(this.directory, await readTexts(files));
  }

  /** Applies the objects of a YAML text. */
  async applyYaml(text: string): Promise<Outcome[]> {
    return await applyTexts(this.directory, [{ text, name: "the text" }]);
  }

  /** Deletes the objects of files. */
  async delete(...files: string[]): Promise<Outcome[]> {
    return await deleteTexts(this.directory, await readTexts(files));
  }

  /** Deletes the objects that a YAML text names. */
  async deleteYaml(text: string): Promise<Outcome[]> {
    return await deleteTexts(this.directory, [{ text, name: "the text" }]);
  }

  /** Captures on a pod's or a node's eth0; packets are being captured when this returns. */
  async capture(
    target: string,
    options: CaptureOptions & { readonly file?: string } = {},
  ): Promise<Capture> {
    const state = await loadState(this.directory);
    const file = options.file ?? `${this.directory}/capture-${++this.#captures}.pcap`;
    return await startCapture(capturePlace(state, target), resolve(file), options);
  }

  /** Signals the agent of a node; with KILL, TERM or INT, waits until it has ended. */
  async kill(node: string, signal: string): Promise<void> {
    await signalAgent(findNode(await loadState(this.directory), node), signal);
  }

  /** Starts the agent of a node again and waits until it is ready. */
  async start(node: string): Promise<void> {
    await startAgent(this.directory, node);
  }

  /** Removes everything. */
  async down(): Promise<void> {
    await tearDown(this.directory);
    if (this.#guard !== undefined) await endGuard(this.#guard);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#guard !== undefined) await this.down();
  }
}

/** How a command is run. */
export interface ExecOptions {
  /** text for its standard input; nothing when absent */
  readonly stdin?: string | Uint8Array<ArrayBuffer>;
  readonly env?: Readonly<Record<string, string>>;
  /** after which it is killed (status 137) @default {30000} */
  readonly timeoutMs?: number;
}

/** How a command ended. */
export interface ExecResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

async function runToEnd(argv: readonly string[], options: ExecOptions): Promise<ExecResult> {
  const { stdin, env, timeoutMs = 30_000 } = options;
  // `timeout` kills the whole process group: a grandchild would keep the pipes open.
  const limit = ["timeout", "-s", "KILL", String(timeoutMs / 1000)];
  const child = toCommand([...limit, ...argv], {
    stdin: stdin === undefined ? "null" : "piped",
    stdout: "piped",
    stderr: "piped",
    clearEnv: true,
    env: { ...environmentInside(), ...env },
  }).spawn();
  const [output] = await Promise.all([child.output(), feed(child, stdin)]);
  const decoder = new TextDecoder();
  return {
    code: output.code,
    stdout: decoder.decode(output.stdout),
    stderr: decoder.decode(output.stderr),
  };
}

async function feed(child: Deno.ChildProcess, stdin: ExecOptions["stdin"]): Promise<void> {
  if (stdin === undefined) return;
  // A command that does not read to the end is no failure of ours.
  await new Blob([stdin]).stream().pipeTo(child.stdin).catch(() => undefined);
}

/** A shell that brings the testbed down when our end of its pipe closes without a word. */
function spawnGuard(directory: string): Deno.ChildProcess {
  const main = `${dirname(fileURLToPath(import.meta.url))}/main.ts`;
  const script = 'read -r word || exec "$@" >/dev/null 2>&1';
  const down = [Deno.execPath(), "run", "-A", main, "down", "--state", directory];
  return toCommand(["setsid", "sh", "-c", script, "sh", ...down], {
    stdin: "piped",
    stdout: "null",
    stderr: "null",
    cwd: "/",
  }).spawn();
}

async function endGuard(guard: Deno.ChildProcess): Promise<void> {
  const writer = guard.stdin.getWriter();
  await writer.write(new TextEncoder().encode("done\n"));
  await writer.close();
  await guard.status;
}

function found<T>(value: T | undefined): T {
  if (value === undefined) throw new TestbedError("Cannot describe what was found");
  return value;
}
