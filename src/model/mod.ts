/**
 * Changes of a source become a State (stage 2 of the pipeline). Pure: no clock, no files, no
 * network. The door of the folder: other stages import from here.
 *
 * @module
 */

export * from "./address.ts";
export * from "./change.ts";
export type { MeshConfig } from "./config.ts";
export { type Cause, nameOf } from "./derived/cause.ts";
export type { NodeModel } from "./derived/node.ts";
export type { Owner } from "./derived/owner.ts";
export { isStricter, type PolicyModel, type PortMode } from "./derived/policy.ts";
export {
  clusterIpFaults,
  clusterIpKey,
  type Endpoint,
  type ServiceModel,
  type ServicePortModel,
} from "./derived/service.ts";
export type { Warning } from "./derived/warning.ts";
export { ENROLLED_LABEL, portModeOf, type Workload } from "./derived/workload.ts";
export type { Mode, SameNode } from "./mode.ts";
export type * from "./object.ts";
export * from "./principal.ts";
export * from "./selector.ts";
export { applyChanges, emptyState, type State } from "./state.ts";
