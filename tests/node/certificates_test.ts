/**
 * Certificates rotate under traffic, and nobody notices.
 *
 * @module
 */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { HABITS } from "./support/habits.ts";
import { ENROLLED, Mesh, pod, policy } from "./support/mesh.ts";

describe("certificates of 20 seconds", { timeout: 90_000 }, () => {
  let mesh: Mesh;

  before(async () => {
    mesh = await Mesh.up({
      nodes: 2,
      agentArgs: ["--svid-ttl", "20s"],
      documents: [
        pod({ name: "server", runs: "talker", node: "node-1", serviceAccount: "server" }),
        pod({ name: "client", labels: ENROLLED, node: "node-2", serviceAccount: "client" }),
        policy("server", "STRICT"),
      ],
    });
  });

  after(() => mesh[Symbol.asyncDispose]());

  /** What the pods' certificates are now. */
  const serials = async () => {
    const reports = await Promise.all(mesh.nodes.map((node) => mesh.status(node)));
    return reports.map(({ pods }) =>
      pods.map(({ certificate }) => JSON.stringify(certificate)).join(" ")
    );
  };

  it("rotate twice without one failed connection, and cut none that is open", async () => {
    const [v4, v6] = await mesh.addresses("default/server");
    await using live = await mesh.hold("default/client", v4);
    const seen = [new Set<string>(), new Set<string>()];
    let served = 0;
    while (seen.some(({ size }) => size < 3)) {
      // deno-lint-ignore no-await-in-loop -- traffic until both have rotated twice
      (await serials()).forEach((serial, index) => seen[index]?.add(serial));
      for (const address of [v4, v6]) {
        // deno-lint-ignore no-await-in-loop
        const answer = await mesh.dial("default/client", "many", address, HABITS.echo, 5);
        assert.deepEqual(answer, { served: 5, failed: 0 }, `after ${served} that were served`);
        served += 5;
      }
    }
    assert.equal(await live.ask("older than its certificate"), "older than its certificate");
    assert.ok(served > 50, `only ${served} connections in two rotations`);
  });
});
