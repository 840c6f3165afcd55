/**
 * Single files of the directory source in every state that a file can be in.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { SOURCE_DEPTH_MAX, SOURCE_FILE_SIZE_BYTES_MAX } from "@/src/limits.ts";
import { has, lacks, pod, policy, rejects, TestSource } from "./source.ts";

describe("a file", () => {
  it("that is emptied is being written: nothing is deleted for a while", async () => {
    await using source = await TestSource.make({
      "p.yaml": policy("p", "STRICT"),
      "a.yaml": pod("a"),
    });
    await source.start().ready();
    // As a shell does it: truncated first, written after a while.
    await source.write("p.yaml", "");
    await source.write("b.yaml", pod("b"));
    await source.until("b", has("Pod", "b"));
    assert.deepEqual(source.names(), ["default/a", "default/b", "default/p"]);
    await source.write("p.yaml", policy("p", "PERMISSIVE"));
    await source.until(
      "PERMISSIVE",
      ({ objects }) => objects.MeshPolicy.get("default/p")?.object.mode === "PERMISSIVE",
    );
    const deletions = source.batches.flat().filter(({ type }) => type === "delete");
    assert.deepEqual(deletions, []);
  });

  it("that stays empty has deleted its objects", async () => {
    await using source = await TestSource.make({
      "p.yaml": policy("p", "STRICT"),
      "a.yaml": pod("a"),
    });
    await source.start().ready();
    await source.write("p.yaml", "");
    await source.until("p gone", lacks("MeshPolicy", "p"));
    assert.deepEqual(source.names(), ["default/a"]);
  });

  it("that is too large is rejected; what it said stays", async () => {
    await using source = await TestSource.make({ "a.yaml": pod("a"), "b.yaml": pod("b") });
    await source.start().ready();
    await Deno.truncate(`${source.dir}/a.yaml`, SOURCE_FILE_SIZE_BYTES_MAX + 1);
    await source.until("rejected", rejects(/is larger than/));
    assert.deepEqual(source.names(), ["default/a", "default/b"]);
  });

  it("that is binary, or no UTF-8, harms no other", async () => {
    await using source = await TestSource.make({
      "a.yaml": pod("a"),
      "b.yaml": "\0\0\0",
      "d.yaml": "{{{{ ]]]]",
    });
    await source.write("c.yaml", Uint8Array.of(0xff, 0xfe, 0x00));
    const state = await source.start().ready();
    assert.deepEqual(source.names(), ["default/a"]);
    assert.deepEqual(
      state.rejections.map(({ file, code }) => [file.replace(/.*\//, ""), code]),
      [["b.yaml", "unreadable"], ["c.yaml", "unreadable"], ["d.yaml", "unreadable"]],
    );
  });

  it("that is none is not opened", async () => {
    await using source = await TestSource.make({ "a.yaml": pod("a") });
    const { success } = await new Deno.Command("mkfifo", { args: [`${source.dir}/f.yaml`] })
      .output();
    assert.equal(success, true);
    await Deno.symlink("/dev/zero", `${source.dir}/z.yaml`);
    await Deno.symlink("nowhere.yaml", `${source.dir}/n.yaml`);
    const state = await source.start().ready();
    assert.deepEqual(source.names(), ["default/a"]);
    assert.deepEqual(state.rejections.map(({ reason }) => reason), [
      "is not a regular file",
      "is not a regular file",
    ]);
  });

  it("is read once, however many links lead to its folder", async () => {
    await using source = await TestSource.make({ "x/a.yaml": pod("a") });
    await Deno.symlink("..", `${source.dir}/x/loop`);
    await Deno.symlink("x", `${source.dir}/y`);
    const state = await source.start().ready();
    assert.deepEqual(source.names(), ["default/a"]);
    assert.deepEqual(state.rejections, []);
  });

  it("stays in force when its folder cannot be looked into", async () => {
    await using source = await TestSource.make({ "a.yaml": pod("a"), "x/b.yaml": pod("b") });
    await source.start().ready();
    await Deno.rename(`${source.dir}/x`, `${source.root}/x`);
    await Deno.symlink("x", `${source.dir}/x`);
    await source.until("blocked", rejects(/cannot be read/));
    assert.deepEqual(source.names(), ["default/a", "default/b"]);
    await source.remove("x");
    await source.until("b gone", lacks("Pod", "b"));
  });

  it("is not looked for in folders without end", async () => {
    const deep = Array.from({ length: SOURCE_DEPTH_MAX + 2 }, () => "d").join("/");
    await using source = await TestSource.make({
      "a.yaml": pod("a"),
      [`${deep}/b.yaml`]: pod("b"),
    });
    const state = await source.start().ready();
    assert.deepEqual(source.names(), ["default/a"]);
    assert.match(state.rejections[0]?.reason ?? "", /nested deeper/);
  });
});
