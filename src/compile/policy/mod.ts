/**
 * The policy compiler: network policies become verdict programs and rows. The door of the folder;
 * `compile.ts` is the way in.
 *
 * @module
 */

export * from "./compile.ts";
export { PolicyMap, STAGE_AFTER_VERDICT } from "./emit.ts";
export * from "./flow/answer.ts";
export * from "./flow/flow.ts";
export { interpret } from "./flow/interpret.ts";
export * from "./flow/query.ts";
export type { VerdictReason } from "./graph/node.ts";
export { protocolNumber } from "./graph/verdict.ts";
export * from "./limits.ts";
export type { Bits, Identity } from "./peers/table.ts";
export type { OrderedRule } from "./rules.ts";
export type { PolicySnapshot } from "./snapshot.ts";
export { hostSubject, podSubject } from "./subjects.ts";
