/**
 * One instruction as a plain value, and its eight bytes.
 *
 * A jump may name a label instead of a distance, and a wide load a map instead of a descriptor:
 * `link` settles the first, the loader the second, so that everything before is free of the kernel
 * and the same source gives the same bytes. `origin` says why the instruction is there; it goes
 * along to the listing and has no influence on the bytes.
 *
 * @module
 */

import { Class, CLASS_MASK, OPERATION_MASK } from "./opcode.ts";
import { R0, type Register, register } from "./register.ts";

/** An instruction of one slot, or of two for a wide load. */
export interface Instruction {
  /** Class, operation and operands: see `opcode.ts`. */
  readonly opcode: number;
  /** Gets the result; the base of a store; the left side of a comparison. */
  readonly target: Register;
  /** The second operand; the base of a load. */
  readonly source: Register;
  /** Signed, 16 bits: distance in slots of a jump, or bytes of an address. */
  readonly offset: number;
  /** Signed, 32 bits. */
  readonly immediate: number;
  /** Upper half of a wide load's value; the instruction then has two slots. */
  readonly upper?: number;
  /** Where a jump goes, until it is linked. */
  readonly label?: string;
  /** The map that a wide load names, until it is loaded. */
  readonly map?: string;
  /** Why it is there: the rule, or the step of the program. */
  readonly origin?: string;
}

/** A place that jumps can name. It takes no slot. */
export interface Label {
  readonly place: string;
}

/** What a program is written as. */
export type Item = Instruction | Label;

/** Bytes of one slot. */
export const SLOT_SIZE_BYTES = 8;

/** Number of slots that an instruction takes. */
export function slotsOf(instruction: Instruction): 1 | 2 {
  return instruction.upper === undefined ? 1 : 2;
}

export function isLabel(item: Item): item is Label {
  return "place" in item;
}

/** Whether it is a jump, conditional or not: neither a call nor an exit. */
export function isJump({ opcode }: Instruction): boolean {
  const kind = opcode & CLASS_MASK;
  if (kind !== Class.JMP && kind !== Class.JMP32) return false;
  const operation = opcode & OPERATION_MASK;
  return operation !== 0x80 && operation !== 0x90;
}

/** Gives instructions without an origin this one. */
export function withOrigin(origin: string, items: readonly Item[]): Item[] {
  return items.map((item) =>
    isLabel(item) || item.origin !== undefined ? item : { ...item, origin }
  );
}

/** Writes the instruction at `offset`; returns the bytes written. */
export function encodeInstruction(
  instruction: Instruction,
  view: DataView,
  offset: number,
): number {
  writeSlot(view, offset, instruction);
  if (instruction.upper === undefined) return SLOT_SIZE_BYTES;
  const second = { opcode: 0, target: R0, source: R0, offset: 0, immediate: instruction.upper };
  writeSlot(view, offset + SLOT_SIZE_BYTES, second);
  return 2 * SLOT_SIZE_BYTES;
}

/** Reads the instruction at `offset`, without what bytes do not tell: labels, maps, origins. */
export function decodeInstruction(view: DataView, offset: number): Instruction {
  const registers = view.getUint8(offset + 1);
  const instruction = {
    opcode: view.getUint8(offset),
    target: register(registers & 0x0f),
    source: register(registers >> 4),
    offset: view.getInt16(offset + 2, true),
    immediate: view.getInt32(offset + 4, true),
  };
  if (instruction.opcode !== WIDE) return instruction;
  return { ...instruction, upper: view.getInt32(offset + SLOT_SIZE_BYTES + 4, true) };
}

/** LD | IMM | u64: the only opcode of two slots. */
export const WIDE = 0x18;

function writeSlot(view: DataView, offset: number, slot: Instruction): void {
  view.setUint8(offset, slot.opcode);
  view.setUint8(offset + 1, (slot.source << 4) | slot.target);
  view.setInt16(offset + 2, slot.offset, true);
  view.setInt32(offset + 4, slot.immediate, true);
}
