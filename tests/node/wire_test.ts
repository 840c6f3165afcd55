/**
 * What a wire between two nodes shows of a connection.
 *
 * @module
 */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { HABITS } from "./support/habits.ts";
import { ENROLLED, Mesh, pod, policy } from "./support/mesh.ts";

describe("the wire between two nodes", { timeout: 60_000 }, () => {
  let mesh: Mesh;

  before(async () => {
    mesh = await Mesh.up({
      nodes: 2,
      documents: [
        pod({ name: "server", runs: "talker", node: "node-1" }),
        pod({ name: "bare", runs: "talker", node: "node-1" }),
        pod({ name: "client", labels: ENROLLED, node: "node-2" }),
        policy("server", "STRICT"),
        policy("bare", "DISABLE"),
      ],
    });
  });

  after(() => mesh[Symbol.asyncDispose]());

  for (const family of [0, 1] as const) {
    it(`shows nothing of what is said in the mesh (IPv${family * 2 + 4})`, async () => {
      const said = "what nobody else may read";
      const [inside, bare] = await Promise.all(
        ["default/server", "default/bare"].map((name) => mesh.addresses(name)),
      );
      await using secret = await mesh.bed.capture("node-1", { filter: `host ${inside?.[family]}` });
      await using open = await mesh.bed.capture("node-1", { filter: `host ${bare?.[family]}` });
      for (const address of [inside?.[family], bare?.[family]]) {
        // deno-lint-ignore no-await-in-loop -- one after the other is easier to read in a failure
        await using live = await mesh.hold("default/client", address ?? "");
        // deno-lint-ignore no-await-in-loop
        assert.equal(await live.ask(said), said);
      }
      assert.ok(await open.contains(said), "the capture shows what is not hidden");
      assert.ok(!await secret.contains(said));
      assert.ok((await secret.packets({ fields: ["tcp.dstport"] as const })).length > 5);
    });
  }

  it("carries connections that follow each other over few of its own", async () => {
    const [address] = await mesh.addresses("default/server");
    await using wire = await mesh.bed.capture("node-1", { filter: `host ${address}` });
    const answer = await mesh.dial("default/client", "again", address, HABITS.who, 50);
    assert.deepEqual(answer, { served: 50, failed: 0 });
    const opened = await wire.packets({
      fields: ["tcp.dstport"] as const,
      filter: "tcp.flags.syn == 1 && tcp.flags.ack == 0",
    });
    assert.ok(opened.length <= 10, `${opened.length} connections for 50`);
  });
});
