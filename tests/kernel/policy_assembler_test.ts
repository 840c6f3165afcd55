/**
 * The assembler and its interpreter against the kernel: the same bytes give the same result.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { ProgramType } from "@/ffi/bpf/constants.ts";
import { BpfProgram } from "@/ffi/bpf/program.ts";
import {
  alu,
  alu32,
  encode,
  exit,
  type Item,
  jumpIf,
  jumpIf32,
  label,
  link,
  load,
  loadWide,
  mov,
  neg,
  R0,
  R1,
  R10,
  R6,
  R7,
  R8,
  run,
  store,
  swapToBig,
  withIslands,
} from "@/src/asm/mod.ts";

const REGISTERS = [R6, R7, R8] as const;

/** The kernel returns 32 bits of R0: all 64 are folded into them. */
const FOLD: readonly Item[] = [
  mov.reg(R0, R6),
  alu.rsh.imm(R0, 32),
  alu32.xor.reg(R0, R6),
  alu32.xor.reg(R0, R7),
  alu32.add.reg(R0, R8),
  exit(),
];

const word = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n });
const small = fc.oneof(
  fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }),
  fc.integer({ min: -2, max: 66 }),
);
const target = fc.constantFrom(...REGISTERS);
const binaryName = fc.constantFrom(...Object.keys(alu) as (keyof typeof alu)[]);
const conditionName = fc.constantFrom(...Object.keys(jumpIf) as (keyof typeof jumpIf)[]);

/** Instructions that do one thing, whatever the registers hold. */
const step: fc.Arbitrary<Item[]> = fc.oneof(
  fc.tuple(fc.boolean(), binaryName, target, target)
    .map(([wide, name, a, b]) => [(wide ? alu : alu32)[name].reg(a, b)]),
  fc.tuple(fc.boolean(), binaryName, target, small).filter(([wide, name, , value]) => {
    const isShift = name === "lsh" || name === "rsh" || name === "arsh";
    if (isShift) return value >= 0 && value < (wide ? 64 : 32);
    return value !== 0 || (name !== "div" && name !== "mod");
  }).map(([wide, name, a, value]) => [(wide ? alu : alu32)[name].imm(a, value)]),
  target.map((a) => [neg(a)]),
  fc.tuple(target, fc.constantFrom<16 | 32 | 64>(16, 32, 64)).map(([a, bits]) => [
    swapToBig(a, bits),
  ]),
  fc.tuple(target, target, fc.constantFrom("u8", "u16", "u32", "u64" as const))
    .map(([a, b, size]) => [store("u64", R10, -8, a), load(size, b, R10, -8)]),
);

/** A step that a condition may skip. */
const block = fc.tuple(step, fc.boolean(), conditionName, target, target, small, fc.boolean()).map(
  ([items, wide, name, a, b, value, byRegister]) => ({
    items,
    wide,
    name,
    a,
    b,
    value,
    byRegister,
  }),
);

const program = fc.tuple(fc.tuple(word, word, word), fc.array(block, { maxLength: 12 })).map(
  ([values, blocks]) => [
    ...REGISTERS.flatMap((register, index) => loadWide(register, values[index] ?? 0n)),
    ...blocks.flatMap(({ items, wide, name, a, b, value, byRegister }, index) => {
      const condition = (wide ? jumpIf : jumpIf32)[name];
      const skip = byRegister
        ? condition.reg(a, b, `next-${index}`)
        : condition.imm(a, value, `next-${index}`);
      return [skip, ...items, label(`next-${index}`)];
    }),
    ...FOLD,
  ],
);

function loadItems(items: readonly Item[]): BpfProgram {
  return BpfProgram.load({
    type: ProgramType.SCHED_CLS,
    name: "assembled",
    license: "Dual BSD/GPL",
    instructions: encode(link(items)),
  });
}

function inKernel(items: readonly Item[]): number {
  using loaded = loadItems(items);
  return loaded.testRun({ dataIn: new Uint8Array(64) }).retval >>> 0;
}

describe("an assembled program", () => {
  it("computes in the kernel what the interpreter computes", () => {
    fc.assert(
      fc.property(program, (items) => {
        const { result } = run(link(items), new Uint8Array(192), { maps: new Map() });
        assert.equal(inKernel(items), Number(BigInt.asUintN(32, result)));
      }),
      { numRuns: 400 },
    );
  });

  it("is accepted with islands in it, and finds its way over them", () => {
    const tree = (low: number, high: number): Item[] => {
      if (high - low === 1) return [mov.imm(R0, low), exit()];
      const middle = (low + high) >> 1;
      return [
        jumpIf.greaterOrEqual.imm(R6, middle, `from-${middle}`),
        ...tree(low, middle),
        label(`from-${middle}`),
        ...tree(middle, high),
      ];
    };
    // The first member of the context is the length of the packet.
    const items = withIslands([load("u32", R6, R1, 0), ...tree(0, 30_000)]);
    assert.ok(link(items).length > 90_000);
    using loaded = loadItems(items);
    for (const size of [14, 64, 1500]) {
      const { retval } = loaded.testRun({ dataIn: new Uint8Array(size) });
      const context = new Uint8Array(new Uint32Array([size]).buffer);
      assert.equal(retval, size);
      assert.equal(run(link(items), context, { maps: new Map() }).result, BigInt(size));
    }
  });
});
