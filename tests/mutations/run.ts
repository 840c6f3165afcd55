/**
 * Runs one test of a scratch copy. In: its file and names. Out: whether it passed, failed by an
 * assertion of its own, or could not show anything.
 *
 * Invariant: only an assertion of that very test counts as its failure. A hook that throws, a
 * program that does not start, a test that hangs show that something is broken, not that the test
 * would notice what it is there for. Nothing of a run outlives it: its processes are known by a
 * variable of their environment, network namespaces by the process that made them.
 *
 * @module
 */
import { readCases } from "@/scripts/rings/junit.ts";
import { findProcesses } from "@/scripts/rings/leftovers.ts";
import type { Clause } from "@/tests/node/clauses/clause.ts";
import { removeStrayNamespaces } from "@/tests/support/namespaces.ts";
import { CHOSEN_VARIABLE } from "./chosen.ts";
import type { ScratchCopy } from "./copy.ts";

/** Longest time that one test may take, with its fixture. */
const LIMIT_MS = 240_000;
const MARKER = "WEFT_MUTATION_RUN";

/** What became of a test. */
export type Outcome =
  | { readonly kind: "passed" }
  | { readonly kind: "failed"; readonly message: string }
  | { readonly kind: "broken"; readonly message: string };

/** Runs one test to its end, its limit, or until `signal`. */
export async function runTest(
  copy: ScratchCopy,
  test: Clause["test"],
  signal: AbortSignal,
): Promise<Outcome> {
  const marker = crypto.randomUUID();
  const report = `${copy.root}/report.xml`;
  const log = `${copy.root}/log`;
  await Deno.remove(report).catch(() => undefined);
  const args = ["test", "-A", "--no-check", "--quiet", `--junit-path=${report}`, test.file];
  // To a file: a pipe would stay open as long as the last of its grandchildren.
  const script = 'log=$1; shift; exec "$@" >"$log" 2>&1';
  const child = new Deno.Command("sh", {
    args: ["-c", script, "sh", log, Deno.execPath(), ...args],
    cwd: copy.root,
    stdin: "null",
    env: {
      NO_COLOR: "1",
      TMPDIR: copy.temporary,
      WEFT_BIN: `${copy.root}/dist/weft`,
      [CHOSEN_VARIABLE]: JSON.stringify(test.name),
      [MARKER]: marker,
    },
  }).spawn();
  const limit = AbortSignal.any([signal, AbortSignal.timeout(LIMIT_MS)]);
  const stop = () => child.kill("SIGTERM");
  limit.addEventListener("abort", stop, { once: true });
  await child.status;
  limit.removeEventListener("abort", stop);
  await clearUp(`${MARKER}=${marker}`);
  signal.throwIfAborted();
  if (limit.aborted) return { kind: "broken", message: `takes more than ${LIMIT_MS} ms` };
  return judge(await Deno.readTextFile(report).catch(() => ""), test.name, log);
}

async function judge(text: string, name: readonly string[], log: string): Promise<Outcome> {
  const cases = readCases(text);
  const own = cases.find((each) => each.name === name.join(" > "));
  if (own?.outcome === "passed") return { kind: "passed" };
  const failed = own ?? cases.find(({ outcome }) => outcome === "failed");
  if (failed?.outcome === "failed") {
    const isOwn = failed === own && /AssertionError/.test(failed.failure);
    return { kind: isOwn ? "failed" : "broken", message: firstLines(failed.failure) };
  }
  const output = await Deno.readTextFile(log).catch(() => "");
  return { kind: "broken", message: `did not run: ${firstLines(output) || "no such test"}` };
}

/** What a run that was ended left behind. A testbed goes by itself: it has a guard. */
async function clearUp(marker: string): Promise<void> {
  await removeStrayNamespaces();
  const deadline = performance.now() + GUARD_MS;
  for (;;) {
    // deno-lint-ignore no-await-in-loop -- until they are gone
    const left = await findProcesses(marker);
    if (left.length === 0) return;
    if (performance.now() > deadline) return left.forEach(kill);
    // The guard of a testbed takes a moment; nobody tells when a stranger's child is gone.
    // deno-lint-ignore no-await-in-loop
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

/** How long a testbed's guard has. */
const GUARD_MS = 15_000;

function kill(pid: number): void {
  try {
    Deno.kill(pid, "SIGKILL");
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

function firstLines(text: string): string {
  return text.split("\n").map((line) => line.trim()).filter((line) => line !== "").slice(0, 3)
    .join(" | ").slice(0, 200);
}
