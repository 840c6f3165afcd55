/**
 * The stage of the walkthrough: a working folder with the seed's files, a testbed of one node and
 * one of two, and what has been done on them so far.
 *
 * In: a need. Out: it is met, once, and told to a narrator where there is one. Invariant: all that
 * the demo makes is in the working folder or in one of the two testbeds, so that `dispose`, or
 * after a `kill -9` the guards of testbeds and folder, leave nothing behind.
 *
 * @module
 */
import { fileURLToPath } from "node:url";
import type { StatusReport } from "@/src/observe/report.ts";
import { tearDown, upTestbed } from "@/tests/testbed/commands.ts";
import { type ExecOptions, type ExecResult, Testbed } from "@/tests/testbed/mod.ts";
import { shellText } from "./screen.ts";
import type { Told } from "./step.ts";
import { linesOf } from "./words.ts";

/** What a step can need: pods on one node, the policy, frontend in the mesh; two nodes. */
export type Need = "pods" | "policy" | "enrolled" | "two-nodes";

/** Something that a spectator can act on. */
export class SceneError extends Error {
  override readonly name = "SceneError";
}

/** A command that has ended. */
export interface Ran extends ExecResult {
  readonly elapsedMs: number;
}

/** How a command is run and shown. */
export interface RunOptions extends ExecOptions {
  /** which lines of its output are shown @default {all} */
  readonly show?: RegExp | "nothing";
  /** what is shown as the command */
  readonly as?: string;
}

const IN_FORCE_TIMEOUT_MS = 15_000;
/** A command of the demo takes far less, or hangs. */
const COMMAND_TIMEOUT_MS = 10_000;

export class Scene implements AsyncDisposable {
  /** the working folder, in which commands are run */
  readonly directory: string;
  /** TLS secrets of the node of the first testbed */
  readonly keylog: string;
  readonly #keep: boolean;
  readonly #home: string;
  #guard: Deno.ChildProcess | undefined;
  readonly #interrupt = new AbortController();
  readonly #done = new Set<Need>();
  readonly #beds = new Map<"one" | "two", Testbed>();

