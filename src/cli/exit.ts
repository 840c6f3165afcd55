/**
 * Exit statuses and what an error becomes on standard error. In comes whatever a command threw, out
 * go lines that start with `weft: ` and a status. Invariant: every line is one that the reader can
 * act on; the last ones are hints. Hints are kept here and not in the errors, because only the
 * command line knows that its reader has a shell at hand.
 *
 * @module
 */
import { errorCode, formatError } from "../errors.ts";

/** How weft ends; documented in `weft --help`. */
export const ExitStatus = {
  /** done, healthy, allowed */
  OK: 0,
  /** the answer is no */
  NO: 1,
  /** the command line, a setting or an input file cannot be understood */
  USAGE: 2,
  /** no agent answers */
  NO_AGENT: 3,
  /** what the command was told to use is not there (`weft policy eval --engine kernel`) */
  UNAVAILABLE: 3,
  /** the command failed */
  FAILED: 4,
} as const;
export type ExitStatus = typeof ExitStatus[keyof typeof ExitStatus];

/** For the help of the whole program. */
export const EXIT_STATUS_HELP = `
Exit status:
  0  done, healthy, allowed
  1  the answer is no: degraded, refused, or something required is missing
  2  the command line or a setting cannot be understood
  3  no agent answers on the socket
  4  the command failed
`;

/** The status that an error means. */
export function exitStatusOf(error: unknown): ExitStatus {
  switch (errorCode(error)) {
    case "usage":
    case "config":
      return ExitStatus.USAGE;
    case "unreachable":
      return ExitStatus.NO_AGENT;
    default:
      return ExitStatus.FAILED;
  }
}

/** The lines of an error, hints included. */
export function errorLines(error: unknown): string[] {
  const code = errorCode(error);
  const message = code === "internal" && error instanceof Error && isDefect(error)
    ? `${formatError(error)} (${error.name}; a defect of weft, please report it)`
    : formatError(error);
  return [`weft: ${lowerFirst(message)}`, ...hintsOf(error).map((hint) => `weft: hint: ${hint}`)];
}

/** What to try next. */
function hintsOf(error: unknown): string[] {
  if (!(error instanceof Error)) return [];
  const how = "how" in error ? error.how : undefined;
  switch (errorCode(error)) {
    case "unreachable":
      if (how === "forbidden") return ["the agent answers root only: run this with sudo"];
      if (how === "broken") {
        return [
          "without it the mesh goes on as if it had ended: what must be encrypted is refused as" +
          " agent-down, and changes are not seen; `systemctl restart weft` replaces it",
        ];
      }
      return [
        "is the agent running? Start it with `weft run --source DIR`, or `systemctl start weft`",
        "an agent started with --run-dir DIR is reached with the same --run-dir DIR",
      ];
    case "in-use":
      return ["give each agent of this machine its own --run-dir, --state-dir, --bpffs and --node"];
    case "library":
      return ["the executable that `deno task build` makes carries its libraries: use that one"];
    case "verifier":
    case "unsupported-feature":
      return ["`weft check` lists what weft needs of the kernel"];
    case "map-mismatch":
      return ["the pins are of another version: `weft uninstall` removes them"];
    case "syscall":
    case "datapath":
      if (/\bE(PERM|ACCES)\b/.test(formatError(error))) {
        return ["weft needs root, or CAP_BPF, CAP_NET_ADMIN, CAP_SYS_ADMIN: see `weft check`"];
      }
      return [];
    case "EACCES":
    case "EPERM":
      return ["run this as root"];
    default:
      return [];
  }
}

/** Errors that no input can cause. */
function isDefect(error: Error): boolean {
  return error.name === "AssertionError" || error instanceof TypeError ||
    error instanceof ReferenceError || error instanceof RangeError;
}

/** "Cannot open" → "cannot open"; acronyms and quoted words stay. */
function lowerFirst(text: string): string {
  return /^[A-Z][a-z ]/.test(text) ? text.charAt(0).toLowerCase() + text.slice(1) : text;
}
