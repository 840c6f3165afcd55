/**
 * `node:test` with one test in it. In: the names of a test, from the outermost suite on, in the
 * variable CHOSEN_VARIABLE. Out: the same functions, of which those that register anything else do
 * nothing. A scratch copy's import map puts this file in the place of `node:test`.
 *
 * Invariant: suites that do not hold the chosen test are not entered, so that their hooks do not
 * run; those that hold it keep theirs. Not `--filter`: Deno applies it to outermost suites alone.
 *
 * @module
 */
import process from "node:process";

/** Variable that names the test, as a JSON array. */
export const CHOSEN_VARIABLE = "WEFT_CHOSEN_TEST";

const real = process.getBuiltinModule("node:test");
const chosen = JSON.parse(Deno.env.get(CHOSEN_VARIABLE) ?? "[]") as readonly string[];

/** The suites around what is being registered. */
let around: readonly string[] = [];

type Register = (name: string, options: unknown, body?: unknown) => unknown;

/** A suite, entered only if it holds the chosen test. */
export const describe = ((name: string, options: unknown, body?: unknown) => {
  const path = [...around, name];
  if (!path.every((part, index) => part === chosen[index])) return;
  const enter = (suite: () => unknown) => () => {
    const outer = around;
    around = path;
    try {
      return suite();
    } finally {
      around = outer;
    }
  };
  const register = real.describe as Register;
  return typeof options === "function"
    ? register(name, enter(options as () => unknown))
    : register(name, options, enter(body as () => unknown));
}) as typeof real.describe;

/** A test, registered only if it is the chosen one. */
export const it = ((name: string, options: unknown, body?: unknown) => {
  const path = [...around, name];
  const isChosen = path.length === chosen.length &&
    path.every((part, index) => part === chosen[index]);
  if (!isChosen) return;
  const register = real.it as Register;
  return body === undefined ? register(name, options) : register(name, options, body);
}) as typeof real.it;

/** Hooks belong to the suite that is being entered: one that is not entered registers none. */
export const { before, after, beforeEach, afterEach } = real;
