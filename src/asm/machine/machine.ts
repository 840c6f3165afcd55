/**
 * Runs a linked program without a kernel: a small interpreter.
 *
 * In: a program, its context and maps as plain objects. Out: R0 and how many instructions ran.
 * Invariant: it accepts less than the kernel, never more. Memory is reached through pointers that
 * know their bytes, reading what was never written is an error, and so is arithmetic on a pointer
 * that is more than adding a constant or a number. What it accepts means what the kernel's
 * documentation says that it means; a test runs both on the same programs.
 *
 * It is the third reading of a policy beside the evaluator and the kernel, so it is written for
 * plainness; registers are bigints.
 *
 * @module
 */

import { compute, holds } from "./arithmetic.ts";
import { MachineError } from "../errors.ts";
import { type Instruction, slotsOf } from "../instruction.ts";
import { isPointer, type Pointer, readMemory, type Value, writeMemory } from "./memory.ts";
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
} from "../opcode.ts";
import type { Program } from "../program.ts";
import { REGISTERS, STACK_SIZE_BYTES } from "../register.ts";

/** A map that an interpreted program reads. */
export interface MachineMap {
  readonly keySize: number;
  readonly valueSize: number;
  /** The value itself, not a copy; undefined when there is none. */
  lookup(key: Uint8Array): Uint8Array<ArrayBuffer> | undefined;
}

/** What a program runs in. */
export interface MachineWorld {
  readonly maps: ReadonlyMap<string, MachineMap>;
  /** Programs by the name of their array and their index: where tail calls go. */
  readonly programs?: ReadonlyMap<string, ReadonlyMap<number, Program>>;
}

/** What a run came to. */
export interface MachineResult {
  /** R0, unsigned. */
  readonly result: bigint;
  /** Instructions that ran, tail calls included. */
  readonly steps: number;
}

/** Tail calls of one run (kernel: MAX_TAIL_CALL_CNT). */
export const TAIL_CALLS_MAX = 33;

/** Runs `program` on `context` to its end. Throws MachineError. */
export function run(
  program: Program,
  context: Uint8Array<ArrayBuffer>,
  world: MachineWorld,
): MachineResult {
  return new Run(program, context, world).finish();
}

/** Steps of one run: no verified program needs more, so a loop is a defect. */
const STEPS_MAX = 10_000_000;

class Run {
  readonly #world: MachineWorld;
  readonly #context: Pointer;
  #program: Program;
  #indexAt: ReadonlyMap<number, number>;
  #registers: (Value | undefined)[] = [];
  #slot = 0;
  #steps = 0;
  #tailCalls = 0;

  constructor(program: Program, context: Uint8Array<ArrayBuffer>, world: MachineWorld) {
    this.#world = world;
    this.#context = { memory: { bytes: context }, offset: 0 };
    this.#program = program;
    this.#indexAt = slotIndex(program);
    this.#begin();
  }

  finish(): MachineResult {
    for (;;) {
      const instruction = this.#program.instructions[this.#indexAt.get(this.#slot) ?? -1];
      if (instruction === undefined) throw this.#error("no instruction begins here");
      if (++this.#steps > STEPS_MAX) throw this.#error("it does not end");
      const next = this.#step(instruction);
      if (next === undefined) return { result: this.#number(0), steps: this.#steps };
      this.#slot = next;
    }
  }

  /** A program begins with its context and its stack, and knows no other register. */
  #begin(): void {
    const bytes = new Uint8Array(STACK_SIZE_BYTES);
    const stack = { bytes, written: new Uint8Array(STACK_SIZE_BYTES) };
    this.#registers = new Array<Value | undefined>(REGISTERS).fill(undefined);
    this.#registers[1] = this.#context;
    this.#registers[10] = { memory: stack, offset: STACK_SIZE_BYTES };
    this.#slot = 0;
  }

  /** Runs one instruction; returns the slot of the next, or undefined at the end. */
  #step(instruction: Instruction): number | undefined {
    const { opcode, target, source, offset } = instruction;
    const next = this.#slot + slotsOf(instruction);
    const size = opcode & SIZE_MASK;
    switch (opcode & CLASS_MASK) {
      case Class.LD:
        this.#set(target, this.#wide(instruction));
        return next;
      case Class.LDX:
        this.#set(target, this.#read(this.#pointer(source), offset, sizeBytes(size)));
        return next;
      case Class.ST:
        this.#write(this.#pointer(target), offset, sizeBytes(size), BigInt(instruction.immediate));
        return next;
      case Class.STX:
        this.#write(this.#pointer(target), offset, sizeBytes(size), this.#value(source));
        return next;
      case Class.ALU32:
      case Class.ALU64:
        this.#set(target, this.#arithmetic(instruction));
        return next;
      default:
        return this.#jump(instruction, next);
    }
  }

