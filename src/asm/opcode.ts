/**
 * The bits of an opcode (kernel: Documentation/bpf/standardization/instruction-set.rst). Data only.
 *
 * An opcode is a class in its low three bits, and above them either operation and source (ALU,
 * JMP) or mode and size (loads and stores).
 *
 * @module
 */

/** What kind of instruction it is. */
export const Class = {
  LD: 0,
  LDX: 1,
  ST: 2,
  STX: 3,
  ALU32: 4,
  JMP: 5,
  JMP32: 6,
  ALU64: 7,
} as const;

/** Arithmetic; the second operand is an immediate or, with `SOURCE_REGISTER`, a register. */
export const AluCode = {
  add: 0x00,
  sub: 0x10,
  mul: 0x20,
  div: 0x30,
  or: 0x40,
  and: 0x50,
  lsh: 0x60,
  rsh: 0x70,
  neg: 0x80,
  mod: 0x90,
  xor: 0xa0,
  mov: 0xb0,
  arsh: 0xc0,
  /** Byte order: the immediate is the width. */
  end: 0xd0,
} as const;
/** Name of an operation. */
export type AluName = keyof typeof AluCode;

/** Jumps; unsigned unless the name begins with "s". */
export const JumpCode = {
  always: 0x00,
  equal: 0x10,
  greater: 0x20,
  greaterOrEqual: 0x30,
  /** Any bit in common. */
  anyBit: 0x40,
  notEqual: 0x50,
  sgreater: 0x60,
  sgreaterOrEqual: 0x70,
  call: 0x80,
  exit: 0x90,
  less: 0xa0,
  lessOrEqual: 0xb0,
  sless: 0xc0,
  slessOrEqual: 0xd0,
} as const;
/** Name of a jump. */
export type JumpName = keyof typeof JumpCode;

/** Names of the jumps that have a condition. */
export type ConditionName = Exclude<JumpName, "always" | "call" | "exit">;

/** Width of a load or store. */
export type SizeName = "u8" | "u16" | "u32" | "u64";

/** Bits of a width. */
export const SizeCode: Readonly<Record<SizeName, number>> = {
  u32: 0x00,
  u16: 0x08,
  u8: 0x10,
  u64: 0x18,
};

/** Mode of LD: a 64-bit immediate, in two slots. */
export const MODE_IMMEDIATE = 0x00;
/** Mode of LDX, ST and STX: memory at a register and an offset. */
export const MODE_MEMORY = 0x60;

/** The second operand is a register. */
export const SOURCE_REGISTER = 0x08;

/** LD_IMM64 whose immediate stands for something else, by the number in its source field. */
export const Pseudo = { NONE: 0, MAP: 1, MAP_VALUE: 2 } as const;

/** `enum bpf_func_id`, as far as the assembler's users call them. */
export const HelperCode = {
  MAP_LOOKUP: 1,
  KTIME_GET_NS: 5,
  SKB_STORE_BYTES: 9,
  TAIL_CALL: 12,
  SKB_LOAD_BYTES: 26,
} as const;

/** Mask of the class in an opcode. */
export const CLASS_MASK = 0x07;
/** Mask of the operation of ALU and JMP. */
export const OPERATION_MASK = 0xf0;
/** Mask of the size of loads and stores. */
export const SIZE_MASK = 0x18;
