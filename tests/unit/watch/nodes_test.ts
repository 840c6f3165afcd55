/**
 * Announcements of nodes: written whole, withdrawn, and good for nothing else.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { State } from "@/src/model/mod.ts";
import { type Announcement, announceNode, withdrawNode } from "@/src/watch/mod.ts";
import { pod, TestSource } from "./source.ts";

const announcement = (node: string, fields: Partial<Announcement> = {}): Announcement => ({
  node,
  uid: "",
  issuerFingerprint: "ab12",
  datapathVersion: "1",
  ready: true,
  ...fields,
});

const announced = (node: string) => (state: State) => state.nodes.get(node)?.announced === true;
const withdrawn = (node: string) => (state: State) => state.nodes.get(node)?.announced !== true;

const files = async (dir: string) => {
  const names: string[] = [];
  for await (const { name } of Deno.readDir(dir)) names.push(name);
  return names.sort();
};

describe("an announcement", () => {
  it("reaches the agents that read the folder, and is withdrawn", async () => {
    await using source = await TestSource.make({ "a.yaml": pod("a") });
    await source.start().ready();
    await announceNode(source.nodesDir, announcement("node-b"));
    const state = await source.until("announced", announced("node-b"));
    assert.equal(state.nodes.get("node-b")?.issuerFingerprint, "ab12");
    await announceNode(source.nodesDir, announcement("node-b", { ready: false }));
    await source.until("not ready", withdrawn("node-b"));
    await announceNode(source.nodesDir, announcement("node-b"));
    await source.until("announced again", announced("node-b"));
    await withdrawNode(source.nodesDir, "node-b");
    await source.until("withdrawn", withdrawn("node-b"));
    assert.equal(source.state.source.failure, undefined);
  });

  it("stays while its folder cannot be read", async () => {
    await using source = await TestSource.make({ "a.yaml": pod("a") });
    await announceNode(source.nodesDir, announcement("node-b"));
    await source.start().until("announced", announced("node-b"));
    await Deno.rename(source.nodesDir, `${source.root}/away`);
    const state = await source.until("failing", ({ source }) => source.failure !== undefined);
    assert.match(state.source.failure ?? "", /^Nodes directory/);
    assert.equal(announced("node-b")(state), true);
    await Deno.rename(`${source.root}/away`, source.nodesDir);
    await source.ready();
  });

  it("may lie in a folder elsewhere", async () => {
    await using source = await TestSource.make({ "a.yaml": pod("a") });
    const nodesDir = `${source.root}/nodes`;
    await source.start({ nodesDir }).ready();
    await announceNode(nodesDir, announcement("node-b"));
    await source.until("announced", announced("node-b"));
  });

  it("is written whole, and leaves nothing beside it", async () => {
    await using source = await TestSource.make();
    await announceNode(source.nodesDir, announcement("node-b"));
    await announceNode(source.nodesDir, announcement("node-b"));
    assert.deepEqual(await files(source.nodesDir), ["node-b.yaml"]);
    // What an agent leaves that was killed between writing and renaming.
    await Deno.writeTextFile(`${source.nodesDir}/.node-b.${crypto.randomUUID()}`, "");
    await Deno.writeTextFile(`${source.nodesDir}/.node-b.c.${crypto.randomUUID()}`, "");
    await withdrawNode(source.nodesDir, "node-b");
    assert.equal((await files(source.nodesDir)).length, 1);
    await withdrawNode(source.nodesDir, "node-b");
    await withdrawNode(`${source.root}/nowhere`, "node-b");
  });

  it("is refused for a name that would leave the folder", async () => {
    await using source = await TestSource.make();
    await assert.rejects(announceNode(source.nodesDir, announcement("../x")));
    await assert.rejects(withdrawNode(source.nodesDir, "../x"));
  });
});

describe("the nodes folder", () => {
  const weftNode = (name: string) =>
    `apiVersion: mesh.cilium.io/v1alpha1\nkind: WeftNode\nmetadata: {name: ${name}}\n` +
    `spec: {node: ${name}, ready: true}\n`;

  it("brings nothing but announcements into the mesh", async () => {
    await using source = await TestSource.make({
      "a.yaml": pod("a"),
      ".nodes/evil.yaml": pod("evil"),
    });
    const state = await source.start().ready();
    assert.deepEqual(source.names(), ["default/a"]);
    assert.match(state.rejections[0]?.reason ?? "", /only WeftNodes do/);
  });

  it("lets each file speak for the node of its own name", async () => {
    await using source = await TestSource.make({
      "a.yaml": pod("a"),
      ".nodes/node-b.yaml": weftNode("node-c"),
    });
    const state = await source.start().ready();
    assert.equal(state.nodes.has("node-c"), false);
    assert.match(state.rejections[0]?.reason ?? "", /must be in a file of its own name/);
  });

  it("is the only place for announcements", async () => {
    await using source = await TestSource.make({
      "a.yaml": pod("a"),
      "n.yaml": weftNode("node-b"),
    });
    const state = await source.start().ready();
    assert.equal(state.nodes.has("node-b"), false);
    assert.match(state.rejections[0]?.reason ?? "", /belongs into the nodes directory/);
  });
});
