/**
 * Pods that are not known yet, and peers that are not ready: patience, then a refusal with a reason.
 *
 * @module
 */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { HABITS } from "./support/habits.ts";
import { ENROLLED, Mesh, pod, policy, url } from "./support/mesh.ts";

const STRANGER = "10.244.2.200";
const NEWCOMER = "10.244.2.201";
const GHOST = "10.244.9.9";

describe("patience", { timeout: 120_000 }, () => {
  let mesh: Mesh;

  before(async () => {
    mesh = await Mesh.up({
      nodes: 2,
      documents: [
        pod({ name: "server", runs: "talker", node: "node-1" }),
        pod({ name: "client", labels: ENROLLED, node: "node-1" }),
        pod({ name: "plain", node: "node-1" }),
        policy("server", "PERMISSIVE"),
        policy("ghost", "STRICT"),
      ],
    });
    const add = (address: string) =>
      mesh.bed.exec("node-2", ["ip", "addr", "add", `${address}/32`, "dev", "lo"]);
    await Promise.all([add(STRANGER), add(NEWCOMER)]);
    const { source } = await mesh.bed.describe();
    await mesh.change(() =>
      Deno.writeTextFile(`${source}/ghost.yaml`, runningPod("ghost", "node-9", GHOST))
    );
  });

  after(() => mesh[Symbol.asyncDispose]());

  const connect = async (from: string, seconds: number) => {
    const [address] = await mesh.addresses("default/server");
    const start = performance.now();
    const { code } = await mesh.bed.exec("node-2", [
      ...["curl", "-s", "-m", String(seconds), "--http0.9", "--interface", from],
      url(address, HABITS.who),
    ]);
    return { code, seconds: (performance.now() - start) / 1000 };
  };

  it("meets an address of a pod CIDR that nobody knows with silence, then with a refusal", async () => {
    const { code, seconds } = await connect(STRANGER, 25);
    assert.equal(code, 7);
    assert.ok(seconds > 5, `refused after ${seconds} s`);
  });

  it("serves an address that becomes known while it tries", async () => {
    const { source } = await mesh.bed.describe();
    const before = (await mesh.status("node-1")).datapath.revision;
    const connection = connect(NEWCOMER, 25);
    await mesh.change(() =>
      Deno.writeTextFile(`${source}/new.yaml`, runningPod("new", "node-2", NEWCOMER))
    );
    assert.equal((await connection).code, 0);
    assert.ok((await mesh.status("node-1")).datapath.revision > before);
  });

  it("refuses an enrolled client where the peer's node has not announced itself", async () => {
    const answer = await mesh.dial("default/client", "send", GHOST, 80, 100);
    assert.match(answer.error ?? `got ${answer.answered}`, /ConnectionReset|ConnectionRefused/);
    const { refusals } = await mesh.status("node-1");
    assert.ok(refusals.some(({ reason }) => reason === "peer-not-ready"), JSON.stringify(refusals));
  });

  it("refuses a plain client there at once", async () => {
    const { error } = await mesh.dial("default/plain", "read", GHOST, 80, "", 2000);
    assert.equal(error, "ConnectionRefused");
  });
});

/** A Pod as a cluster reports it, without the testbed making anything of it. */
function runningPod(name: string, node: string, address: string): string {
  return JSON.stringify({
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, namespace: "default", uid: `uid-${name}`, labels: { app: name } },
    spec: { nodeName: node, containers: [{ name: "app" }] },
    status: {
      phase: "Running",
      podIP: address,
      podIPs: [{ ip: address }],
      conditions: [{ type: "Ready", status: "True" }],
    },
  });
}
