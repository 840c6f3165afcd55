// deno-lint-ignore-file no-await-in-loop -- a test does one thing after the other
/**
 * What strangers who begin and say nothing can take of a relay: no more than their share, on a port
 * of either mode.
 *
 * @module
 */

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { HANDSHAKES_PER_SOURCE_MAX } from "@/src/relay/io/handshakes.ts";
import { RawEnd, RawListener } from "./relay_raw.ts";
import { Rig } from "./relay_rig.ts";

describe("strangers who say nothing", { timeout: 60_000 }, () => {
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
    it(`of one address get a reset beyond their bound, on a ${mode} port`, async () => {
      await rig.update({ peers: rig.peersWith("b/server", { mode }) });
      const refusals = rig.server.count("refused_inbound");
      const silent = await dialMany(HANDSHAKES_PER_SOURCE_MAX);
      assert.equal(rig.server.count("refused_inbound"), refusals);

      using refused = dial();
      assert.equal(refused.ending().how, "reset");
      const event = await rig.server.event("syn-budget");
      assert.equal(event.source, rig.client.address);
      assert.equal(event.targetPort, listener.port);
      assert.equal(rig.server.refusals.pop(), "syn-budget");

      for (const end of silent) end.reset();
      (await rig.server.freeze())(); // they have gone, and there is room again
      using client = RawEnd.dialOut(rig.client);
      client.write("ping");
      using app = acceptOf("ping");
      app.end();
      assert.equal(client.ending().how, "end");
    });
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
