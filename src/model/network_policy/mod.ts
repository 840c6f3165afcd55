/**
 * Network policies as the model speaks of them: rules, selectors, labels, names. The door of the
 * folder; `rule.ts` says how they are read.
 *
 * @module
 */

export * from "./entity.ts";
export * from "./identity.ts";
export * from "./label.ts";
export * from "./label_selector.ts";
export * from "./name_pattern.ts";
export * from "./world.ts";
export { matchesWhole, regexFault } from "./regex.ts";
export * from "./rule.ts";
