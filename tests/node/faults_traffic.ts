/**
 * Traffic under certificates that last 20 seconds, in a testbed of its own, beside other tests: it
 * takes a minute and hardly a processor. `WEFT_SOAK_S` makes it last longer.
 *
 * @module
 */
import assert from "node:assert/strict";
import { Load } from "./faults_load.ts";
import { HABITS } from "./support/habits.ts";
import { ENROLLED, Mesh, pod, policy } from "./support/mesh.ts";

const NODE = "node-1";
/** How long it flows. */
export const TRAFFIC_S = Number(Deno.env.get("WEFT_SOAK_S") ?? 60);
const SVID_TTL_S = 20;
const LOOK_MS = 500;

/** Resolves at the end; rejects if a connection was refused or lost, or a certificate ran out. */
export async function carryTraffic(): Promise<void> {
  await using mesh = await Mesh.up({
    documents: [
      pod({ name: "server", runs: "talker" }),
      pod({ name: "client", labels: ENROLLED }),
      policy("server", "STRICT"),
    ],
    agentArgs: ["--svid-ttl", `${SVID_TTL_S}s`],
  });
  const [host] = await mesh.addresses("default/server");
  const start = (count: number, rounds: number) =>
    Load.start(mesh.bed, "default/client", {
      ...{ host, port: HABITS.echo, text: "tick", paceMs: 200, count, rounds },
    });
  await using lasting = await start(10, 0);
  await using brief = await start(3, 1);
  await lasting.busy();
  const prints = new Set<string>();
  for (const end = performance.now() + TRAFFIC_S * 1000; performance.now() < end;) {
    // deno-lint-ignore no-await-in-loop -- looks at intervals
    const { pods, nowMs } = await mesh.status(NODE);
    assert.equal(pods.length, 2);
    for (const { name, certificate } of pods) {
      assert.ok(certificate !== undefined && certificate.notAfterMs > nowMs, `${name} has none`);
      prints.add(certificate.fingerprint);
    }
    // The traffic flows for a time, not until an event.
    // deno-lint-ignore no-await-in-loop
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
  assert.ok(prints.size > 2 * TRAFFIC_S / SVID_TTL_S, `only ${prints.size} certificates`);
  const tallies = [await lasting.tally(), await brief.tally()];
  for (const { refused, broken, hung, lost, served } of tallies) {
    assert.deepEqual([refused, broken, hung, lost], [0, 0, 0, 0], JSON.stringify(tallies));
    assert.ok(served >= 10, JSON.stringify(tallies));
  }
}