  static async open(options: { readonly keep?: boolean } = {}): Promise<Scene> {
    const directory = await Deno.makeTempDir({ dir: "/run", prefix: "weft-demo-" });
    const scene = new Scene(directory, options.keep ?? false);
    await scene.#copyFiles();
    Deno.chdir(directory);
    if (!scene.#keep) scene.#guard = spawnGuard(directory);
    return scene;
  }

  private constructor(directory: string, keep: boolean) {
    this.directory = directory;
    this.keylog = `${directory}/keys.log`;
    this.#keep = keep;
    this.#home = Deno.cwd();
  }

  /** The testbed of one node. */
  get one(): Testbed {
    return this.#bed("one");
  }

  /** The testbed of two nodes. */
  get two(): Testbed {
    return this.#bed("two");
  }

  /** Directories of the testbeds that are up. */
  get directories(): string[] {
    return [...this.#beds.values()].map(({ directory }) => directory);
  }

  /** Meets a need, if it is not met already, and those before it. */
  async provide(need: Need, told?: Told): Promise<void> {
    if (this.#done.has(need)) return;
    switch (need) {
      case "pods":
        await this.#up("one", { nodes: 1, source: "seed", told });
        break;
      case "policy":
        await this.provide("pods");
        await this.apply("one", "policy.yaml", told);
        await this.inForce(this.one, "node-1", ({ policies }) => policies.length === 1);
        break;
      case "enrolled":
        await this.provide("pods");
        await this.apply("one", "frontend-enrolled.yaml", told);
        await this.inForce(
          this.one,
          "node-1",
          ({ pods }) =>
            pods.some(({ name, enrolled, certificate }) =>
              name.startsWith("default/frontend-") && enrolled && certificate !== undefined
            ),
        );
        break;
      case "two-nodes":
        await this.#up("two", { nodes: 2, source: "two-nodes", told });
        break;
    }
    this.#done.add(need);
  }

  /** Says that a need is met no longer. */
  withdraw(need: Need): void {
    this.#done.delete(need);
  }

  /** Applies a file of the working folder. */
  async apply(bed: "one" | "two", file: string, told?: Told): Promise<void> {
    told?.screen.command("$", `testbed apply ${file}`);
    for (const { object, what } of await this.#bed(bed).apply(file)) {
      told?.screen.output(`${object.kind} ${object.namespace}/${object.name} ${what}`);
    }
  }

  /** Waits until an agent says that it has what is wanted, and has brought it to the kernel. */
  async inForce(
    bed: Testbed,
    node: string,
    holds: (status: StatusReport) => boolean,
  ): Promise<void> {
    const deadline = performance.now() + IN_FORCE_TIMEOUT_MS;
    // Twice: what the model knows is in the kernel one step later.
    for (let seen = 0; seen < 2;) {
      // deno-lint-ignore no-await-in-loop -- until it holds
      const status = await this.status(bed, node);
      if (status !== undefined && holds(status)) seen++;
      else if (performance.now() > deadline) {
        const problems = status?.problems.join("; ") || "it does not show in its status";
        throw new SceneError(`The agent of ${node} does not take what was applied: ${problems}`);
      }
    }
  }

  /** `weft status -o json`. */
  async status(bed: Testbed, node: string): Promise<StatusReport | undefined> {
    const { stdout } = await bed.weft(node, ["status", "-o", "json"]);
    return stdout === "" ? undefined : JSON.parse(stdout) as StatusReport;
  }

  /** Runs a command in a pod ("default/frontend"), on a node or outside, and shows both. */
  async run(
    told: Told,
    bed: Testbed,
    place: string,
    argv: readonly string[],
    options: RunOptions = {},
  ): Promise<Ran> {
    told.screen.command(`${place.replace(/^default\//, "")}$`, options.as ?? shellText(argv));
    const start = performance.now();
    const result = await bed.exec(place, argv, { timeoutMs: COMMAND_TIMEOUT_MS, ...options });
    return this.#show(told, { ...result, elapsedMs: performance.now() - start }, options);
  }

  /** Runs weft's command line against the agent of a node, and shows both. */
  async weft(
    told: Told,
    bed: Testbed,
    node: string,
    args: readonly string[],
    options: RunOptions = {},
  ): Promise<Ran> {
    told.screen.command(`${node}#`, options.as ?? `weft ${shellText(args)}`);
    const start = performance.now();
    const result = await bed.weft(node, args, options);
    return this.#show(told, { ...result, elapsedMs: performance.now() - start }, options);
  }

  /** Removes everything, at once: also a testbed that is just being made. */
  async clear(): Promise<void> {
    this.#interrupt.abort();
    Deno.chdir(this.#home);
    await Promise.all(["one", "two"].map((name) => tearDown(`${this.directory}/${name}`)));
    await Deno.remove(this.directory, { recursive: true }).catch(() => undefined);
    await this.#dismissGuard();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    Deno.chdir(this.#home);
    if (this.#keep) return;
    await Promise.all([...this.#beds.values()].map((bed) => bed.down()));
    await Deno.remove(this.directory, { recursive: true });
    await this.#dismissGuard();
  }

  /** Without its folder it has nothing to do. */
  async #dismissGuard(): Promise<void> {
    await this.#guard?.stdin.close();
    await this.#guard?.status;
    this.#guard = undefined;
  }

  #bed(name: "one" | "two"): Testbed {
    const bed = this.#beds.get(name);
    if (bed !== undefined) return bed;
    throw new SceneError("The pods are not there: the step that brings them up has failed");
  }

  async #up(
    name: "one" | "two",
    { nodes, source, told }: { nodes: number; source: string; told: Told | undefined },
  ): Promise<void> {
    const agentArgs = name === "one" ? ["--insecure-keylog", this.keylog] : [];
    const directory = `${this.directory}/${name}`;
    const { signal } = this.#interrupt;
    signal.throwIfAborted();
    const options = { nodes, source: `${this.directory}/${source}`, agentArgs, signal };
    const shown = name === "one" ? "-- --insecure-keylog keys.log" : `--nodes ${nodes}`;
    told?.screen.command("$", `testbed up --source ${source} ${shown}`);
    if (!this.#keep) {
      this.#beds.set(name, await Testbed.up({ directory, ...options }));
      return;
    }
    // Without a guard: it is to stay when this process ends.
    await upTestbed(directory, options);
    this.#beds.set(name, await Testbed.open(directory));
  }

  #show(told: Told, ran: Ran, { show }: RunOptions): Ran {
    if (show === "nothing") return ran;
    for (const line of linesOf(`${ran.stdout}\n${ran.stderr}`)) {
      if (show === undefined || show.test(line)) told.screen.output(line);
    }
    return ran;
  }

  async #copyFiles(): Promise<void> {
    const seed = fileURLToPath(import.meta.resolve("@/tests/seed"));
    const own = fileURLToPath(import.meta.resolve("./manifests"));
    const read = (name: string) => Deno.readTextFile(`${seed}/${name}`);
    const write = (name: string, text: string) =>
      Deno.writeTextFile(`${this.directory}/${name}`, text);
    for (const name of ["seed", "two-nodes"]) Deno.mkdirSync(`${this.directory}/${name}`);
    const [frontend, backend, policy] = await Promise.all(
      ["frontend.yaml", "backend.yaml", "policy.yaml"].map(read),
    ) as [string, string, string];
    const enrolled = withLabel(frontend);
    const own1 = (name: string, node: string, text: string) =>
      text.replace("    spec:\n", `    spec:\n      serviceAccountName: ${name}\n`)
        .replace("    spec:\n", `    spec:\n      nodeName: ${node}\n`);
    await Promise.all([
      write("seed/frontend.yaml", frontend),
      write("seed/backend.yaml", backend),
      write("policy.yaml", policy),
      write("frontend-enrolled.yaml", enrolled),
      write("two-nodes/frontend.yaml", own1("frontend", "node-1", enrolled)),
      write("two-nodes/backend.yaml", own1("backend", "node-2", backend)),
      write("two-nodes/policy.yaml", policy),
      Deno.copyFile(`${own}/client.yaml`, `${this.directory}/client.yaml`),
      Deno.copyFile(`${own}/two_nodes.yaml`, `${this.directory}/two-nodes/others.yaml`),
    ]);
  }
}

/** Removes the folder after the testbeds in it, should this process end without doing so. */
function spawnGuard(directory: string): Deno.ChildProcess {
  const script = 'read -r word; while [ -e "$1/one" ] || [ -e "$1/two" ]; do sleep 0.2; done; ' +
    'rm -rf "$1"';
  return new Deno.Command("setsid", {
    args: ["sh", "-c", script, "sh", directory],
    cwd: "/",
    stdin: "piped",
    stdout: "null",
    stderr: "null",
  }).spawn();
}

/** The seed's Deployment with the label that brings its pod into the mesh. */
function withLabel(deployment: string): string {
  const before = "      labels:\n        app: frontend\n";
  if (deployment.split(before).length !== 2) throw new SceneError("The seed has other labels now");
  return deployment.replace(before, `${before}        mesh.cilium.io/enrolled: "true"\n`);
}
