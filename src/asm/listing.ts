/**
 * A linked program as text: one line an instruction, in the kernel's own notation, behind it the
 * reason why it is there. What a person reads is made from the very instructions that are loaded.
 *
 * @module
 */

import { type Instruction, isJump, slotsOf, WIDE } from "./instruction.ts";
import {
  AluCode,
  Class,
  CLASS_MASK,
  HelperCode,
  JumpCode,
  OPERATION_MASK,
  Pseudo,
  SIZE_MASK,
  SizeCode,
  SOURCE_REGISTER,
} from "./opcode.ts";
import type { Program } from "./program.ts";

/** The listing of a program. Every line ends with a newline. */
export function listing(program: Program): string {
  const names = new Map<number, string[]>();
  for (const [name, slot] of program.labels) names.set(slot, [...(names.get(slot) ?? []), name]);
  const lines: string[] = [];
  let origin: string | undefined;
  for (const [index, instruction] of program.instructions.entries()) {
    const slot = program.slots[index] ?? 0;
    for (const name of names.get(slot) ?? []) lines.push(`${name}:`);
    const text = `${String(slot).padStart(6)}: ${instructionText(instruction, slot)}`;
    const isNew = instruction.origin !== undefined && instruction.origin !== origin;
    lines.push(isNew ? `${text.padEnd(ORIGIN_COLUMN)} ; ${instruction.origin}` : text);
    origin = instruction.origin;
  }
  return lines.map((line) => `${line}\n`).join("");
}

/** One instruction, as the verifier's log writes it. */
export function instructionText(instruction: Instruction, slot = 0): string {
  const { opcode, target, source, offset, immediate } = instruction;
  const operand = opcode & SOURCE_REGISTER ? `r${source}` : String(immediate);
  switch (opcode & CLASS_MASK) {
    case Class.LD:
      return opcode === WIDE ? wideText(instruction) : unknown(opcode);
    case Class.LDX:
      return `r${target} = ${memory(opcode, source, offset)}`;
    case Class.ST:
      return `${memory(opcode, target, offset)} = ${immediate}`;
    case Class.STX:
      return `${memory(opcode, target, offset)} = r${source}`;
    case Class.ALU32:
      return aluText(opcode, `w${target}`, operand.replace("r", "w"), immediate);
    case Class.ALU64:
      return aluText(opcode, `r${target}`, operand, immediate);
    default:
      return jumpText(instruction, operand, slot);
  }
}

/** Where reasons begin. */
const ORIGIN_COLUMN = 52;

const ALU_SIGNS: Readonly<Record<number, string>> = {
  [AluCode.add]: "+=",
  [AluCode.sub]: "-=",
  [AluCode.mul]: "*=",
  [AluCode.div]: "/=",
  [AluCode.or]: "|=",
  [AluCode.and]: "&=",
  [AluCode.lsh]: "<<=",
  [AluCode.rsh]: ">>=",
  [AluCode.mod]: "%=",
  [AluCode.xor]: "^=",
  [AluCode.mov]: "=",
  [AluCode.arsh]: "s>>=",
};

const JUMP_SIGNS: Readonly<Record<number, string>> = {
  [JumpCode.equal]: "==",
  [JumpCode.greater]: ">",
  [JumpCode.greaterOrEqual]: ">=",
  [JumpCode.anyBit]: "&",
  [JumpCode.notEqual]: "!=",
  [JumpCode.sgreater]: "s>",
  [JumpCode.sgreaterOrEqual]: "s>=",
  [JumpCode.less]: "<",
  [JumpCode.lessOrEqual]: "<=",
  [JumpCode.sless]: "s<",
  [JumpCode.slessOrEqual]: "s<=",
};

const HELPER_NAMES = new Map<number, string>(
  Object.entries(HelperCode).map(([name, code]) => [code, name.toLowerCase()]),
);

function aluText(opcode: number, target: string, operand: string, immediate: number): string {
  const operation = opcode & OPERATION_MASK;
  if (operation === AluCode.neg) return `${target} = -${target}`;
  if (operation === AluCode.end) {
    return `${target} = ${opcode & SOURCE_REGISTER ? "be" : "le"}${immediate} ${target}`;
  }
  const sign = ALU_SIGNS[operation];
  return sign === undefined ? unknown(opcode) : `${target} ${sign} ${operand}`;
}

function jumpText(instruction: Instruction, operand: string, slot: number): string {
  const { opcode, target, immediate, offset, label } = instruction;
  const operation = opcode & OPERATION_MASK;
  if (operation === JumpCode.exit) return "exit";
  if (operation === JumpCode.call) return `call ${HELPER_NAMES.get(immediate) ?? immediate}`;
  if (!isJump(instruction)) return unknown(opcode);
  const goal = `goto ${label ?? slot + slotsOf(instruction) + offset}`;
  if (operation === JumpCode.always) return goal;
  const is32 = (opcode & CLASS_MASK) === Class.JMP32;
  const sign = JUMP_SIGNS[operation];
  if (sign === undefined) return unknown(opcode);
  const right = is32 ? operand.replace("r", "w") : operand;
  return `if ${is32 ? "w" : "r"}${target} ${sign} ${right} ${goal}`;
}

function wideText({ target, source, immediate, upper = 0, map }: Instruction): string {
  if (source === Pseudo.MAP) return `r${target} = map ${map ?? immediate}`;
  if (source === Pseudo.MAP_VALUE) return `r${target} = value of ${map ?? immediate} + ${upper}`;
  const value = (BigInt(upper >>> 0) << 32n) | BigInt(immediate >>> 0);
  return `r${target} = 0x${value.toString(16)} ll`;
}

function memory(opcode: number, base: number, offset: number): string {
  const [size] = Object.entries(SizeCode).find(([, code]) => code === (opcode & SIZE_MASK)) ?? [];
  return `*(${size} *)(r${base} ${offset < 0 ? "-" : "+"} ${Math.abs(offset)})`;
}

function unknown(opcode: number): string {
  return `(opcode 0x${opcode.toString(16)})`;
}
