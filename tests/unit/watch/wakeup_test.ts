/**
 * When the source looks again.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Wakeup } from "@/src/watch/directory/wakeup.ts";

const SHORT_MS = 200;
const LONG_MS = 30_000;

/** Calls with a watched folder that holds one file. */
async function withFolder(
  test: (folder: string, wakeup: Wakeup, stop: AbortController) => Promise<void>,
): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "weft-wakeup-" });
  const stop = new AbortController();
  try {
    await Deno.writeTextFile(`${folder}/a.yaml`, "a");
    using wakeup = new Wakeup(stop.signal);
    assert.equal(await wakeup.watch([folder]), true);
    await test(folder, wakeup, stop);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

async function timed(action: Promise<void>): Promise<number> {
  const startMs = performance.now();
  await action;
  return performance.now() - startMs;
}

describe("next()", () => {
  it("comes after a change", async () => {
    await withFolder(async (folder, wakeup) => {
      const next = timed(wakeup.next(LONG_MS));
      await Deno.writeTextFile(`${folder}/b.yaml`, "b");
      assert.ok(await next < LONG_MS);
    });
  });

  it("comes after a change that was there before it was asked for", async () => {
    await withFolder(async (folder, wakeup) => {
      await Deno.writeTextFile(`${folder}/b.yaml`, "b");
      assert.ok(await timed(wakeup.next(LONG_MS)) < LONG_MS);
    });
  });

  it("is not brought about by reading", async () => {
    await withFolder(async (folder, wakeup) => {
      await Deno.readTextFile(`${folder}/a.yaml`);
      for await (const _ of Deno.readDir(folder));
      const spentMs = await timed(wakeup.next(SHORT_MS));
      assert.ok(spentMs >= SHORT_MS - 1, `woken after ${spentMs} ms`);
    });
  });

  it("comes at once when all is over", async () => {
    await withFolder(async (_folder, wakeup, stop) => {
      const next = timed(wakeup.next(LONG_MS));
      stop.abort();
      assert.ok(await next < LONG_MS);
      assert.ok(await timed(wakeup.next(LONG_MS)) < LONG_MS);
    });
  });
});

describe("watch()", () => {
  it("says when a folder cannot be watched, and watches it once it is there", async () => {
    await withFolder(async (folder, wakeup) => {
      assert.equal(await wakeup.watch([`${folder}/x`]), false);
      await Deno.mkdir(`${folder}/x`);
      assert.equal(await wakeup.watch([`${folder}/x`]), true);
    });
  });

  it("follows a folder that was replaced by another of the same name", async () => {
    await withFolder(async (folder, wakeup) => {
      await Deno.mkdir(`${folder}/x`);
      await wakeup.watch([`${folder}/x`]);
      await Deno.rename(`${folder}/x`, `${folder}/y`);
      await Deno.mkdir(`${folder}/x`);
      assert.equal(await wakeup.watch([`${folder}/x`]), true);
      await wakeup.next(SHORT_MS);
      await Deno.writeTextFile(`${folder}/x/a.yaml`, "a");
      assert.ok(await timed(wakeup.next(LONG_MS)) < LONG_MS);
    });
  });
});