  #jump(instruction: Instruction, next: number): number | undefined {
    const { opcode, target, offset } = instruction;
    const operation = opcode & OPERATION_MASK;
    const is32 = (opcode & CLASS_MASK) === Class.JMP32;
    if (operation === JumpCode.exit) return undefined;
    if (operation === JumpCode.call) return this.#call(instruction.immediate, next);
    if (operation === JumpCode.always) return next + offset;
    const left = this.#value(target);
    const right = this.#operand(instruction);
    // A pointer is compared with zero, and with nothing else: "was there a row?"
    const comparable = isPointer(left) ? 1n : left;
    if (isPointer(right) || (isPointer(left) && right !== 0n)) {
      throw this.#error("a pointer can only be compared with 0");
    }
    return holds(operation, comparable, right, is32) ? next + offset : next;
  }

  #arithmetic(instruction: Instruction): Value {
    const { opcode, target } = instruction;
    const operation = opcode & OPERATION_MASK;
    const is64 = (opcode & CLASS_MASK) === Class.ALU64;
    const right = operation === AluCode.neg || operation === AluCode.end
      ? BigInt(instruction.immediate)
      : this.#operand(instruction);
    if (operation === AluCode.mov && is64) return isPointer(right) ? right : unsigned(right);
    const left = operation === AluCode.mov ? 0n : this.#value(target);
    if (isPointer(left)) {
      if (!is64 || operation !== AluCode.add || isPointer(right)) {
        throw this.#error("only a number can be added to a pointer");
      }
      return { memory: left.memory, offset: left.offset + Number(BigInt.asIntN(64, right)) };
    }
    if (isPointer(right)) throw this.#error("a pointer is no number");
    const big = (opcode & SOURCE_REGISTER) !== 0;
    return compute({ operation, is64, big }, left, right);
  }

  #call(helper: number, next: number): number {
    if (helper === HelperCode.TAIL_CALL && this.#tailCall()) return 0;
    const result = helper === HelperCode.TAIL_CALL ? unsigned(-1n) : this.#help(helper);
    for (let register = 1; register <= 5; register++) this.#registers[register] = undefined;
    this.#registers[0] = result;
    return next;
  }

  #help(helper: number): Value {
    if (helper !== HelperCode.MAP_LOOKUP) throw this.#error(`helper ${helper} is not known`);
    const map = this.#map(1);
    const key = this.#pointer(2);
    const bytes = new Uint8Array(map.keySize);
    for (let index = 0; index < map.keySize; index++) {
      bytes[index] = Number(this.#read(key, index, 1));
    }
    const value = map.lookup(bytes);
    return value === undefined ? 0n : { memory: { bytes: value }, offset: 0 };
  }

  /** Goes over to another program; false where there is none or too many were called. */
  #tailCall(): boolean {
    if (this.#pointer(1).memory !== this.#context.memory) {
      throw this.#error("a tail call needs the context in r1");
    }
    const array = this.#mapName(2);
    const index = Number(BigInt.asUintN(32, this.#number(3)));
    const program = this.#world.programs?.get(array)?.get(index);
    if (program === undefined || this.#tailCalls >= TAIL_CALLS_MAX) return false;
    this.#tailCalls++;
    this.#program = program;
    this.#indexAt = slotIndex(program);
    this.#begin();
    return true;
  }

  #wide({ source, immediate, upper = 0, map }: Instruction): Value {
    if (source === Pseudo.NONE) return (BigInt(upper >>> 0) << 32n) | BigInt(immediate >>> 0);
    if (map === undefined) throw this.#error("the map has no name");
    if (source === Pseudo.MAP) return { map, memory: { bytes: new Uint8Array(0) }, offset: 0 };
    const found = this.#world.maps.get(map);
    const value = found?.lookup(new Uint8Array(found.keySize));
    if (value === undefined) throw this.#error(`map "${map}" has no value at key 0`);
    return { memory: { bytes: value }, offset: upper };
  }

  #operand({ opcode, source, immediate }: Instruction): Value {
    return opcode & SOURCE_REGISTER ? this.#value(source) : unsigned(BigInt(immediate));
  }

  #read(pointer: Pointer, offset: number, size: number): Value {
    const value = readMemory(pointer, offset, size);
    if (value === undefined) throw this.#error(`cannot read ${size} bytes at ${offset}`);
    return value;
  }

  #write(pointer: Pointer, offset: number, size: number, value: Value): void {
    if (isPointer(value)) throw this.#error("pointers cannot be stored");
    if (!writeMemory(pointer, offset, size, value)) {
      throw this.#error(`cannot write ${size} bytes at ${offset}`);
    }
  }

  #set(register: number, value: Value): void {
    if (register === 10) throw this.#error("r10 is read-only");
    this.#registers[register] = value;
  }

  #value(register: number): Value {
    const value = this.#registers[register];
    if (value === undefined) throw this.#error(`r${register} was never written`);
    return value;
  }

  #number(register: number): bigint {
    const value = this.#value(register);
    if (isPointer(value)) throw this.#error(`r${register} is a pointer`);
    return value;
  }

  #pointer(register: number): Pointer {
    const value = this.#value(register);
    if (!isPointer(value)) throw this.#error(`r${register} is no pointer`);
    return value;
  }

  #mapName(register: number): string {
    const { map } = this.#pointer(register);
    if (map === undefined) throw this.#error(`r${register} is no map`);
    return map;
  }

  #map(register: number): MachineMap {
    const name = this.#mapName(register);
    const map = this.#world.maps.get(name);
    if (map === undefined) throw this.#error(`there is no map "${name}"`);
    return map;
  }

  #error(message: string): MachineError {
    return new MachineError(message, this.#slot);
  }
}

/** Index of the instruction at each slot, made once a program. */
function slotIndex(program: Program): ReadonlyMap<number, number> {
  const known = slotIndexes.get(program);
  if (known) return known;
  const index = new Map(program.slots.map((slot, index) => [slot, index]));
  slotIndexes.set(program, index);
  return index;
}

const slotIndexes = new WeakMap<Program, ReadonlyMap<number, number>>();

function sizeBytes(code: number): number {
  switch (code) {
    case SizeCode.u8:
      return 1;
    case SizeCode.u16:
      return 2;
    case SizeCode.u32:
      return 4;
    default:
      return 8;
  }
}

function unsigned(value: bigint): bigint {
  return BigInt.asUintN(64, value);
}
