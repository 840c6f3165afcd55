/**
 * Verdict programs in the kernel. The door of the folder.
 *
 * Nothing here is attached to a pod. Where the guard is to ask, it needs what a batch has: the maps
 * that programs name (`PolicyMap`), the places as a longest-prefix map, an array of programs by
 * pod, and a stage of its own in place of the batch's, which acts on the answer in the slot.
 *
 * @module
 */

export { PolicyBatch } from "./batch.ts";
export { type CompileFault, KernelEngine } from "./kernel_engine.ts";
