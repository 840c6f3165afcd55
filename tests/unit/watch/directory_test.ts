/**
 * The directory source on a real folder: what comes, goes, breaks and comes back.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { State } from "@/src/model/mod.ts";
import { has, lacks, pod, policy, rejects, TestSource } from "./source.ts";

const failing = ({ source }: State) => source.failure !== undefined;

describe("a directory", () => {
  it("is read completely before it is ready", async () => {
    await using source = await TestSource.make({
      "a.yaml": pod("a"),
      "b.yml": pod("b"),
      "deep/er/c.json": '{"apiVersion":"v1","kind":"Pod","metadata":{"name":"c"}}',
      "notes.txt": "not ours",
      ".hidden.yaml": pod("hidden"),
      ".hidden/d.yaml": pod("hidden"),
    });
    await source.start().ready();
    assert.deepEqual(source.names(), ["default/a", "default/b", "default/c"]);
    const [first] = source.batches;
    assert.equal(first?.filter(({ type }) => type === "put").length, 3);
  });

  it("tells what is added, changed and deleted", async () => {
    await using source = await TestSource.make({ "a.yaml": pod("a"), "b.yaml": pod("b") });
    await source.start().ready();
    await source.write("c.yaml", policy("p", "STRICT"));
    await source.until("p", has("MeshPolicy", "p"));
    await source.replace("c.yaml", policy("p", "DISABLE"));
    await source.until(
      "DISABLE",
      ({ objects }) => objects.MeshPolicy.get("default/p")?.object.mode === "DISABLE",
    );
    await source.remove("b.yaml");
    await source.until("b gone", lacks("Pod", "b"));
    assert.deepEqual(source.names(), ["default/a", "default/p"]);
  });

  it("deletes the documents that a file no longer has", async () => {
    await using source = await TestSource.make({ "a.yaml": `${pod("a")}---\n${pod("b")}` });
    await source.start().ready();
    await source.replace("a.yaml", pod("b"));
    await source.until("a gone", lacks("Pod", "a"));
    assert.deepEqual(source.names(), ["default/b"]);
  });

  it("follows folders that are made, moved and removed", async () => {
    await using source = await TestSource.make({ "a.yaml": pod("a") });
    await source.start().ready();
    await source.write("x/y/b.yaml", pod("b"));
    await source.until("b", has("Pod", "b"));
    await Deno.rename(`${source.dir}/x`, `${source.dir}/z`);
    await source.until(
      "b moved",
      ({ objects }) => objects.Pod.get("default/b")?.origin.file === `${source.dir}/z/y/b.yaml`,
    );
    await source.remove("z");
    await source.until("b gone", lacks("Pod", "b"));
  });

  it("knows the file and line of what it tells", async () => {
    await using source = await TestSource.make({ "p.yaml": policy("p", "STRICT") });
    const state = await source.start().ready();
    const stored = state.objects.MeshPolicy.get("default/p");
    assert.equal(stored?.origin.file, `${source.dir}/p.yaml`);
    assert.equal(stored?.origin.lineOf?.(["spec", "mtls", "mode"]), 7);
  });

  it("counts what is of no use to weft", async () => {
    const deployment = pod("x").replace("v1", "apps/v1").replace("Pod", "Deployment");
    await using source = await TestSource.make({ "a.yaml": `${pod("a")}---\n${deployment}` });
    const state = await source.start().ready();
    assert.deepEqual(state.source.ignored, { Deployment: 1 });
    assert.deepEqual(state.rejections, []);
  });

  it("follows symbolic links to files, as ConfigMaps are mounted", async () => {
    await using source = await TestSource.make({
      "..v1/p.yaml": policy("p", "STRICT"),
      "..v2/p.yaml": policy("p", "PERMISSIVE"),
      "a.yaml": pod("a"),
    });
    await Deno.symlink("..v1", `${source.dir}/..data`);
    await Deno.symlink("..data/p.yaml", `${source.dir}/p.yaml`);
    await source.start().until("p", has("MeshPolicy", "p"));
    await Deno.symlink("..v2", `${source.dir}/..next`);
    await Deno.rename(`${source.dir}/..next`, `${source.dir}/..data`);
    await source.until(
      "PERMISSIVE",
      ({ objects }) => objects.MeshPolicy.get("default/p")?.object.mode === "PERMISSIVE",
    );
    assert.deepEqual(source.names(), ["default/a", "default/p"]);
  });

  it("says nothing when nothing has changed", async () => {
    await using source = await TestSource.make({ "a.yaml": pod("a") });
    await source.start().ready();
    const before = source.batches.length;
    await source.replace("a.yaml", pod("a"));
    await source.write("b.yaml", pod("b"));
    await source.until("b", has("Pod", "b"));
    const told = source.batches.slice(before).flat()
      .map((change) => change.type === "put" ? change.object.name : change.type);
    assert.deepEqual(told, ["b"]);
  });
});

describe("a bad document", () => {
  it("is rejected with file, line and path until it is good again", async () => {
    await using source = await TestSource.make({ "a.yaml": pod("a") });
    await source.start().ready();
    await source.write("p.yaml", `${pod("b")}---\n${policy("p", "strict")}`);
    const state = await source.until("rejected", rejects(/must be one of/));
    assert.deepEqual(state.rejections, [{
      file: `${source.dir}/p.yaml`,
      document: 2,
      line: 12,
      path: "spec.mtls.mode",
      ref: { kind: "CiliumServiceMeshPolicy", namespace: "default", name: "p" },
      reason: 'must be one of "STRICT", "PERMISSIVE", "DISABLE"',
      code: "invalid",
      kept: false,
    }]);
    assert.deepEqual(source.names(), ["default/a", "default/b"]);
    await source.replace("p.yaml", policy("p", "STRICT"));
    await source.until("accepted", ({ rejections }) => rejections.length === 0);
    assert.deepEqual(source.names(), ["default/a", "default/p"]);
  });

  it("leaves its last good version in force, also over a restart of the agent", async () => {
    await using source = await TestSource.make({
      "p.yaml": policy("p", "STRICT"),
      "a.yaml": pod("a"),
    });
    await source.start().ready();
    await source.replace("p.yaml", policy("p", "strict"));
    await source.until("rejected", rejects(/must be one of/));
    assert.deepEqual(source.names(), ["default/a", "default/p"]);
    for (let restart = 0; restart < 2; restart++) {
      // deno-lint-ignore no-await-in-loop -- one restart after the other
      await source.stop();
      // deno-lint-ignore no-await-in-loop -- one restart after the other
      const state = await source.start().ready();
      assert.equal(state.objects.MeshPolicy.get("default/p")?.object.mode, "STRICT");
      assert.equal(state.rejections[0]?.kept, true);
    }
    await source.remove("p.yaml");
    await source.until("p gone", lacks("MeshPolicy", "p"));
  });

  it("does not come back after a restart when its file has gone meanwhile", async () => {
    await using source = await TestSource.make({
      "p.yaml": policy("p", "STRICT"),
      "a.yaml": pod("a"),
    });
    await source.start().ready();
    await source.stop();
    await source.remove("p.yaml");
    await source.start().ready();
    assert.deepEqual(source.names(), ["default/a"]);
  });

  it("went bad while the agent was down", async () => {
    await using source = await TestSource.make({
      "p.yaml": policy("p", "STRICT"),
      "a.yaml": pod("a"),
    });
    await source.start().ready();
    await source.stop();
    await source.write("p.yaml", "spec: [");
    const state = await source.start().ready();
    assert.deepEqual(source.names(), ["default/a", "default/p"]);
    assert.equal(state.rejections[0]?.code, "unreadable");
  });

  it("is a policy that is not enforced yet", async () => {
    const other = pod("n").replace("v1", "cilium.io/v2").replace("Pod", "CiliumNetworkPolicy");
    await using source = await TestSource.make({ "n.yaml": other, "a.yaml": pod("a") });
    const state = await source.start().ready();
    assert.equal(state.rejections[0]?.code, "unsupported");
    assert.match(state.rejections[0]?.reason ?? "", /not enforced/);
  });
});

describe("the same object in two files", () => {
  it("stands by the first in path order; the other takes over when it goes", async () => {
    await using source = await TestSource.make({
      "b.yaml": policy("p", "DISABLE"),
      "a.yaml": policy("p", "STRICT"),
      "c.yaml": pod("c"),
    });
    let state = await source.start().ready();
    assert.equal(state.objects.MeshPolicy.get("default/p")?.object.mode, "STRICT");
    assert.deepEqual(
      state.rejections.map(({ file, line, reason, code }) => [file, line, reason, code]),
      [
        [
          `${source.dir}/b.yaml`,
          1,
          `is defined in "${source.dir}/a.yaml", line 1, already`,
          "duplicate",
        ],
      ],
    );
    await source.remove("a.yaml");
    state = await source.until("no rejection", ({ rejections }) => rejections.length === 0);
    assert.equal(state.objects.MeshPolicy.get("default/p")?.object.mode, "DISABLE");
  });
});

describe("a source failure", () => {
  it("is a folder that is not there; it recovers by itself", async () => {
    await using source = await TestSource.make();
    await source.remove("");
    let state = await source.start().until("failing", failing);
    assert.equal(state.source.ready, false);
    assert.equal(state.source.failure, `Source directory "${source.dir}" does not exist`);
    await source.write("a.yaml", pod("a"));
    state = await source.ready();
    assert.deepEqual(source.names(), ["default/a"]);
  });

  it("is a folder that vanishes: everything stays in force", async () => {
    await using source = await TestSource.make({
      "a.yaml": pod("a"),
      "p.yaml": policy("p", "STRICT"),
    });
    await source.start().ready();
    await Deno.rename(source.dir, `${source.root}/away`);
    const state = await source.until("failing", failing);
    assert.equal(state.source.ready, true);
    assert.deepEqual(source.names(), ["default/a", "default/p"]);
    await Deno.rename(`${source.root}/away`, source.dir);
    await source.ready();
    await source.write("b.yaml", pod("b"));
    await source.until("b, though the folder is another one", has("Pod", "b"));
  });

  it("is a folder that loses all of its objects at once", async () => {
    await using source = await TestSource.make({
      "a.yaml": pod("a"),
      "p.yaml": policy("p", "STRICT"),
    });
    await source.start().ready();
    await Promise.all([source.remove("a.yaml"), source.remove("p.yaml")]);
    const state = await source.until("failing", failing);
    assert.equal(
      state.source.failure,
      `Source directory "${source.dir}" has lost all of its 2 objects at once`,
    );
    assert.deepEqual(source.names(), ["default/a", "default/p"]);
    const batches = source.batches.length;
    await source.write("b.yaml", pod("b"));
    await source.ready();
    assert.deepEqual(source.names(), ["default/b"]);
    const failures = source.batches.slice(batches).flat()
      .filter((change) => change.type === "source" && change.failure !== undefined);
    assert.deepEqual(failures, [], "it does not flap");
  });

  it("is a file in place of the folder", async () => {
    await using source = await TestSource.make({ "a.yaml": pod("a") });
    await source.start().ready();
    await source.remove("");
    await Deno.writeTextFile(source.dir, pod("b"));
    const state = await source.until("failing", failing);
    assert.match(state.source.failure ?? "", /is not a directory/);
    assert.deepEqual(source.names(), ["default/a"]);
  });

  it("is an empty folder only when something is in force already", async () => {
    await using source = await TestSource.make();
    await source.start().ready();
    await source.stop();
    let state = await source.start({ resuming: true }).until("failing", failing);
    assert.equal(state.source.ready, false);
    await source.write("a.yaml", pod("a"));
    state = await source.ready();
    assert.deepEqual(source.names(), ["default/a"]);
  });
});

describe("the source", () => {
  it("ends when it is told to, and leaves nothing running", async () => {
    await using source = await TestSource.make({ "a.yaml": pod("a") });
    await source.start().ready();
    const startMs = performance.now();
    await source.stop();
    assert.ok(performance.now() - startMs < 1000);
  });

  it("keeps what it saves to itself", async () => {
    await using source = await TestSource.make({ "p.yaml": policy("p", "STRICT") });
    await source.start().ready();
    const { mode } = await Deno.stat(source.lastGoodFile);
    assert.equal((mode ?? 0) & 0o777, 0o600);
  });
});
