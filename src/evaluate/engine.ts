/**
 * Whoever can answer a query. The reference below `src/evaluate/` is one, the compiled programs in
 * the kernel are another; both are asked the same way, so that they can be compared.
 *
 * @module
 */

import type { Answer, Query } from "./query.ts";

/** Answers queries about one world. */
export interface Engine {
  readonly name: "reference" | "kernel";
  /** Never throws for a query's sake: what cannot be answered is an answer of its own. */
  decide(query: Query): Answer;
}
