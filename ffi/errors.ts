/**
 * What can go wrong below TypeScript: a system call, a missing library, a refused program, a pinned
 * map of another shape.
 *
 * Every class carries a literal `code` and its facts as fields, so that callers decide by value and
 * never by the text of a message. Pointers and buffers never appear in an error.
 *
 * @module
 */

import { errnoName } from "./errno.ts";

/** Any error that `ffi/` throws. */
export type FfiError =
  | SyscallError
  | LibraryError
  | VerifierError
  | MapMismatchError
  | PinKindError;

/** A system call, or a library function that stands for one, failed. */
export class SyscallError extends Error {
  override readonly name = "SyscallError";
  readonly code = "syscall";
  /** Name of the C function. */
  readonly call: string;
  /** Positive error number of Linux. */
  readonly errno: number;
  /** Symbolic name of `errno`, such as "ENOENT". */
  readonly errnoName: string;

  /** `action` is what was attempted, such as `Cannot pin map "addresses"`. */
  constructor(call: string, errno: number, action?: string, options?: ErrorOptions) {
    const failure = `${call} failed with ${errnoName(errno)}`;
    super(action === undefined ? failure : `${action}: ${failure}`, options);
    this.call = call;
    this.errno = errno;
    this.errnoName = errnoName(errno);
  }
}

/** A shared library, or a symbol of it, is not there. */
export class LibraryError extends Error {
  override readonly name = "LibraryError";
  readonly code = "library";
  /** Soname of the library. */
  readonly library: string;

  constructor(library: string, options?: ErrorOptions) {
    const cause = options?.cause instanceof Error ? `: ${options.cause.message}` : "";
    super(`Cannot open library "${library}"${cause}`, options);
    this.library = library;
  }
}

/** The kernel's verifier refused a program. */
export class VerifierError extends Error {
  override readonly name = "VerifierError";
  readonly code = "verifier";
  /** Name of the program. */
  readonly program: string;
  /** The whole verifier log, one entry per line. */
  readonly log: readonly string[];

  constructor(program: string, log: readonly string[], options?: ErrorOptions) {
    super(`Cannot load program "${program}": ${lastUsefulLine(log)}`, options);
    this.program = program;
    this.log = log;
  }
}

/** A pinned map exists, but was made for another version of the same map. */
export class MapMismatchError extends Error {
  override readonly name = "MapMismatchError";
  readonly code = "map-mismatch";
  /** Name of the map. */
  readonly map: string;
  /** Where it is pinned. */
  readonly path: string;
  /** What differs. */
  readonly differences: readonly MapDifference[];

  constructor(map: string, path: string, differences: readonly MapDifference[]) {
    const list = differences.map((d) => `${d.property} is ${d.current}, want ${d.wanted}`);
    super(`Cannot reuse map "${map}" pinned at "${path}": ${list.join("; ")}`);
    this.map = map;
    this.path = path;
    this.differences = differences;
  }
}

/** Something else than was wanted is pinned. */
export class PinKindError extends Error {
  override readonly name = "PinKindError";
  readonly code = "pin-kind";
  readonly path: string;
  /** "map", "program", "link", or what the kernel calls it. */
  readonly current: string;
  readonly wanted: string;

  constructor(path: string, current: string, wanted: string) {
    super(`Cannot use what is pinned at "${path}": it is a ${current}, want a ${wanted}`);
    this.path = path;
    this.current = current;
    this.wanted = wanted;
  }
}

/** One property in which a pinned map differs from its definition. */
export interface MapDifference {
  readonly property: string;
  readonly current: number;
  readonly wanted: number;
}

/** The verifier ends with statistics; what it objects to stands just before them. */
function lastUsefulLine(log: readonly string[]): string {
  const index = log.findLastIndex((line) => line.trim() !== "" && !STATISTICS.test(line));
  const line = log[index];
  if (line === undefined) return "the verifier gave no reason";
  const omitted = log.length - 1;
  return omitted === 0 ? line.trim() : `${line.trim()} (${omitted} line(s) omitted)`;
}

const STATISTICS = /^(processed \d+ insns|verification time|stack depth|mark_precise:|func#\d+ )/;
