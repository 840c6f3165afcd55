/**
 * `bench relay`: what the mesh costs, beside what others cost and beside nothing.
 *
 * In: how many rounds. Out: tables, and the number of loads that failed. Invariant: one load runs
 * at a time; in each round every path has its turn under every load, in an order that rotates, so
 * that what else the machine does meets all of them alike.
 *
 * @module
 */
import { measureIdle } from "./idle.ts";
import { type Load, LOADS } from "./load.ts";
import { describeMachine } from "./machine.ts";
import type { Sample } from "./samples.ts";
import { type Path, type PathName, Stage } from "./stage.ts";
import { renderTables } from "./table.ts";
import { cpuSeconds } from "./usage.ts";

export interface RelayBenchOptions {
  readonly rounds: number;
  /** relay threads of each node, and threads of each hop of the peers */
  readonly threads: number;
  /** names of loads, or "idle"; all without it */
  readonly only?: readonly string[];
  /** file for every sample */
  readonly json?: string;
  readonly signal: AbortSignal;
  /** takes the result */
  readonly print: (text: string) => void;
  /** takes what happens meanwhile */
  readonly progress: (text: string) => void;
}

/** Runs it; returns how many loads failed. */
export async function benchRelay(options: RelayBenchOptions): Promise<number> {
  const wanted = (name: string) => options.only?.includes(name) ?? true;
  options.progress("bringing up two testbeds\n");
  await using stage = await Stage.open(options.threads, options.signal);
  const machine = await describeMachine(stage);
  const record = new Notebook(options);
  const loads = LOADS.filter(({ name }) => wanted(name));
  for (const path of wanted("idle") ? IDLE_PATHS : []) {
    // deno-lint-ignore no-await-in-loop -- one load at a time
    await record.take(0, "idle", stage.path(path), measureIdle);
  }
  for (let round = 1; round <= options.rounds; round++) {
    // deno-lint-ignore no-await-in-loop -- one load at a time
    await playRound(round, loads, stage, record);
  }
  const { samples, faults } = record;
  const text = renderTables({ machine, samples, loads, faults, rounds: options.rounds });
  options.print(text);
  if (options.json !== undefined) {
    const report = { machine, cipher: stage.cipher, rounds: options.rounds, samples, faults };
    await Deno.writeTextFile(options.json, JSON.stringify(report, undefined, 1));
  }
  return faults.length;
}

const IDLE_PATHS: readonly PathName[] = ["nginx", "haproxy", "weft"];

/** Buffers matter to bulk alone; the attested path is looked at by one load of each kind. */
function pathsOf(load: Load): readonly PathName[] {
  const far: PathName[] = load.isBulk
    ? ["no mesh", "nginx", "nginx-64k", "haproxy", "haproxy-64k", "weft"]
    : ["no mesh", "nginx", "haproxy", "weft"];
  if (load.isBulk && load.name !== "up1") return far;
  return [...far, "near: no mesh", "near: weft attest"];
}

async function playRound(
  round: number,
  loads: readonly Load[],
  stage: Stage,
  record: Notebook,
): Promise<void> {
  for (const load of loads) {
    for (const name of rotate(pathsOf(load), round)) {
      // deno-lint-ignore no-await-in-loop -- one load at a time
      await record.take(round, load.name, stage.path(name), (path) => measureLoad(load, path));
    }
  }
}

/** Every other round backwards: a drift that is steady then cancels out. */
function rotate<T>(items: readonly T[], by: number): T[] {
  const at = by % items.length;
  const rotated = [...items.slice(at), ...items.slice(0, at)];
  return by % 2 === 0 ? rotated.reverse() : rotated;
}

/** A rate, and what it cost the proxies; percentiles where there are some. */
async function measureLoad(load: Load, path: Path): Promise<Record<string, number>> {
  const pids = [...path.proxies.client, ...path.proxies.server];
  const before = cpuSeconds(pids);
  const { rate, carried, p50Us, p99Us } = await load.drive(path.bed, path.target);
  const used = cpuSeconds(pids) - before;
  return {
    rate,
    cost: used / carried,
    ...(p50Us !== undefined && { p50Us }),
    ...(p99Us !== undefined && { p99Us }),
  };
}

/** Samples and failures, in the order in which they came. */
class Notebook {
  readonly samples: Sample[] = [];
  readonly faults: string[] = [];
  readonly #options: RelayBenchOptions;

  constructor(options: RelayBenchOptions) {
    this.#options = options;
  }

  /** Measures one path; a failure is kept, and the others go on. */
  async take(
    round: number,
    load: string,
    path: Path,
    measure: (path: Path) => Promise<Record<string, number>>,
  ): Promise<void> {
    this.#options.signal.throwIfAborted();
    const what = `round ${round}, ${load}, ${path.name}`;
    try {
      const figures = await measure(path);
      this.samples.push({ round, load, path: path.name, figures });
      const text = Object.entries(figures).map(([name, value]) =>
        `${name} ${value.toPrecision(4)}`
      );
      this.#options.progress(`${what}: ${text.join(", ")}\n`);
    } catch (error) {
      const fault = `${what}: ${error instanceof Error ? error.message : String(error)}`;
      this.faults.push(fault);
      this.#options.progress(`FAILED ${fault}\n`);
    }
  }
}
