/**
 * A policy changes under live connections: what the new mode forbids ends, everything else goes on.
 *
 * @module
 */
import assert from "node:assert/strict";
import { after, afterEach, before, describe, it } from "node:test";
import { HABITS } from "./support/habits.ts";
import { ENROLLED, Mesh, pod, policy } from "./support/mesh.ts";

describe("a change of mode under live connections", () => {
  let mesh: Mesh;
  const server = "default/server";

  before(async () => {
    mesh = await Mesh.up({
      nodes: 2,
      documents: [
        pod({ name: "server", runs: "talker", node: "node-1" }),
        pod({ name: "enrolled", labels: ENROLLED, node: "node-2" }),
        pod({ name: "plain", node: "node-1" }),
      ],
    });
  });

  after(() => mesh[Symbol.asyncDispose]());

  afterEach(async () => {
    const { policies } = await mesh.status("node-1");
    if (policies.length > 0) await mesh.delete(policy("server", "STRICT"));
  });

  for (const [from, what] of [["default/plain", "a pod outside the mesh"], ["outside", "a host"]]) {
    for (const family of [0, 1] as const) {
      it(`cuts plaintext of ${what} when STRICT comes (IPv${family * 2 + 4})`, async () => {
        await mesh.apply(policy("server", "PERMISSIVE"));
        const address = (await mesh.addresses(server))[family];
        await using live = await mesh.hold(from ?? "", address);
        assert.equal(await live.ask("before"), "before");
        await mesh.apply(policy("server", "STRICT"));
        assert.match(await live.end(), /ConnectionReset|end/);
      });
    }
  }

  for (const family of [0, 1] as const) {
    it(`lets nobody speak plaintext who was silent until STRICT came (IPv${family * 2 + 4})`, async () => {
      await mesh.apply(policy("server", "PERMISSIVE"));
      await using live = await mesh.hold("outside", (await mesh.addresses(server))[family]);
      await mesh.apply(policy("server", "STRICT"));
      assert.match(await live.ask("too late"), /^over: /);
    });
  }

  it("cuts an idle plaintext connection that was open before any policy", async () => {
    const [address] = await mesh.addresses(server);
    await using outside = await mesh.hold("outside", address);
    await using plain = await mesh.hold("default/plain", address, HABITS.greet);
    await mesh.apply(policy("server", "STRICT"));
    assert.match(await outside.end(), /ConnectionReset/);
    assert.match(await plain.end(), /ConnectionReset/);
  });

  it("keeps plaintext when PERMISSIVE comes and when it goes", async () => {
    const [address] = await mesh.addresses(server);
    await using outside = await mesh.hold("outside", address);
    await using plain = await mesh.hold("default/plain", address);
    await mesh.apply(policy("server", "PERMISSIVE"));
    assert.equal(await outside.ask("one"), "one");
    assert.equal(await plain.ask("one"), "one");
    await mesh.delete(policy("server", "PERMISSIVE"));
    assert.equal(await outside.ask("two"), "two");
    assert.equal(await plain.ask("two"), "two");
  });

  it("keeps an enrolled client's connection from PERMISSIVE to STRICT", async () => {
    const [address] = await mesh.addresses(server);
    await mesh.apply(policy("server", "PERMISSIVE"));
    await using live = await mesh.hold("default/enrolled", address);
    assert.equal(await live.ask("one"), "one");
    await mesh.apply(policy("server", "STRICT"));
    assert.equal(await live.ask("two"), "two");
    await mesh.apply(policy("server", "PERMISSIVE"));
    assert.equal(await live.ask("three"), "three");
  });

  it("keeps the node's own connection whatever comes", async () => {
    const [address] = await mesh.addresses(server);
    await using live = await mesh.hold("node-1", address);
    await mesh.apply(policy("server", "STRICT"));
    assert.equal(await live.ask("still here"), "still here");
  });
});
