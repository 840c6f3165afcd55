/**
 * What can be wrong with a program that is put together.
 *
 * @module
 */

/** A program that cannot be linked. */
export class LinkError extends Error {
  override readonly name = "LinkError";
  readonly code = "link";
  readonly fault: LinkFault;

  constructor(fault: LinkFault) {
    super(`Cannot link program: ${explain(fault)}`);
    this.fault = fault;
  }
}

/** What is wrong, with its place (slots are counted from 0). */
export type LinkFault =
  | { readonly kind: "unknown-label"; readonly label: string; readonly slot: number }
  | { readonly kind: "duplicate-label"; readonly label: string }
  | {
    readonly kind: "too-far";
    readonly label: string;
    readonly slot: number;
    readonly distance: number;
  }
  | { readonly kind: "too-long"; readonly slots: number; readonly max: number }
  | { readonly kind: "falls-off" }
  | { readonly kind: "unreachable"; readonly slot: number };

/** What an interpreted program did that the kernel would not let it do. */
export class MachineError extends Error {
  override readonly name = "MachineError";
  readonly code = "machine";
  /** Of the instruction, from 0. */
  readonly slot: number;

  constructor(message: string, slot: number) {
    super(`Cannot go on at slot ${slot}: ${message}`);
    this.slot = slot;
  }
}

function explain(fault: LinkFault): string {
  switch (fault.kind) {
    case "unknown-label":
      return `slot ${fault.slot} jumps to "${fault.label}", which is nowhere`;
    case "duplicate-label":
      return `label "${fault.label}" stands at two places`;
    case "too-far":
      return `slot ${fault.slot} jumps ${fault.distance} slots to "${fault.label}", want at most` +
        " 32767";
    case "too-long":
      return `it has ${fault.slots} slots, want at most ${fault.max}`;
    case "falls-off":
      return "its last instruction neither exits nor jumps";
    case "unreachable":
      return `no path leads to slot ${fault.slot}`;
  }
}
