/**
 * The testbed's command line, taken apart: a command, flags anywhere before `--`, positional
 * arguments, and the rest after `--`, untouched. By hand, because `exec` should cost as little as
 * it can, and because what follows `--` must never be looked at.
 *
 * @module
 */

/** A command line that cannot be meant. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** A command line. */
export interface ParsedArguments<Flag extends string> {
  readonly command: string;
  /** a switch that was given has the value "" */
  readonly flags: { readonly [Name in Flag]?: string };
  readonly positional: readonly string[];
  /** what follows `--` */
  readonly rest: readonly string[];
}

/** Takes a command line apart; `known` says which flags there are and which take a value. */
export function parseArguments<Flag extends string>(
  args: readonly string[],
  known: Readonly<Record<Flag, "value" | "switch">>,
): ParsedArguments<Flag> {
  const end = args.indexOf("--");
  const own = end < 0 ? [...args] : args.slice(0, end);
  const flags: { [Name in Flag]?: string } = {};
  const positional: string[] = [];
  for (let next = own.shift(); next !== undefined; next = own.shift()) {
    if (!next.startsWith("-")) {
      positional.push(next);
      continue;
    }
    const [name = "", ...joined] = next.split("=");
    if (!isKnown(name, known)) throw new UsageError(`there is no option "${name}"`);
    if (known[name] === "switch") {
      flags[name] = "";
      continue;
    }
    const value = joined.length > 0 ? joined.join("=") : own.shift();
    if (value === undefined) throw new UsageError(`option "${name}" wants a value`);
    flags[name] = value;
  }
  const [command = "", ...others] = positional;
  return { command, flags, positional: others, rest: end < 0 ? [] : args.slice(end + 1) };
}

function isKnown<Flag extends string>(
  name: string,
  known: Readonly<Record<Flag, unknown>>,
): name is Flag {
  return Object.hasOwn(known, name);
}
