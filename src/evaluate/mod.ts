/**
 * What policies mean: the reference evaluator, and the shape of what is asked and answered. In: a
 * world of objects and a query. Out: the answer. The door of the folder.
 *
 * @module
 */

export type { Engine } from "./engine.ts";
export { Parties, type PartiesResult, type Party } from "./parties.ts";
export * from "./query.ts";
export { ReferenceEngine, type ReferenceOptions } from "./reference.ts";
