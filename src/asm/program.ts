/**
 * Links what is written (instructions and labels) to a program: jumps get their distances.
 *
 * In: items. Out: instructions at known slots, the places of labels and of references to maps.
 * Invariant: a program that links has the shape that the kernel demands before it looks at
 * anything else: every jump fits and lands on an instruction, no path falls off the end and no
 * instruction is unreachable. So a defect of an emitter is found without a kernel.
 *
 * A conditional jump reaches 32,767 slots. What is farther is not rewritten here: an emitter that
 * can exceed it lays its code out so that it does not (see `islands.ts`).
 *
 * @module
 */

import { LinkError } from "./errors.ts";
import {
  encodeInstruction,
  type Instruction,
  isJump,
  isLabel,
  type Item,
  SLOT_SIZE_BYTES,
  slotsOf,
} from "./instruction.ts";
import { Class, CLASS_MASK, JumpCode, OPERATION_MASK } from "./opcode.ts";

/** A linked program. */
export interface Program {
  readonly instructions: readonly Instruction[];
  /** Slot of each instruction. */
  readonly slots: readonly number[];
  /** Number of slots. */
  readonly length: number;
  /** Slot of each label. */
  readonly labels: ReadonlyMap<string, number>;
  /** Names of the maps that it refers to, in the order of their first use. */
  readonly maps: readonly string[];
}

/** Slots of a program: BPF_COMPLEXITY_LIMIT_INSNS of the kernel, for CAP_BPF. */
export const PROGRAM_SLOTS_MAX = 1_000_000;

/** Farthest that a jump goes, in slots. */
export const JUMP_DISTANCE_MAX = 0x7fff;

/** Links items. Throws LinkError. */
export function link(items: readonly Item[]): Program {
  const { instructions, slots, labels, length } = layOut(items);
  if (length > PROGRAM_SLOTS_MAX) {
    throw new LinkError({ kind: "too-long", slots: length, max: PROGRAM_SLOTS_MAX });
  }
  const linked = instructions.map((instruction, index) =>
    resolve(instruction, slots[index] ?? 0, labels)
  );
  checkFlow(linked, slots, length);
  const maps = new Set(linked.flatMap(({ map }) => map === undefined ? [] : [map]));
  return { instructions: linked, slots, length, labels, maps: [...maps] };
}

/**
 * The program's bytes, with the descriptor of every map that it names. Without descriptors the
 * references stay zero: such bytes are what two compilations are compared by.
 */
export function encode(
  program: Program,
  descriptors?: (map: string) => number,
): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(program.length * SLOT_SIZE_BYTES);
  const view = new DataView(bytes.buffer);
  let offset = 0;
  for (const instruction of program.instructions) {
    const immediate = instruction.map === undefined || descriptors === undefined
      ? instruction.immediate
      : descriptors(instruction.map);
    offset += encodeInstruction({ ...instruction, immediate }, view, offset);
  }
  return bytes;
}

/** Number of slots that items take. */
export function slotCount(items: readonly Item[]): number {
  return items.reduce((sum, item) => sum + (isLabel(item) ? 0 : slotsOf(item)), 0);
}

/** Where everything is: the slot of each instruction and label. */
export function layOut(items: readonly Item[]): {
  instructions: Instruction[];
  slots: number[];
  labels: Map<string, number>;
  length: number;
} {
  const instructions: Instruction[] = [];
  const slots: number[] = [];
  const labels = new Map<string, number>();
  let length = 0;
  for (const item of items) {
    if (isLabel(item)) {
      if (labels.has(item.place)) {
        throw new LinkError({ kind: "duplicate-label", label: item.place });
      }
      labels.set(item.place, length);
      continue;
    }
    instructions.push(item);
    slots.push(length);
    length += slotsOf(item);
  }
  return { instructions, slots, labels, length };
}

function resolve(
  instruction: Instruction,
  slot: number,
  labels: ReadonlyMap<string, number>,
): Instruction {
  const { label } = instruction;
  if (label === undefined) return instruction;
  const place = labels.get(label);
  if (place === undefined) throw new LinkError({ kind: "unknown-label", label, slot });
  const distance = place - slot - 1;
  if (distance > JUMP_DISTANCE_MAX || distance < -JUMP_DISTANCE_MAX - 1) {
    throw new LinkError({ kind: "too-far", label, slot, distance });
  }
  return { ...instruction, offset: distance };
}

/** Follows every path from the first instruction. */
function checkFlow(
  instructions: readonly Instruction[],
  slots: readonly number[],
  length: number,
): void {
  const indexAt = new Int32Array(length + 1).fill(-1);
  for (const [index, slot] of slots.entries()) indexAt[slot] = index;
  const reached = new Uint8Array(instructions.length);
  const pending = [0];
  for (let slot = pending.pop(); slot !== undefined; slot = pending.pop()) {
    const index = indexAt[slot] ?? -1;
    const instruction = instructions[index];
    if (instruction === undefined) throw new LinkError({ kind: "falls-off" });
    if (reached[index]) continue;
    reached[index] = 1;
    const next = slot + slotsOf(instruction);
    if (isJump(instruction)) pending.push(next + instruction.offset);
    if (!endsPath(instruction)) pending.push(next);
  }
  const lost = reached.indexOf(0);
  if (lost >= 0) throw new LinkError({ kind: "unreachable", slot: slots[lost] ?? 0 });
}

/** Whether the next instruction is not reached from this one by going on. */
export function endsPath({ opcode }: Instruction): boolean {
  if ((opcode & CLASS_MASK) !== Class.JMP) return false;
  const operation = opcode & OPERATION_MASK;
  return operation === JumpCode.exit || operation === JumpCode.always;
}
