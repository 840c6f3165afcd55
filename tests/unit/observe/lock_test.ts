/**
 * The lock of a run directory, and who the kernel says holds it.
 *
 * @module
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { lockHolder, lockRunDirectory } from "@/src/observe/mod.ts";

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
