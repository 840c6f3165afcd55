/**
 * Constructors of instructions, to be read like assembly: `mov.imm(R0, 1)`, `load("u32", R3, R6,
 * 8)`, `jumpIf.less.imm(R8, 80, "below")`.
 *
 * Each checks what an instruction can hold; a value that does not fit is a defect of the caller and
 * throws RangeError. Nothing is rewritten behind the caller's back: one call, one instruction.
 *
 * @module
 */

import type { Instruction, Label } from "./instruction.ts";
import {
  AluCode,
  type AluName,
  Class,
  type ConditionName,
  JumpCode,
  MODE_IMMEDIATE,
  MODE_MEMORY,
  Pseudo,
  SizeCode,
  type SizeName,
  SOURCE_REGISTER,
} from "./opcode.ts";
import { R0, type Register, register } from "./register.ts";

/** Arithmetic on all 64 bits; immediates are sign-extended. */
export const alu: Readonly<Record<BinaryName, Binary>> = binaries(Class.ALU64);

/** Arithmetic on the lower 32 bits; the upper ones become zero. */
export const alu32: Readonly<Record<BinaryName, Binary>> = binaries(Class.ALU32);

/** `target = …`: the commonest instruction, so it has a name of its own. */
export const mov: Binary = alu.mov;

/** `target = -target` */
export function neg(target: Register): Instruction {
  return plain({ opcode: Class.ALU64 | AluCode.neg, target });
}

/** Turns the lower 16, 32 or 64 bits from the host's order to network order, or back. */
export function swapToBig(target: Register, bits: 16 | 32 | 64): Instruction {
  return plain({
    opcode: Class.ALU32 | AluCode.end | SOURCE_REGISTER,
    target,
    immediate: bits,
  });
}

/** `target = *(size *)(base + offset)` */
export function load(
  size: SizeName,
  target: Register,
  base: Register,
  offset: number,
): Instruction {
  const opcode = Class.LDX | MODE_MEMORY | SizeCode[size];
  return plain({ opcode, target, source: base, offset: signed16(offset) });
}

/** `*(size *)(base + offset) = source` */
export function store(
  size: SizeName,
  base: Register,
  offset: number,
  source: Register,
): Instruction {
  const opcode = Class.STX | MODE_MEMORY | SizeCode[size];
  return plain({ opcode, target: base, source, offset: signed16(offset) });
}

/** `*(size *)(base + offset) = immediate` */
export function storeImmediate(
  size: SizeName,
  base: Register,
  offset: number,
  immediate: number,
): Instruction {
  const opcode = Class.ST | MODE_MEMORY | SizeCode[size];
  return plain({
    opcode,
    target: base,
    offset: signed16(offset),
    immediate: signed32(immediate),
  });
}

/** `target = value`, all 64 bits of it. Two slots. */
export function loadWide(target: Register, value: bigint): Instruction {
  return wide(target, Pseudo.NONE, {
    immediate: Number(BigInt.asIntN(32, value)),
    upper: Number(BigInt.asIntN(32, value >> 32n)),
  });
}

/** `target = map`, to hand to a helper. Two slots. */
export function loadMap(target: Register, map: string): Instruction {
  return wide(target, Pseudo.MAP, { immediate: 0, upper: 0, map });
}

/** `target = address of the value at key 0 of an array map, plus offset`. Two slots. */
export function loadMapValue(target: Register, map: string, offset: number): Instruction {
  return wide(target, Pseudo.MAP_VALUE, { immediate: 0, upper: signed32(offset), map });
}

/** Calls a helper of the kernel: arguments in R1 to R5, result in R0. */
export function call(helper: number): Instruction {
  return plain({ opcode: Class.JMP | JumpCode.call, immediate: signed32(helper) });
}

/** Ends the program; R0 is its result. */
export function exit(): Instruction {
  return plain({ opcode: Class.JMP | JumpCode.exit });
}

/** Goes to a label. */
export function jump(label: string): Instruction {
  return plain({ opcode: Class.JMP | JumpCode.always, label });
}

/** Goes to a label if the comparison of 64 bits holds; immediates are sign-extended. */
export const jumpIf: Readonly<Record<ConditionName, Condition>> = conditions(Class.JMP);

/** Goes to a label if the comparison of the lower 32 bits holds. */
export const jumpIf32: Readonly<Record<ConditionName, Condition>> = conditions(Class.JMP32);

/** Names a place. */
export function label(place: string): Label {
  return { place };
}

/** Operations with two operands. */
export type BinaryName = Exclude<AluName, "neg" | "end">;

/** An operation whose second operand is a register or an immediate. */
export interface Binary {
  /** With a register. */
  reg(target: Register, source: Register): Instruction;
  /** With an immediate. */
  imm(target: Register, immediate: number): Instruction;
}

/** A conditional jump whose second operand is a register or an immediate. */
export interface Condition {
  /** With a register. */
  reg(left: Register, right: Register, label: string): Instruction;
  /** With an immediate. */
  imm(left: Register, immediate: number, label: string): Instruction;
}

function binaries(kind: number): Readonly<Record<BinaryName, Binary>> {
  const names = Object.keys(AluCode).filter((name) => name !== "neg" && name !== "end");
  const binary = (name: BinaryName): Binary => ({
    reg: (target, source) =>
      plain({ opcode: kind | AluCode[name] | SOURCE_REGISTER, target, source }),
    imm: (target, immediate) =>
      plain({ opcode: kind | AluCode[name], target, immediate: operand(kind, immediate) }),
  });
  return byName(names as BinaryName[], binary);
}

function conditions(kind: number): Readonly<Record<ConditionName, Condition>> {
  const others = ["always", "call", "exit"];
  const names = Object.keys(JumpCode).filter((name) => !others.includes(name));
  const condition = (name: ConditionName): Condition => ({
    reg: (target, source, label) =>
      plain({ opcode: kind | JumpCode[name] | SOURCE_REGISTER, target, source, label }),
    imm: (target, immediate, label) =>
      plain({ opcode: kind | JumpCode[name], target, immediate: operand(kind, immediate), label }),
  });
  return byName(names as ConditionName[], condition);
}

function byName<N extends string, V>(names: readonly N[], make: (name: N) => V): Record<N, V> {
  return Object.fromEntries(names.map((name) => [name, make(name)])) as Record<N, V>;
}

function plain(fields: Partial<Instruction> & { readonly opcode: number }): Instruction {
  return { target: R0, source: R0, offset: 0, immediate: 0, ...fields };
}

function wide(
  target: Register,
  pseudo: number,
  fields: { immediate: number; upper: number; map?: string },
): Instruction {
  const opcode = Class.LD | MODE_IMMEDIATE | SizeCode.u64;
  return plain({ opcode, target, source: register(pseudo), ...fields });
}

/**
 * An operand of 32 bits may be written without its sign: 0xffffffff is -1 there, and only there.
 */
function operand(kind: number, value: number): number {
  const is32 = kind === Class.ALU32 || kind === Class.JMP32;
  return is32 && value > 0x7fff_ffff && value <= 0xffff_ffff ? value | 0 : signed32(value);
}

function signed32(value: number): number {
  if (Number.isInteger(value) && value === (value | 0)) return value;
  throw new RangeError(`Cannot encode immediate ${value}: want a signed integer of 32 bits`);
}

function signed16(value: number): number {
  if (Number.isInteger(value) && value >= -0x8000 && value <= 0x7fff) return value;
  throw new RangeError(`Cannot encode offset ${value}: want a signed integer of 16 bits`);
}
