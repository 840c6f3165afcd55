/**
 * Attested connections of one node: directly from pod to pod, whoever else asks is refused.
 *
 * @module
 */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { assertRefused, assertServed, ENROLLED, Mesh, pod, policy } from "./support/mesh.ts";

describe("a pod that attests its node's own connections", { timeout: 60_000 }, () => {
  let mesh: Mesh;
  let addresses: readonly [string, string];

  before(async () => {
    mesh = await Mesh.up({
      nodes: 2,
      documents: [
        pod({ name: "server", runs: "talker", node: "node-1" }),
        pod({ name: "near", labels: ENROLLED, node: "node-1" }),
        pod({ name: "far", labels: ENROLLED, node: "node-2" }),
        pod({ name: "plain", node: "node-1" }),
        policy("server", "STRICT", { sameNode: "attest" }),
      ],
    });
    addresses = await mesh.addresses("default/server");
  });

  after(() => mesh[Symbol.asyncDispose]());

  const checkRefused = async (from: string) =>
    assertRefused(await mesh.askAll(from, addresses), from);
  const checkServed = async (from: string) =>
    assertServed(await mesh.askAll(from, addresses), from);

  it("serves an enrolled pod of its node without the relay", async () => {
    const before = (await mesh.status("node-1")).datapath;
    await checkServed("default/near");
    const now = (await mesh.status("node-1")).datapath;
    assert.equal(now.steeredIn, before.steeredIn);
    assert.equal(now.steeredOut, before.steeredOut);
    assert.ok(now.direct > before.direct);
  });

  it("serves an enrolled pod of another node through the relay", async () => {
    const before = (await mesh.status("node-1")).datapath;
    await checkServed("default/far");
    assert.ok((await mesh.status("node-1")).datapath.steeredIn > before.steeredIn);
  });

  for (const from of ["default/plain", "outside", "node-2"]) {
    it(`refuses ${from}`, () => checkRefused(from));
  }

  it("goes on without the agent, for the same pods and no others", async () => {
    await using live = await mesh.hold("default/near", addresses[0]);
    await mesh.bed.kill("node-1", "KILL");
    assert.equal(await live.ask("over its death"), "over its death");
    await checkServed("default/near");
    await Promise.all(["default/plain", "outside", "default/far"].map(checkRefused));
    await mesh.bed.start("node-1");
    assert.equal(await live.ask("and its return"), "and its return");
    await checkServed("default/far");
  });
});
