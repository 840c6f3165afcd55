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
  /** Longest time that the ring may take. */
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
    limitMs: 5 * MINUTE_MS,
    paths: ["tests/build"],
  },
  {
    name: "cli",
    description: "the commands as a person types them",
    needsRoot: true,
    limitMs: 5 * MINUTE_MS,
    paths: ["tests/cli"],
  },
  {
    name: "kernel",
    description: "programs and maps in this kernel",
    needsRoot: true,
    limitMs: 5 * MINUTE_MS,
    paths: ["tests/kernel"],
  },
  {
    name: "node",
    description: "nodes and pods in network namespaces, with the real executable",
    needsRoot: true,
    limitMs: 15 * MINUTE_MS,
    paths: ["tests/node"],
  },
];

/** Runs one ring to its end or its limit. */
export async function runRing(ring: Ring): Promise<TestCounts> {
  if (ring.steps !== undefined) return await runSteps(ring, ring.steps);
  const paths = await existing(ring.paths ?? []);
  if (paths.length === 0) {
    return { passed: 0, failed: [], skipped: ["all of it: has no tests yet"] };
  }
  if (ring.needsRoot) await build(); // the rings of root use the executable of now
  return await runTests(ring, paths);
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

async function runTests(ring: Ring, paths: readonly string[]): Promise<TestCounts> {
  const scratch = await Deno.makeTempDir({ prefix: "weft-test." });
  try {
    const report = `${scratch}/report.xml`;
    const flags = ["-A", "--no-check", "--quiet", `--junit-path=${report}`];
    if (ring.parallel) flags.push("--parallel", "--reporter=dot");
    const succeeded = await runDeno(["test", ...flags, ...paths], ring.limitMs);
    const counts = countTests(await Deno.readTextFile(report).catch(() => ""));
    const failed = [...counts.failed];
    if (!succeeded && failed.length === 0) failed.push("deno test ended badly; see its output");
    if (counts.passed + failed.length + counts.skipped.length === 0) failed.push("ran no test");
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
    say(`"deno ${args.join(" ")}" took more than ${limitMs / MINUTE_MS} minutes`);
    child.kill("SIGTERM");
  }, limitMs);
  try {
    return (await child.status).success;
  } finally {
    clearTimeout(timer);
  }
}

/** Those of `paths` that are files or hold a test file somewhere. */
async function existing(paths: readonly string[]): Promise<string[]> {
  const found = await Promise.all(paths.map(async (path) => await hasTests(path) ? [path] : []));
  return found.flat();
}

async function hasTests(path: string): Promise<boolean> {
  const info = await Deno.stat(path).catch(() => undefined);
  if (info === undefined) return false;
  if (info.isFile) return path.endsWith("_test.ts");
  const entries = await Array.fromAsync(Deno.readDir(path));
  const inner = await Promise.all(entries.map(({ name }) => hasTests(`${path}/${name}`)));
  return inner.includes(true);
}
