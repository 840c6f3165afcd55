/**
 * The locks of a run directory and of a directory of pins, and who the kernel says holds one.
 *
 * @module
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { lockHolder, lockPins, lockRunDirectory } from "@/src/observe/mod.ts";

describe("the lock of a run directory", () => {
  it("has a holder while it is held, and none after", async () => {
    const directory = await Deno.makeTempDir({ prefix: "weft-lock-" });
    try {
      const lock = lockRunDirectory(directory);
      assert.equal(lockHolder(directory), Deno.pid);
      assert.throws(() => lockRunDirectory(directory), /another agent is using it/);
      lock[Symbol.dispose]();
      assert.equal(lockHolder(directory), undefined);
    } finally {
      await Deno.remove(directory, { recursive: true });
    }
  });
});

describe("the lock of a directory of pins", () => {
  it("is one agent's alone, and leaves nothing in the directory", async () => {
    const directory = await Deno.makeTempDir({ prefix: "weft-lock-" });
    try {
      const lock = lockPins(directory);
      assert.throws(() => lockPins(directory), /Cannot use the pins .*: another agent is using/);
      lock?.[Symbol.dispose]();
      using again = lockPins(directory);
      assert.ok(again);
      assert.deepEqual([...Deno.readDirSync(directory)], []);
    } finally {
      await Deno.remove(directory, { recursive: true });
    }
  });

  it("is not needed where there is no directory yet", () => {
    assert.equal(lockPins("/nonexistent/pins"), undefined);
  });
});
