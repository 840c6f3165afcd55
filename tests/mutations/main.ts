/**
 * Shows that the tests of the promises can fail: `deno task test:mutations`. In: the sections of
 * `tests/node/clauses`. Out: a line for each promise, `red` if its test fails once its mutation is
 * made and passes without it, and a summary; exit status 0 only if all are red.
 *
 *     deno task test:mutations [--section NAME] [--only TEXT] [--list]
 *
 * @module
 */
import { parseArgs } from "node:util";
import { say } from "@/scripts/lib/terminal.ts";
import type { Clause } from "@/tests/node/clauses/clause.ts";
import { SECTIONS } from "@/tests/node/clauses/mod.ts";
import { ScratchCopy } from "./copy.ts";
import { type Outcome, runTest } from "./run.ts";

interface Choice {
  readonly section: string;
  readonly clause: Clause;
}

async function main(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      section: { type: "string", multiple: true },
      only: { type: "string" },
      list: { type: "boolean" },
    },
  });
  const chosen = choose(values.section ?? [], values.only ?? "");
  if (values.list) {
    for (const { section, clause } of chosen) {
      say(`${section}: ${clause.promise}\n  ${clause.test.file}: ${clause.test.name.join(" > ")}`);
    }
    return 0;
  }
  if (Deno.uid() !== 0) throw new Error("Cannot run the tests of the promises: they need root");
  return await runAll(chosen);
}

function choose(sections: readonly string[], text: string): Choice[] {
  const unknown = sections.filter((name) => !(name in SECTIONS));
  if (unknown.length > 0) {
    const known = Object.keys(SECTIONS).join(", ");
    throw new TypeError(`Unknown section "${unknown.join(", ")}": there are ${known}`);
  }
  return Object.entries(SECTIONS)
    .filter(([section]) => sections.length === 0 || sections.includes(section))
    .flatMap(([section, clauses]) => clauses.map((clause) => ({ section, clause })))
    .filter(({ clause }) => JSON.stringify(clause).toLowerCase().includes(text.toLowerCase()));
}

async function runAll(chosen: readonly Choice[]): Promise<number> {
  const abort = new AbortController();
  const interrupt = () => abort.abort(new Error("Interrupted"));
  const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
  for (const signal of signals) Deno.addSignalListener(signal, interrupt);
  try {
    await using copy = await ScratchCopy.make();
    const bench = new Bench(copy, abort.signal);
    let green = 0;
    for (const { section, clause } of chosen) {
      // deno-lint-ignore no-await-in-loop -- they share the copy and the machine
      const verdict = await bench.judge(clause);
      if (!verdict.isRed) green++;
      say(
        `${verdict.text.padEnd(11)} ${section}: ${clause.promise}\n${" ".repeat(12)}${verdict.why}`,
      );
    }
    say(`\n${chosen.length - green} red, ${green} green`);
    return green > 0 || chosen.length === 0 ? 1 : 0;
  } catch (error) {
    if (!abort.signal.aborted) throw error;
    say("\ninterrupted; nothing is left behind");
    return 130;
  } finally {
    for (const signal of signals) Deno.removeSignalListener(signal, interrupt);
  }
}

interface Verdict {
  readonly isRed: boolean;
  readonly text: string;
  readonly why: string;
}

/** Judges promises in one copy; a test that several share is run once without a mutation. */
class Bench {
  readonly #copy: ScratchCopy;
  readonly #signal: AbortSignal;
  readonly #unchanged = new Map<string, Promise<Outcome>>();

  constructor(copy: ScratchCopy, signal: AbortSignal) {
    this.#copy = copy;
    this.#signal = signal;
  }

  async judge({ test, mutation }: Clause): Promise<Verdict> {
    const key = JSON.stringify(test);
    const sound = this.#unchanged.get(key) ?? runTest(this.#copy, test, this.#signal);
    this.#unchanged.set(key, sound);
    const before = await sound;
    if (before.kind !== "passed") {
      return { isRed: false, text: "NOT GREEN", why: `without the mutation: ${before.message}` };
    }
    let after: Outcome;
    try {
      await using _mutated = await this.#copy.mutate(mutation);
      after = await runTest(this.#copy, test, this.#signal);
    } catch (error) {
      this.#signal.throwIfAborted();
      const reason = error instanceof Error ? error.message : String(error);
      return { isRed: false, text: "NOT MADE", why: reason.slice(0, 300) };
    }
    if (after.kind === "failed") return { isRed: true, text: "red", why: after.message };
    const why = `${mutation.file}: "${mutation.find}" became "${mutation.put}"`;
    return after.kind === "passed"
      ? { isRed: false, text: "STILL GREEN", why }
      : { isRed: false, text: "NO VERDICT", why: `no assertion of the test: ${after.message}` };
  }
}

if (import.meta.main) Deno.exit(await main(Deno.args));
