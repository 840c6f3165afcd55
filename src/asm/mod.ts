/**
 * The eBPF assembler: write instructions, link them, list them, run them without a kernel. It knows
 * instructions and nothing of policy. Pure. The door of the folder.
 *
 * ```ts
 * const program = link([
 *   load("u32", R6, R1, 0),
 *   jumpIf.equal.imm(R6, 80, "web"),
 *   mov.imm(R0, 0),
 *   exit(),
 *   label("web"),
 *   mov.imm(R0, 1),
 *   exit(),
 * ]);
 * ```
 *
 * @module
 */

export * from "./build.ts";
export * from "./errors.ts";
export { type Instruction, type Item, type Label, withOrigin } from "./instruction.ts";
export { withIslands } from "./islands.ts";
export { instructionText, listing } from "./listing.ts";
export { type MachineMap, type MachineResult, type MachineWorld, run } from "./machine/machine.ts";
export {
  AluCode,
  type AluName,
  type ConditionName,
  HelperCode,
  JumpCode,
  type JumpName,
  type SizeName,
} from "./opcode.ts";
export {
  encode,
  JUMP_DISTANCE_MAX,
  link,
  type Program,
  PROGRAM_SLOTS_MAX,
  slotCount,
} from "./program.ts";
export * from "./register.ts";
