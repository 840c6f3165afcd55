/**
 * Pods that are not known yet, and peers that are not ready: patience, then a refusal with a
 * reason.
 *
 * @module
 */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { eventually } from "@/tests/support/waiting.ts";
import { HABITS } from "./support/habits.ts";
import { ENROLLED, Mesh, pod, policy, url } from "./support/mesh.ts";

const STRANGER = "10.244.2.200";
const NEWCOMER = "10.244.2.201";
const GHOST = "10.244.9.9";

/** Of curl. */
const COULD_NOT_CONNECT = 7;
const TIMED_OUT = 28;

describe("patience", { timeout: 120_000 }, () => {
  let mesh: Mesh;

  before(async () => {
    mesh = await Mesh.up({
      nodes: 2,
      documents: [
        pod({ name: "server", runs: "talker", node: "node-1" }),
        pod({ name: "client", labels: ENROLLED, node: "node-1" }),
        pod({ name: "plain", node: "node-1" }),
        pod({ name: "open", runs: "talker", node: "node-1" }),
        policy("server", "STRICT"),
        policy("open", "PERMISSIVE"),
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

  const connect = async (from: string, to: string, seconds: number) => {
    const [address] = await mesh.addresses(to);
    const start = performance.now();
    const { code } = await mesh.bed.exec("node-2", [
      ...["curl", "-s", "-m", String(seconds), "--http0.9", "--interface", from],
      url(address, HABITS.who),
    ]);
    return { code, seconds: (performance.now() - start) / 1000 };
  };

  it("meets an address of a pod CIDR that nobody knows with silence, then with a refusal", async () => {
    const { code, seconds } = await connect(STRANGER, "default/server", 25);
    assert.equal(code, COULD_NOT_CONNECT);
    assert.ok(seconds > 5, `refused after ${seconds} s`);
  });

  it("is not asked of an address that nobody knows where plaintext is welcome", async () => {
    assert.equal((await connect(STRANGER, "default/open", 5)).code, 0);
  });

  it("lets an address that becomes a pod of the mesh, while it tries, reach the relay", async () => {
    const { source } = await mesh.bed.describe();
    await using wire = await mesh.bed.capture("node-1", { filter: `host ${NEWCOMER} and tcp` });
    const connection = connect(NEWCOMER, "default/server", 25);
    // tcpdump writes each packet at once, after the 24 bytes of the file's header.
    await eventually("the first SYN has come", async () => (await Deno.stat(wire.file)).size > 24);
    await mesh.change(() =>
      Deno.writeTextFile(`${source}/new.yaml`, runningPod("new", "node-2", NEWCOMER, ENROLLED))
    );
    const { code } = await connection;
    assert.ok(![0, COULD_NOT_CONNECT, TIMED_OUT].includes(code), `curl ended with ${code}`);
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
function runningPod(name: string, node: string, address: string, labels = {}): string {
  return JSON.stringify({
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, namespace: "default", uid: `uid-${name}`, labels: { app: name, ...labels } },
    spec: { nodeName: node, containers: [{ name: "app" }] },
    status: {
      phase: "Running",
      podIP: address,
      podIPs: [{ ip: address }],
      conditions: [{ type: "Ready", status: "True" }],
    },
  });
}
