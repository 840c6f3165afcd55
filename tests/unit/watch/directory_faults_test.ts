/**
 * What becomes of the folder under a running agent: large, many, swapped, looped, and the agent's
 * own memory of it broken.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { SOURCE_FILE_SIZE_BYTES_MAX, SOURCE_QUIET_MS } from "@/src/limits.ts";
import type { State } from "@/src/model/mod.ts";
import { has, pod, policy, rejects, TestSource } from "./source.ts";

const failing = ({ source }: State) => source.failure !== undefined;
const WORLD = { "a.yaml": pod("a"), "p.yaml": policy("p", "STRICT") };
const IN_FORCE = ["default/a", "default/p"];

describe("the folder of a running agent", () => {
  it("stays in force when it becomes a link to itself, and recovers", async () => {
    await using source = await TestSource.make(WORLD);
    await source.start().ready();
    await Deno.rename(source.dir, `${source.root}/away`);
    await Deno.symlink("source", source.dir);
    const { source: { failure } } = await source.until("failing", failing);
    assert.match(failure ?? "", /^Source directory ".*" cannot be read: .*symbolic links/);
    assert.deepEqual(source.names(), IN_FORCE);
    await Deno.remove(source.dir);
    await Deno.rename(`${source.root}/away`, source.dir);
    await source.ready();
    await source.write("b.yaml", pod("b"));
    await source.until("b", has("Pod", "b"));
  });

  it("loses no object while it is replaced again and again", async () => {
    await using source = await TestSource.make(WORLD);
    const twin = `${source.root}/twin`;
    await Deno.mkdir(twin);
    const labelled = pod("a", "  labels: { of: twin }\n");
    await Deno.writeTextFile(`${twin}/a.yaml`, labelled);
    await Deno.writeTextFile(`${twin}/p.yaml`, policy("p", "STRICT"));
    await source.start().ready();
    const seen = source.batches.length;
    const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
    for (let round = 0; round < 9; round++) {
      // Three renames, as deployment tools do it: for a moment there is no folder at all.
      Deno.renameSync(source.dir, `${source.root}/old`);
      // Long enough, now and then, for a look in the middle of it.
      // deno-lint-ignore no-await-in-loop
      await pause(round % 2 === 0 ? 1 : 2 * SOURCE_QUIET_MS);
      Deno.renameSync(twin, source.dir);
      Deno.renameSync(`${source.root}/old`, twin);
      // deno-lint-ignore no-await-in-loop
      await pause(round % 3 === 0 ? 1 : 2 * SOURCE_QUIET_MS);
    }
    await source.until(
      "the twin",
      ({ objects }) => objects.Pod.get("default/a")?.object.labels.get("of") === "twin",
    );
    await source.ready();
    const lost = source.batches.slice(seen).flat()
      .filter(({ type }) => type === "delete" || type === "reject");
    assert.deepEqual(lost, []);
    assert.deepEqual(source.names(), IN_FORCE);
  });

  it("stays in force when all of it turns binary, each file named", async () => {
    await using source = await TestSource.make(WORLD);
    await source.start().ready();
    const noise = crypto.getRandomValues(new Uint8Array(4096)).fill(0, 0, 1);
    await Promise.all([source.write("a.yaml", noise), source.write("p.yaml", noise)]);
    const state = await source.until("two rejections", (now) => now.rejections.length === 2);
    assert.deepEqual(state.rejections.map(({ file, kept }) => [file.slice(-6), kept]), [
      ["a.yaml", true],
      ["p.yaml", true],
    ]);
    assert.deepEqual(source.names(), IN_FORCE);
  });

  it("does not take a document of 100 MB into memory", async () => {
    await using source = await TestSource.make(WORLD);
    await source.start().ready();
    const before = Deno.memoryUsage();
    const document = await Deno.open(`${source.dir}/huge.yaml`, { write: true, create: true });
    await document.write(new TextEncoder().encode(`${pod("huge")}# `));
    await document.truncate(100 << 20);
    document.close();
    const state = await source.until("rejected", rejects(/is larger than/));
    assert.equal(state.rejections[0]?.file, `${source.dir}/huge.yaml`);
    assert.deepEqual(source.names(), IN_FORCE);
    const { external } = Deno.memoryUsage();
    assert.ok(external - before.external < SOURCE_FILE_SIZE_BYTES_MAX, "it was read");
  });

  it("takes 10,000 documents, of one file, whole and at once", async () => {
    await using source = await TestSource.make(WORLD);
    await source.start().ready();
    const seen = source.batches.length;
    const many = Array.from({ length: 10_000 }, (_, index) => pod(`pod-${index}`));
    await source.replace("many.yaml", many.join("---\n"));
    await source.until("all", ({ objects }) => objects.Pod.size === 10_001);
    const batches = source.batches.slice(seen).filter((batch) =>
      batch.some(({ type }) => type === "put")
    );
    assert.equal(batches.length, 1);
    await source.remove("many.yaml");
    await source.until("gone", ({ objects }) => objects.Pod.size === 1);
    assert.deepEqual(source.names(), IN_FORCE);
  });
});

describe("the last good policies, when their file is broken", () => {
  const breaks: Readonly<Record<string, (text: string) => string>> = {
    "cut short": (text) => text.slice(0, text.length / 2),
    "empty": () => "",
    "filled with garbage": () => "\0\u{fffd}{]",
    "of other fields": () => '{"version":2}',
    "of a policy that is not acceptable": (text) => text.replace("STRICT", "strict"),
  };
  for (const [how, broken] of Object.entries(breaks)) {
    it(`${how}: what they closed stays closed until a person has looked`, async () => {
      await using source = await TestSource.make(WORLD);
      await source.start().ready();
      await source.replace("p.yaml", policy("p", "strict"));
      await source.until("rejected", rejects(/must be one of/));
      await source.stop();
      const { lastGoodFile } = source;
      const text = await Deno.readTextFile(lastGoodFile);
      await Deno.writeTextFile(lastGoodFile, broken(text));
      const state = await source.start({ resuming: true }).until("failing", failing);
      assert.equal(state.source.ready, false, "a plan without the policy would be applied");
      const { failure = "" } = state.source;
      assert.ok(failure.startsWith(`Cannot use the last good policies in "${lastGoodFile}": `));
      assert.match(failure, /mend those, or remove it and restart the agent$/);
      await source.replace("p.yaml", policy("p", "STRICT"));
      await source.ready();
      assert.deepEqual(source.names(), IN_FORCE);
      assert.deepEqual(JSON.parse(await Deno.readTextFile(lastGoodFile)), JSON.parse(text));
    });
  }

  it("are missed although the source came late", async () => {
    await using source = await TestSource.make({});
    await Deno.writeTextFile(source.lastGoodFile, "garbage");
    await Deno.rename(source.dir, `${source.dir}.away`);
    await source.start({ resuming: true }).until("failing", failing);
    await Deno.writeTextFile(`${source.dir}.away/p.yaml`, policy("p", "strict"));
    await Deno.writeTextFile(`${source.dir}.away/a.yaml`, pod("a"));
    await Deno.rename(`${source.dir}.away`, source.dir);
    const state = await source.until("read", rejects(/must be one of/));
    assert.equal(state.source.ready, false, "a plan without the policy would be applied");
    assert.match(state.source.failure ?? "", /^Cannot use the last good policies/);
  });

  it("go on without them once the file is removed", async () => {
    await using source = await TestSource.make(WORLD);
    await source.write("p.yaml", policy("p", "strict"));
    await Deno.writeTextFile(source.lastGoodFile, "garbage");
    await source.start({ resuming: true }).until("failing", failing);
    await source.stop();
    await Deno.remove(source.lastGoodFile);
    await source.start({ resuming: true }).ready();
    assert.deepEqual(source.names(), ["default/a"]);
  });

  it("are no failure where nothing is in force yet, but a problem that is shown", async () => {
    await using source = await TestSource.make(WORLD);
    await source.write("p.yaml", policy("p", "strict"));
    await Deno.writeTextFile(source.lastGoodFile, "garbage");
    const state = await source.start().ready();
    assert.match(state.source.problem ?? "", /1 rejected documents may have been among them/);
    await source.replace("p.yaml", policy("p", "STRICT"));
    await source.until("no problem", (now) => now.source.problem === undefined);
    assert.deepEqual(source.names(), IN_FORCE);
  });

  it("cannot be saved: that is shown, everything counts, and it recovers", async () => {
    await using source = await TestSource.make(WORLD);
    await Deno.mkdir(`${source.lastGoodFile}.new`);
    const state = await source.start().ready();
    assert.match(state.source.problem ?? "", /^Cannot save the last good policies as ".*": /);
    assert.deepEqual(source.names(), IN_FORCE);
    await Deno.remove(`${source.lastGoodFile}.new`).catch(() => undefined);
    await source.write("b.yaml", pod("b"));
    await source.until("no problem", (now) => now.source.problem === undefined);
    assert.equal((await Deno.stat(source.lastGoodFile)).isFile, true);
  });
});
