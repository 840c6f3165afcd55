/**
 * The rings of tests and how one of them is run. In: a ring. Out: what its tests did.
 *
 * The gate's steps are commands, each of which counts as one test; the other rings are folders of
 * tests that `deno test` runs, counted from its JUnit report. Rings are in order of cost.
 *
 * @module
 */

import { build } from "../build.ts";
import { countTests, type TestCounts } from "./junit.ts";
import { say } from "../lib/terminal.ts";

export interface Ring {
  readonly name: string;
  readonly description: string;
  readonly needsRoot: boolean;
  /** Longest time that a step, a test file or, in parallel, all of them may take. */
  readonly limitMs: number;
  /** Commands to run, arguments of deno; each is one test. */
  readonly steps?: readonly (readonly string[])[];
  /** Files and folders of tests. */
  readonly paths?: readonly string[];
  /** Run test files beside each other, a process for each core. */
  readonly parallel?: boolean;
}

const MINUTE_MS = 60_000;

export const RINGS: readonly Ring[] = [
  {
    name: "gate",
    description: "format, lint, types, generated files",
    needsRoot: false,
    limitMs: 5 * MINUTE_MS,
    steps: [
      ["fmt", "--check", "--quiet"],
      ["lint", "--quiet"],
      ["check", "--quiet"],
      ["run", "-A", "scripts/bpf.ts"],
      ["run", "-A", "scripts/layout.ts", "--check"],
      ["run", "-A", "scripts/build.ts"],
    ],
  },
  {
    name: "unit",
    description: "pure code and files; no privileges",
    needsRoot: false,
    limitMs: 5 * MINUTE_MS,
    paths: ["tests/tidy_test.ts", "tests/unit"],
    parallel: true,
  },
  {
    name: "golden",
    description: "policies and what becomes of them",
    needsRoot: false,
    limitMs: 3 * MINUTE_MS,
    paths: ["tests/golden"],
  },
  {
    name: "property",
    description: "what must hold for every input, by seed",
    needsRoot: false,
    limitMs: 5 * MINUTE_MS,
    paths: ["tests/property"],
  },
  {
    name: "build",
    description: "dist/weft on machines with nothing installed",
    needsRoot: true,
    limitMs: 3 * MINUTE_MS,
    paths: ["tests/build"],
  },
  {
    name: "cli",
    description: "the commands as a person types them",
    needsRoot: true,
    limitMs: 3 * MINUTE_MS,
    paths: ["tests/cli"],
  },
  {
    name: "kernel",
    description: "programs and maps in this kernel",
    needsRoot: true,
    limitMs: 2 * MINUTE_MS,
    paths: ["tests/kernel"],
  },
  {
    name: "node",
    description: "nodes and pods in network namespaces, with the real executable",
    needsRoot: true,
    limitMs: 6 * MINUTE_MS,
    paths: ["tests/node"],
  },
];

/** Runs one ring to its end or its limit. */
export async function runRing(ring: Ring): Promise<TestCounts> {
  if (ring.steps !== undefined) return await runSteps(ring, ring.steps);
  const files = await findTests(ring.paths ?? []);
  if (files.length === 0) {
    return { passed: 0, failed: [], skipped: ["all of it: has no tests yet"] };
  }
  if (ring.needsRoot) await build(); // the rings of root use the executable of now
  const flags = ["--parallel", "--reporter=dot"];
  return ring.parallel ? await runTests(files, ring.limitMs, flags) : await runFiles(ring, files);
}

async function runSteps(
  ring: Ring,
  steps: readonly (readonly string[])[],
): Promise<TestCounts> {
  const failed: string[] = [];
  for (const step of steps) {
    // In this order: a step uses what those before it made.
    // deno-lint-ignore no-await-in-loop
    if (!await runDeno(step, ring.limitMs)) failed.push(`deno ${step.join(" ")}`);
  }
  return { passed: steps.length - failed.length, failed, skipped: [] };
}

/** Files one after the other, each in a process of its own: one that hangs takes no other along. */
async function runFiles(ring: Ring, files: readonly string[]): Promise<TestCounts> {
  const total = { passed: 0, failed: [] as string[], skipped: [] as string[] };
  for (const file of files) {
    // They share the machine.
    // deno-lint-ignore no-await-in-loop
    const counts = await runTests([file], ring.limitMs);
    total.passed += counts.passed;
    total.failed.push(...counts.failed);
    total.skipped.push(...counts.skipped);
  }
  return total;
}

async function runTests(
  paths: readonly string[],
  limitMs: number,
  flags: readonly string[] = [],
): Promise<TestCounts> {
  const scratch = await Deno.makeTempDir({ prefix: "weft-test." });
  try {
    const report = `${scratch}/report.xml`;
    const args = ["test", "-A", "--no-check", "--quiet", `--junit-path=${report}`, ...flags];
    const succeeded = await runDeno([...args, ...paths], limitMs);
    const counts = countTests(await Deno.readTextFile(report).catch(() => ""));
    const failed = [...counts.failed];
    const isEmpty = counts.passed + failed.length + counts.skipped.length === 0;
    const name = paths.length === 1 ? paths[0] : "deno test";
    if (!succeeded && failed.length === 0) failed.push(`${name} ended badly; see its output`);
    else if (isEmpty) failed.push(`${name} ran no test`);
    return { ...counts, failed };
  } finally {
    await Deno.remove(scratch, { recursive: true });
  }
}

/** Runs this deno with the terminal's output; false if it fails or takes too long. */
async function runDeno(args: readonly string[], limitMs: number): Promise<boolean> {
  const env: Record<string, string> = Deno.stdout.isTerminal() ? {} : { NO_COLOR: "1" };
  const child = new Deno.Command(Deno.execPath(), { args: [...args], stdin: "null", env }).spawn();
  const timer = setTimeout(() => {
    say(`"deno ${args.join(" ")}" took more than ${(limitMs / 1000).toFixed(0)} s`);
    child.kill("SIGTERM");
  }, limitMs);
  try {
    return (await child.status).success;
  } finally {
    clearTimeout(timer);
  }
}

/** The test files that `paths` are or hold, in order. */
async function findTests(paths: readonly string[]): Promise<string[]> {
  const found = await Promise.all(paths.map(async (path) => {
    const info = await Deno.stat(path).catch(() => undefined);
    if (info === undefined) return [];
    if (info.isFile) return path.endsWith("_test.ts") ? [path] : [];
    const entries = await Array.fromAsync(Deno.readDir(path));
    return await findTests(entries.map(({ name }) => `${path}/${name}`).sort());
  }));
  return found.flat();
}
