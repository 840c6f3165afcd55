/**
 * Plan → kernel (stage 4 of the pipeline). The door of the folder.
 *
 * @module
 */

export { Datapath, type DatapathOptions, openDatapath, type RelayDoorFds } from "./datapath.ts";
export type { AttachedPod } from "./pods.ts";
export type { Shortage } from "./plan_tables.ts";
export { removeDatapath } from "./uninstall.ts";
