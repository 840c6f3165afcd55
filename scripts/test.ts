/**
 * Runs the rings of tests, cheapest first, and says in the last line how many passed and failed.
 *
 * In: names of rings (none: all of them). Out: `N passed, N failed, N skipped`, the reasons for
 * what was skipped, and an exit status that agrees: 0 only if tests ran and none failed.
 *
 * Invariant: the machine is left as it was. What bears the project's name is listed before and
 * after (rings/leftovers.ts); a difference is a failure, and processes that the run left are
 * ended. A ring that ends badly, runs too long or runs no test is a failure even if its report
 * shows none.
 *
 * @module
 */

import type { TestCounts } from "./rings/junit.ts";
import { describeProcess, findProcesses, takeInventory } from "./rings/leftovers.ts";
import { type Ring, RINGS, runRing } from "./rings/rings.ts";
import { projectRoot, say } from "./lib/terminal.ts";

/** Variable by which the run's own processes are known. */
const MARKER = "WEFT_TEST_RUN";

/** What still goes away by itself after the tests, such as a namespace in the kernel's hands. */
const SETTLE_MS_MAX = 10_000;

async function main(names: readonly string[]): Promise<number> {
  const rings = chooseRings(names);
  const isRoot = Deno.uid() === 0;
  if (!isRoot && Deno.env.get("CI") === "true") {
    throw new Error("CI runs every ring: it needs root");
  }
  const marker = crypto.randomUUID();
  Deno.env.set(MARKER, marker);
  Deno.chdir(projectRoot());

  const before = await takeInventory();
  const total = { passed: 0, failed: [] as string[], skipped: [] as string[] };
  for (const ring of rings) {
    say(`\n── ${ring.name}: ${ring.description}`);
    const start = performance.now();
    // One ring after the other: they share the machine.
    // deno-lint-ignore no-await-in-loop
    const counts = ring.needsRoot && !isRoot ? skipRing(ring) : await tryRing(ring);
    say(`── ${ring.name}: ${summary(counts)} in ${seconds(start)} s`);
    total.passed += counts.passed;
    total.failed.push(...counts.failed.map((name) => `${ring.name}: ${name}`));
    total.skipped.push(...counts.skipped.map((name) => `${ring.name}: ${name}`));
  }
  const leftovers = await findLeftovers(before, `${MARKER}=${marker}`);
  for (const name of leftovers) say(`left     ${name}`);
  if (leftovers.length > 0) total.failed.push(`${leftovers.length} things left on the machine`);
  else total.passed++; // that it was left as it was is a test, too

  for (const name of total.skipped) say(`skipped  ${name}`);
  for (const name of total.failed) say(`FAILED   ${name}`);
  say(`\n${summary(total)}`);
  return total.failed.length > 0 || total.passed === 0 ? 1 : 0;
}

function chooseRings(names: readonly string[]): readonly Ring[] {
  const unknown = names.filter((name) => !RINGS.some((ring) => ring.name === name));
  if (unknown.length > 0) {
    const known = RINGS.map((ring) => ring.name).join(", ");
    throw new Error(`Unknown ring "${unknown.join(", ")}", want some of ${known}`);
  }
  return names.length === 0 ? RINGS : RINGS.filter((ring) => names.includes(ring.name));
}

function skipRing(ring: Ring): TestCounts {
  return { passed: 0, failed: [], skipped: [`all of it: needs root (${ring.description})`] };
}

/** A ring that cannot be run is a failure, and the next ones are run all the same. */
async function tryRing(ring: Ring): Promise<TestCounts> {
  try {
    return await runRing(ring);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return { passed: 0, failed: [`cannot be run: ${reason}`], skipped: [] };
  }
}

/** Names what is on the machine now and was not before, once it had time to go. */
async function findLeftovers(before: ReadonlySet<string>, marker: string): Promise<string[]> {
  const deadline = performance.now() + SETTLE_MS_MAX;
  for (;;) {
    // deno-lint-ignore no-await-in-loop
    const [pids, after] = await Promise.all([findProcesses(marker), takeInventory()]);
    const things = [...after.difference(before)];
    if (pids.length + things.length === 0) return [];
    if (performance.now() > deadline) {
      // deno-lint-ignore no-await-in-loop
      const processes = await Promise.all(pids.map(describeProcess));
      for (const pid of pids) endProcess(pid);
      return [...things, ...processes];
    }
    // The kernel tells nobody when a namespace or a program is gone.
    // deno-lint-ignore no-await-in-loop
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

function endProcess(pid: number): void {
  try {
    Deno.kill(pid, "SIGKILL");
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

function summary(counts: TestCounts): string {
  const skipped = counts.skipped.length > 0 ? `, ${counts.skipped.length} skipped` : "";
  return `${counts.passed} passed, ${counts.failed.length} failed${skipped}`;
}

function seconds(start: number): string {
  return ((performance.now() - start) / 1000).toFixed(1);
}

if (import.meta.main) Deno.exit(await main(Deno.args));
