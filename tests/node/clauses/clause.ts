/**
 * One promise, the test that shows it, and the change that the test must notice.
 *
 * The sections beside this file list the promises; together they are the index of the node ring
 * (and of the tests elsewhere that show a promise better or sooner). Invariant: a promise without
 * both a test and a mutation is not kept here: it would be a wish.
 *
 * @module
 */

/** A promise about what weft does under attack, load or fault. */
export interface Clause {
  /** What holds, as one sentence. */
  readonly promise: string;
  /** The test that shows it. */
  readonly test: {
    /** Path from the project's root. */
    readonly file: string;
    /** Names from the outermost `describe` to `it`. */
    readonly name: readonly string[];
  };
  /** The smallest change that breaks the promise: with it the test turns red. */
  readonly mutation: Mutation;
}

/** A replacement of one passage of the source. */
export interface Mutation {
  /** Path from the project's root. */
  readonly file: string;
  /** Occurs exactly once in the file. */
  readonly find: string;
  readonly put: string;
}

/** Names the tests of one file, within the same suites. */
export function testsOf(
  file: string,
  ...suites: readonly string[]
): (...names: readonly string[]) => Clause["test"] {
  return (...names) => ({ file, name: [...suites, ...names] });
}
