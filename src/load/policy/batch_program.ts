/**
 * The program that asks verdict programs many questions in one run (BPF_PROG_TEST_RUN).
 *
 * In: a packet that holds questions behind a header with their number. Out: the same packet with
 * the answers. It runs first, and again after each verdict, as the stage that verdict programs
 * leave to: it takes the answer out of the slot, puts the next question in and calls its program.
 * Verdict programs thus run exactly as they do in the guard: entered by a tail call, with a
 * question in the per-CPU slot, and left by another.
 *
 * @module
 */

import {
  alu,
  call,
  exit,
  HelperCode,
  type Item,
  jump,
  jumpIf,
  jumpIf32,
  label,
  link,
  load,
  loadMap,
  mov,
  type Program,
  R0,
  R1,
  R10,
  R2,
  R3,
  R4,
  R5,
  R6,
  R7,
  R8,
  R9,
  store,
  storeImmediate,
} from "../../asm/mod.ts";
import {
  encodeAnswer,
  PolicyMap,
  QUERY_SIZE_BYTES,
  QueryOffset,
  STAGE_AFTER_VERDICT,
} from "../../compile/policy/mod.ts";

/** Questions of one run: each takes two tail calls, and the kernel allows 33. */
export const BATCH_QUESTIONS_MAX = 16;

/** Bytes before the first question: what would be the Ethernet header, and the number. */
export const BATCH_HEADER_SIZE_BYTES = 20;

/** Where in the header the number of questions is: u32. */
export const BATCH_COUNT_OFFSET = 16;

/** Maps of the batch alone. */
export const BatchMap = {
  /** Per-CPU array of one u32: the question that is being asked. */
  CURSOR: "policy_cursor",
  /** Prefixes, to the index of a row of bits. */
  PLACES: "policy_places",
  /** Verdict programs. */
  PROGRAMS: "policy_programs",
} as const;

/**
 * Which of the two copies of the program it is: the one that is run, or the one that is left to.
 */
export type BatchStage = "first" | "next";

/** The program of a stage. */
export function batchProgram(stage: BatchStage): Program {
  return link([
    ...PROLOGUE,
    ...(stage === "first" ? FROM_THE_START : TAKE_ANSWER),
    ...ASK,
    ...FIND_PEER,
    ...EPILOGUE,
  ]);
}

/** Stack: a map's key, and the key of the longest-prefix map (u32 of bits, 16 of address). */
const KEY = -4;
const PREFIX_KEY = -24;
/** Stack: the number of questions. */
const COUNT = -28;
const ADDRESS_BITS = 128;

/** R6 context, R7 cursor (in its map), R8 slot, R9 the question's place in the packet. */
const PROLOGUE: readonly Item[] = [
  mov.reg(R6, R1),
  storeImmediate("u32", R10, KEY, 0),
  ...lookUp(BatchMap.CURSOR, KEY),
  jumpIf.equal.imm(R0, 0, "end"),
  mov.reg(R7, R0),
  ...lookUp(PolicyMap.QUERY, KEY),
  jumpIf.equal.imm(R0, 0, "end"),
  mov.reg(R8, R0),
];

const FROM_THE_START: readonly Item[] = [storeImmediate("u32", R7, 0, 0)];

const TAKE_ANSWER: readonly Item[] = [
  ...placeInPacket(),
  mov.reg(R1, R6),
  mov.reg(R2, R9),
  alu.add.imm(R2, QueryOffset.ANSWER),
  mov.reg(R3, R8),
  alu.add.imm(R3, QueryOffset.ANSWER),
  mov.imm(R4, 4),
  mov.imm(R5, 0),
  call(HelperCode.SKB_STORE_BYTES),
  jumpIf.notEqual.imm(R0, 0, "end"),
  load("u32", R1, R7, 0),
  alu.add.imm(R1, 1),
  store("u32", R7, 0, R1),
];

/** Puts the next question into the slot, or ends. */
const ASK: readonly Item[] = [
  ...loadPacket(BATCH_COUNT_OFFSET, COUNT, 4),
  load("u32", R1, R7, 0),
  load("u32", R2, R10, COUNT),
  jumpIf.greaterOrEqual.reg(R1, R2, "end"),
  ...placeInPacket(),
  mov.reg(R1, R6),
  mov.reg(R2, R9),
  mov.reg(R3, R8),
  mov.imm(R4, QUERY_SIZE_BYTES),
  call(HelperCode.SKB_LOAD_BYTES),
  jumpIf.notEqual.imm(R0, 0, "end"),
];

/** Looks the peer up by its address where the question does not say who it is. */
const FIND_PEER: readonly Item[] = [
  load("u32", R1, R8, QueryOffset.IDENTITY),
  jumpIf32.notEqual.imm(R1, 0, "call"),
  storeImmediate("u32", R10, PREFIX_KEY, ADDRESS_BITS),
  load("u64", R1, R8, QueryOffset.PEER),
  store("u32", R10, PREFIX_KEY + 4, R1),
  alu.rsh.imm(R1, 32),
  store("u32", R10, PREFIX_KEY + 8, R1),
  load("u64", R1, R8, QueryOffset.PEER + 8),
  store("u32", R10, PREFIX_KEY + 12, R1),
  alu.rsh.imm(R1, 32),
  store("u32", R10, PREFIX_KEY + 16, R1),
  ...lookUp(BatchMap.PLACES, PREFIX_KEY),
  jumpIf.notEqual.imm(R0, 0, "found"),
  storeImmediate("u32", R8, QueryOffset.ANSWER, encodeAnswer("unknown-identity", -1)),
  ...tailCall(PolicyMap.STAGES, [mov.imm(R3, STAGE_AFTER_VERDICT)]),
  jump("end"),
  label("found"),
  load("u32", R1, R0, 0),
  store("u32", R8, QueryOffset.IDENTITY, R1),
];

const EPILOGUE: readonly Item[] = [
  label("call"),
  ...tailCall(BatchMap.PROGRAMS, [load("u32", R3, R8, QueryOffset.PROGRAM)]),
  label("end"),
  mov.imm(R0, 0),
  exit(),
];

/** R9 = the place of the question at the cursor. */
function placeInPacket(): Item[] {
  return [
    load("u32", R9, R7, 0),
    alu.mul.imm(R9, QUERY_SIZE_BYTES),
    alu.add.imm(R9, BATCH_HEADER_SIZE_BYTES),
  ];
}

/** Copies bytes of the packet to the stack; ends where there are none. */
function loadPacket(offset: number, stack: number, size: number): Item[] {
  return [
    mov.reg(R1, R6),
    mov.imm(R2, offset),
    mov.reg(R3, R10),
    alu.add.imm(R3, stack),
    mov.imm(R4, size),
    call(HelperCode.SKB_LOAD_BYTES),
    jumpIf.notEqual.imm(R0, 0, "end"),
  ];
}

function lookUp(map: string, key: number): Item[] {
  return [loadMap(R1, map), mov.reg(R2, R10), alu.add.imm(R2, key), call(HelperCode.MAP_LOOKUP)];
}

function tailCall(map: string, index: readonly Item[]): Item[] {
  return [...index, mov.reg(R1, R6), loadMap(R2, map), call(HelperCode.TAIL_CALL)];
}
