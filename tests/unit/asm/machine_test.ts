/**
 * The interpreter: what the kernel documents, and nothing that the verifier would not let through.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  alu,
  alu32,
  call,
  exit,
  HelperCode,
  type Item,
  jump,
  jumpIf,
  label,
  link,
  load,
  loadMap,
  loadMapValue,
  loadWide,
  MachineError,
  type MachineMap,
  mov,
  R0,
  R1,
  R10,
  R2,
  R3,
  R6,
  run,
  store,
  storeImmediate,
} from "@/src/asm/mod.ts";

const NO_MAPS = { maps: new Map() };

function result(items: readonly Item[], context = new Uint8Array(16)): bigint {
  return run(link(items), context, NO_MAPS).result;
}

/** An array map with rows of four bytes. */
function arrayOf(...values: number[]): MachineMap {
  const rows = values.map((value) => new Uint8Array(new Uint32Array([value]).buffer));
  return {
    keySize: 4,
    valueSize: 4,
    lookup: (key) => rows[new DataView(key.buffer).getUint32(0, true)],
  };
}

describe("run()", () => {
  it("computes with 64 bits, and with 32 extends by zeros", () => {
    assert.equal(result([mov.imm(R0, -1), exit()]), 2n ** 64n - 1n);
    assert.equal(result([alu32.mov.imm(R0, -1), exit()]), 2n ** 32n - 1n);
    assert.equal(result([mov.imm(R0, -8), alu.arsh.imm(R0, 1), exit()]), 2n ** 64n - 4n);
    assert.equal(result([loadWide(R0, 7n << 40n), alu32.add.imm(R0, 2), exit()]), 2n);
  });

  it("divides by zero as the kernel does", () => {
    const divide = (operation: "div" | "mod") => [
      mov.imm(R0, 42),
      mov.imm(R1, 0),
      alu[operation].reg(R0, R1),
      exit(),
    ];
    assert.equal(result(divide("div")), 0n);
    assert.equal(result(divide("mod")), 42n);
  });

  it("reads its context and its stack", () => {
    const context = new Uint8Array([1, 2, 3, 4, 5]);
    assert.equal(result([load("u16", R0, R1, 1), exit()], context), 0x0302n);
    const stack = [storeImmediate("u32", R10, -4, 77), load("u32", R0, R10, -4), exit()];
    assert.equal(result(stack), 77n);
  });

  it("finds rows of maps, or none", () => {
    const program = link([
      mov.reg(R6, R1),
      load("u32", R3, R6, 0),
      store("u32", R10, -4, R3),
      loadMap(R1, "rows"),
      mov.reg(R2, R10),
      alu.add.imm(R2, -4),
      call(HelperCode.MAP_LOOKUP),
      jumpIf.equal.imm(R0, 0, "none"),
      load("u32", R0, R0, 0),
      exit(),
      label("none"),
      loadMapValue(R1, "rows", 0),
      load("u8", R0, R1, 0),
      exit(),
    ]);
    const maps = new Map([["rows", arrayOf(5, 6)]]);
    const at = (index: number) => run(program, Uint8Array.of(index, 0, 0, 0), { maps }).result;
    assert.deepEqual([at(0), at(1), at(2)], [5n, 6n, 5n]);
  });

  it("goes over to another program by a tail call, and on where there is none", () => {
    const caller = (index: number) =>
      link([
        loadMap(R2, "programs"),
        mov.imm(R3, index),
        call(HelperCode.TAIL_CALL),
        mov.imm(R0, 1),
        exit(),
      ]);
    const itself = caller(1);
    const programs = new Map([[
      "programs",
      new Map([[0, link([mov.imm(R0, 2), exit()])], [1, itself]]),
    ]]);
    const call_ = (index: number) =>
      run(caller(index), new Uint8Array(4), { maps: new Map(), programs });
    assert.equal(call_(0).result, 2n);
    assert.equal(call_(7).result, 1n);
    assert.equal(call_(1).steps, 34 * 3 + 2, "33 tail calls and no more");
  });

  it("refuses what the verifier refuses", () => {
    const bad: [RegExp, Item[]][] = [
      [/r0 was never written/, [exit()]],
      [/r2 was never written/, [mov.reg(R0, R2), exit()]],
      [/cannot read 8 bytes at -8/, [load("u64", R0, R10, -8), exit()]],
      [/cannot read 1 bytes at 16/, [load("u8", R0, R1, 16), exit()]],
      [/cannot write 4 bytes at 0/, [storeImmediate("u32", R10, 0, 1), exit()]],
      [/r10 is read-only/, [mov.imm(R10, 0), exit()]],
      [/only a number can be added/, [alu.mul.imm(R1, 2), exit()]],
      [/pointers cannot be stored/, [store("u64", R10, -8, R1), exit()]],
      [/compared with 0/, [jumpIf.equal.imm(R1, 4, "x"), label("x"), exit()]],
      [/r0 is a pointer/, [mov.reg(R0, R1), exit()]],
      [/helper 5 is not known/, [call(HelperCode.KTIME_GET_NS), exit()]],
      [/does not end/, [label("x"), mov.imm(R0, 0), jump("x")]],
    ];
    for (const [message, items] of bad) {
      assert.throws(() => result(items), (error) => {
        return error instanceof MachineError && message.test(error.message);
      }, String(message));
    }
  });
});
