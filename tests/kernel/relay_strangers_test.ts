// deno-lint-ignore-file no-await-in-loop -- a test does one thing after the other
/**
 * What those who begin and say nothing can take of a relay: no more than their share, on a port of
 * either mode.
 *
 * @module
 */

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { HANDSHAKES_MAX, HANDSHAKES_OF_STRANGERS_MAX } from "@/src/limits.ts";
import type { Counter, RelayPeer } from "@/src/relay/messages.ts";
import { RawEnd, RawListener } from "./relay_raw.ts";
import { Rig } from "./relay_rig.ts";

/** What one source may have where nobody else has any: half of what it leaves. */
const OF_ONE_POD = Math.ceil(HANDSHAKES_MAX / 3);
const OF_ONE_NETWORK = Math.ceil(HANDSHAKES_OF_STRANGERS_MAX / 3);

describe("clients who say nothing", { timeout: 60_000 }, () => {
  let rig: Rig;
  let listener: RawListener;
  before(async () => {
    rig = await Rig.open();
    listener = new RawListener(rig.server);
    await rig.server.setDoor({ inboundPort: listener.port });
  });
  after(async () => {
    listener[Symbol.dispose]();
    await rig[Symbol.asyncDispose]();
  });

  const dial = () =>
    RawEnd.dial(rig.client, rig.server.address, rig.server.ports.get("inbound") ?? 0);

  /** Dials so often, and lets the relay take all of them. */
  async function dialMany(count: number): Promise<RawEnd[]> {
    const before = rig.server.count("accepted_inbound");
    const ends = Array.from({ length: count }, dial);
    while (rig.server.count("accepted_inbound") < before + count) (await rig.server.freeze())();
    return ends;
  }

  for (const mode of ["strict", "permissive"] as const) {
    it(`of one pod get a reset beyond their bound, on a ${mode} port`, async () => {
      await rig.update({ peers: rig.peersWith("b/server", { mode }) });
      const refusals = rig.server.count("refused_inbound");
      const silent = await dialMany(OF_ONE_POD);
      assert.equal(rig.server.count("refused_inbound"), refusals);

      using refused = dial();
      assert.equal(refused.ending().how, "reset");
      const event = await rig.server.event("syn-budget");
      assert.equal(event.source, rig.client.address);
      assert.equal(event.targetPort, listener.port);
      assert.equal(rig.server.refusals.pop(), "syn-budget");

      for (const end of silent) end.reset();
      (await rig.server.freeze())(); // they have gone, and there is room again
      assertCarried(RawEnd.dialOut(rig.client));
    });
  }

  it("from outside get a reset beyond their smaller bound, and leave room for pods", async () => {
    const { peers, cidrs } = rig.snapshot;
    await rig.update({ peers: outside(rig.peersWith("b/server", { mode: "strict" })), cidrs: [] });
    const refusals = rig.server.count("refused_inbound");
    const silent = await dialMany(OF_ONE_NETWORK);
    assert.equal(rig.server.count("refused_inbound"), refusals);
    using refused = dial();
    assert.equal(refused.ending().how, "reset");
    assert.equal((await rig.server.event("syn-budget")).source, rig.client.address);
    assert.equal(rig.server.refusals.pop(), "syn-budget");

    await rig.update({ peers, cidrs }); // a pod has the address now, and a share of its own
    assertCarried(RawEnd.dialOut(rig.client));
    for (const end of silent) end.reset();
    (await rig.server.freeze())();
  });

  it("from outside are plaintext at once beyond that bound, on a permissive port", async () => {
    const { peers, cidrs } = rig.snapshot;
    const permissive = rig.peersWith("b/server", { mode: "permissive" });
    await rig.update({ peers: outside(permissive), cidrs: [] });
    const [refusals, open] = [count("refused_inbound"), count("connections_open")];
    const silent = await dialMany(OF_ONE_NETWORK);
    assert.equal(count("connections_open"), open);
    const [late] = await dialMany(1);
    assert.equal(count("connections_open"), open + 1);
    for (const end of silent) end.reset();
    assertCarried(late ?? assert.fail());
    assert.equal(count("refused_inbound"), refusals);
    (await rig.server.freeze())();
    await rig.update({ peers, cidrs });
  });

  const count = (counter: Counter) => rig.server.count(counter);

  /** Nobody knows the client any more. */
  const outside = (peers: readonly RelayPeer[]) => peers.filter(({ key }) => key !== "a/client");

  /** It reaches the application, and the application's end comes back. */
  function assertCarried(end: RawEnd): void {
    using client = end;
    client.write("ping");
    using app = acceptOf("ping");
    app.end();
    assert.equal(client.ending().how, "end");
  }

  /** The connection that says so, behind those that PERMISSIVE has opened for the silent ones. */
  function acceptOf(text: string): RawEnd {
    for (;;) {
      const app = listener.accept();
      if (app.said() === text) return app;
      app[Symbol.dispose]();
    }
  }
});
