/**
 * A State becomes a Plan (stage 3 of the pipeline), and the one decision that the kernel, the relay
 * and `explain` share. Pure. The door of the folder.
 *
 * @module
 */

export * from "./classes.ts";
export { type Destination, destinationOf, sourceOf, sourceOfWorkload } from "./classify.ts";
export { compile } from "./compile.ts";
export { decide, type Decision, decisionTable, type Question } from "./decide.ts";
export { diffPlans, type PlanDiff, type TableDiff } from "./diff.ts";
export * from "./plan.ts";
