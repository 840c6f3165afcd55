/**
 * Programs are put together: constructors hold their operands, labels become distances, and what
 * the kernel would refuse for its shape is refused here.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  alu,
  alu32,
  call,
  encode,
  exit,
  HelperCode,
  type Item,
  jump,
  jumpIf,
  jumpIf32,
  label,
  link,
  LinkError,
  listing,
  load,
  loadMap,
  loadMapValue,
  loadWide,
  mov,
  neg,
  R0,
  R1,
  R10,
  R2,
  R6,
  register,
  store,
  storeImmediate,
  swapToBig,
  withIslands,
  withOrigin,
} from "@/src/asm/mod.ts";
import { decodeInstruction } from "@/src/asm/instruction.ts";

/** Bytes of one instruction, in hexadecimal. */
function hex(...items: Item[]): string {
  return encode(link([...items, exit()])).toHex().slice(0, -16);
}

/** The fault of items that do not link. */
function fault(items: readonly Item[]): LinkError["fault"] {
  try {
    link(items);
  } catch (error) {
    assert.ok(error instanceof LinkError);
    return error.fault;
  }
  return assert.fail("it linked");
}

describe("an instruction", () => {
  it("has the bytes that the kernel's documentation gives it", () => {
    const rows: [string, Item][] = [
      ["b700000001000000", mov.imm(R0, 1)],
      ["bf16000000000000", mov.reg(R6, R1)],
      ["b4000000ffffffff", alu32.mov.imm(R0, 0xffff_ffff)],
      ["0f61000000000000", alu.add.reg(R1, R6)],
      ["8706000000000000", neg(R6)],
      ["dc06000010000000", swapToBig(R6, 16)],
      ["6162080000000000", load("u32", R2, R6, 8)],
      ["730afcff00000000", store("u8", R10, -4, R0)],
      ["6a0af8ffffffffff", storeImmediate("u16", R10, -8, -1)],
      ["8500000001000000", call(HelperCode.MAP_LOOKUP)],
    ];
    for (const [bytes, instruction] of rows) assert.equal(hex(instruction), bytes);
  });

  it("of two slots carries 64 bits, or a map", () => {
    assert.equal(hex(loadWide(R1, 0x1122334455667788n)), "18010000887766550000000044332211");
    assert.equal(hex(loadMap(R1, "m")), "18110000000000000000000000000000");
    assert.equal(hex(loadMapValue(R1, "m", 8)), "18210000000000000000000008000000");
  });

  it("is read back from its bytes", () => {
    for (const item of [mov.imm(R6, -7), load("u64", R1, R10, -16), loadWide(R2, -2n)]) {
      const bytes = encode(link([item, exit()]));
      assert.deepEqual(decodeInstruction(new DataView(bytes.buffer), 0), item);
    }
  });

  it("refuses operands that do not fit", () => {
    assert.throws(() => mov.imm(R0, 2 ** 31), RangeError);
    assert.throws(() => mov.imm(R0, 0.5), RangeError);
    assert.throws(() => load("u8", R0, R1, 40_000), RangeError);
    assert.throws(() => jumpIf.equal.imm(R0, 2 ** 32, "x"), RangeError);
    assert.throws(() => register(11), RangeError);
  });

  it("takes an unsigned operand where only 32 bits are compared", () => {
    const program = link([jumpIf32.anyBit.imm(R1, 0x8000_0000, "x"), label("x"), exit()]);
    assert.equal(program.instructions[0]?.immediate, -(2 ** 31));
  });
});

describe("link()", () => {
  it("turns labels into distances, counting two slots for a wide load", () => {
    const program = link([
      jump("over"),
      label("back"),
      exit(),
      label("over"),
      loadWide(R0, 1n),
      jumpIf.equal.imm(R0, 1, "back"),
      exit(),
    ]);
    assert.deepEqual(program.instructions.map(({ offset }) => offset), [1, 0, 0, -4, 0]);
    assert.deepEqual(program.slots, [0, 1, 2, 4, 5]);
    assert.equal(program.length, 6);
  });

  it("names what is wrong with the shape of a program", () => {
    assert.deepEqual(fault([jump("nowhere")]), {
      kind: "unknown-label",
      label: "nowhere",
      slot: 0,
    });
    assert.deepEqual(fault([label("a"), label("a"), exit()]), {
      kind: "duplicate-label",
      label: "a",
    });
    assert.deepEqual(fault([mov.imm(R0, 0)]), { kind: "falls-off" });
    assert.deepEqual(fault([]), { kind: "falls-off" });
    assert.deepEqual(fault([exit(), exit()]), { kind: "unreachable", slot: 1 });
    const far = [jumpIf.equal.imm(R1, 0, "end"), ...filler(40_000), label("end"), exit()];
    assert.deepEqual(fault(far), { kind: "too-far", label: "end", slot: 0, distance: 40_000 });
  });

  it("puts descriptors in the place of maps, and zero without them", () => {
    const program = link([loadMap(R1, "a"), loadMap(R2, "b"), loadMap(R2, "a"), exit()]);
    assert.deepEqual(program.maps, ["a", "b"]);
    const words = new Int32Array(encode(program, (map) => map === "a" ? 7 : 9).buffer);
    assert.deepEqual([words[1], words[5], words[9]], [7, 9, 7]);
    assert.ok(encode(program).toHex().startsWith("1811000000000000"));
  });
});

describe("withIslands()", () => {
  it("leaves alone what is near", () => {
    const items = [jump("end"), label("end"), exit()];
    assert.equal(withIslands(items), items);
  });

  it("brings far targets within reach, forwards and backwards", () => {
    const exits = (count: number, name: string): Item[] =>
      Array.from({ length: count }, (_, index) => [
        label(`${name}${index}`),
        jumpIf.equal.imm(R1, index, `${name}${index + 1 < count ? index + 1 : 0}`),
        exit(),
      ]).flat();
    const items = [
      mov.imm(R0, 0),
      jumpIf.equal.imm(R1, 1, "b0"),
      ...exits(50_000, "a"),
      ...exits(50_000, "b"),
      label("last"),
      jumpIf.equal.imm(R1, 3, "a1"),
      exit(),
    ];
    const reached = [jumpIf.equal.imm(R1, 9, "last"), ...items];
    assert.ok(link(withIslands(reached)).length > 200_000);
  });
});

describe("listing()", () => {
  it("shows each instruction as the kernel writes it, and where its reason changes", () => {
    const rule = withOrigin("allow web", [
      load("u32", R6, R1, 4),
      jumpIf32.anyBit.imm(R6, 8, "yes"),
    ]);
    const program = link([...rule, mov.imm(R0, 0), exit(), label("yes"), mov.imm(R0, 1), exit()]);
    assert.equal(
      listing(program),
      [
        "     0: r6 = *(u32 *)(r1 + 4)                        ; allow web",
        "     1: if w6 & 8 goto yes",
        "     2: r0 = 0",
        "     3: exit",
        "yes:",
        "     4: r0 = 1",
        "     5: exit",
        "",
      ].join("\n"),
    );
  });
});

/** Instructions that do nothing. */
function filler(count: number): Item[] {
  return Array.from({ length: count }, () => mov.imm(R0, 0));
}
