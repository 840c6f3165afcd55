// deno-lint-ignore-file no-await-in-loop -- a test does one thing after the other
/**
 * The relay over real sockets in throw-away namespaces, with plain listeners in place of the
 * kernel's rows: what passes, what is refused, how connections end.
 *
 * @module
 */

import assert from "node:assert/strict";
import { once } from "node:events";
import type { Socket } from "node:net";
import { after, before, describe, it } from "node:test";
import { APP_PORT, readAll, Rig } from "./relay_rig.ts";
import type { FromRig } from "./relay_rig_worker.ts";
import { checkPattern, checkSocket, fill, sendPattern, writePattern } from "./relay_streams.ts";

describe("the relay between two pods", () => {
  let rig: Rig;
  let listener: Deno.TcpListener;
  before(async () => {
    rig = await Rig.open();
    listener = rig.server.listen(APP_PORT);
  });
  after(async () => {
    listener.close();
    await rig[Symbol.asyncDispose]();
  });

  /** A connection of the client's application, with the server's end of it. */
  async function open(first = "x"): Promise<{ client: Socket; app: Deno.TcpConn }> {
    const client = rig.client.dialOut();
    client.write(first);
    const app = await listener.accept();
    assert.equal(await readText(app, first.length), first);
    return { client, app };
  }

  it("carries a request and its answer over mutual TLS", async () => {
    const { client, app } = await open("ping");
    await writeText(app, "pong");
    app.close();
    assert.equal(await readAll(client), "pong");
    client.end();
    await once(client, "close");
    assert.equal(rig.server.count("handshakes"), 1);
  });

  it("carries the next connection over the same tunnel, in the name of its own port", async () => {
    for (let i = 0; i < 3; i++) {
      const handshakes = rig.client.count("handshakes");
      const { client, app } = await open();
      assert.equal(rig.server.marked.at(-1), client.localPort);
      await end(client, app);
      assert.equal(rig.client.count("handshakes"), handshakes);
    }
    assert.equal(rig.client.count("tunnels_reused"), 3);
  });

  it("lets a server speak first", async () => {
    const client = rig.client.dialOut();
    const app = await listener.accept();
    await writeText(app, "220 ready\r\n");
    const [greeting] = await once(client, "data");
    assert.equal(String(greeting), "220 ready\r\n");
    await end(client, app);
  });

  it("preserves half-close in both directions", async () => {
    const up = await open();
    up.client.end();
    assert.equal(await up.app.read(new Uint8Array(1)), null);
    await writeText(up.app, "late answer");
    up.app.close();
    assert.equal(await readAll(up.client), "late answer");

    const down = await open();
    await down.app.closeWrite();
    assert.equal(await readAll(down.client), "");
    down.client.end("late request");
    assert.equal(await readText(down.app, 12), "late request");
    down.app.close();
  });

  it("carries megabytes unchanged, both ways at once", async () => {
    const size = 24 << 20;
    const { client, app } = await open();
    const down = sendPattern(app, size).then(() => app.closeWrite());
    const up = writePattern(client, size);
    const [received, echoed] = await Promise.all([
      checkPattern(app),
      checkSocket(client),
      down,
      up,
    ]);
    assert.deepEqual([received, echoed], [size, size]);
    app.close();
  });

  it("resumes the session of a tunnel that is gone, and judges its peer again", async () => {
    assert.equal(rig.client.count("tunnels_idle"), 0); // the last one went raw
    const resumed = rig.client.count("handshakes_resumed");
    const { client, app } = await open();
    await end(client, app);
    assert.equal(rig.client.count("handshakes_resumed"), resumed + 1);
    assert.equal(rig.server.count("handshakes_resumed"), resumed + 1);
  });

  it("moves a connection off a tunnel that its server is just giving up", async () => {
    const thaw = await freezeWithTunnel();
    const counts = () =>
      (["tunnels_reused", "tunnels_left", "handshakes"] as const).map((c) => rig.client.count(c));
    const [reused = 0, left = 0, handshakes = 0] = counts();
    const client = rig.client.dialOut();
    client.end("ping");
    await giveTunnelsUp();
    thaw();
    const app = await listener.accept();
    assert.equal(await readText(app, 5), "ping"); // to its end, and once
    await writeText(app, "pong");
    app.close();
    assert.equal(await readAll(client), "pong");
    assert.deepEqual(counts(), [reused + 1, left + 1, handshakes + 1]);
    assert.equal(rig.client.count("connections_open"), 0);
  });

  it("resets a connection whose tunnel breaks without a word: it may have been heard", async () => {
    const thaw = await freezeWithTunnel();
    const left = rig.client.count("tunnels_left");
    const { pods } = rig.snapshot;
    const client = rig.client.dialOut();
    client.write("ping");
    await rig.server.apply({ ...rig.snapshot, pods: [] });
    thaw();
    const [error] = await once(client, "error");
    assert.equal(error.code, "ECONNRESET");
    assert.equal(rig.client.count("tunnels_left"), left);
    await rig.update({ pods });
    await rig.client.setDoor({
      outboundTarget: { address: rig.server.address, port: rig.server.ports.get("inbound") ?? 0 },
    });
  });

  /** Lets one connection end cleanly, so that both sides keep its tunnel; the client then rests. */
  async function freezeWithTunnel(): Promise<() => void> {
    const { client, app } = await open();
    await end(client, app);
    const thaw = await rig.client.freeze();
    assert.equal(rig.client.count("tunnels_idle"), 1);
    return thaw;
  }

  /** Something about the client has changed, for the server alone: its idle tunnels end. */
  async function giveTunnelsUp(): Promise<void> {
    const peers = rig.peersWith("a/client", {
      ports: [{ port: 1, mode: "none", where: "remote" }],
    });
    const pods = rig.snapshot.pods.filter(({ key }) => key === "b/server");
    await rig.server.apply({ ...rig.snapshot, pods, peers });
    await rig.server.apply({ ...rig.snapshot, pods });
  }

  it("passes a client's reset on, and goes on with the tunnel", async () => {
    const handshakes = rig.client.count("handshakes");
    const a = await open();
    await writeText(a.app, "y"); // so that the client's relay knows who has it
    await once(a.client, "data");
    a.client.resetAndDestroy();
    await assert.rejects(readText(a.app, 1), Deno.errors.ConnectionReset);
    a.app.close();

    const b = await open(); // over the same tunnel
    await end(b.client, b.app);
    assert.ok(rig.client.count("handshakes") - handshakes <= 1);
  });

  it("stops a sender whose receiver does not read, and nobody else", async () => {
    const { client, app } = await open();
    const accepted = await fill(client, 200 << 20);
    assert.ok(accepted < 64 << 20, `${accepted} bytes were taken`);
    const other = await open("other");
    await end(other.client, other.app);
    let read = 0;
    client.end();
    const buffer = new Uint8Array(1 << 18);
    for (let n = await app.read(buffer); n !== null; n = await app.read(buffer)) read += n;
    assert.equal(read, accepted);
    app.close();
    client.destroy();
  });

  it("names the cause when nobody listens, on both nodes", async () => {
    listener.close();
    const client = rig.client.dialOut();
    client.write("x");
    const [error] = await once(client, "error");
    assert.equal(error.code, "ECONNRESET");
    const [there, here] = await Promise.all([
      rig.server.event("not-listening"),
      rig.client.event("not-listening"),
    ]);
    assert.equal(there.stage, "inbound");
    assert.equal(here.stage, "outbound");
    assert.equal(here.peerId, rig.identities.server.spiffeId);
    listener = rig.server.listen(APP_PORT);
    const again = await open();
    await end(again.client, again.app);
  });

  it("refuses a server that is not exactly the pod that it dialled", async () => {
    const { peers } = rig.snapshot;
    await rig.update({
      peers: rig.peersWith("b/server", {
        serviceAccount: "else",
        spiffeId: "spiffe://cluster.local/ns/b/sa/else",
      }),
    });
    const client = rig.client.dialOut();
    client.write("secret");
    const [error] = await once(client, "error");
    assert.equal(error.code, "ECONNRESET");
    assert.equal((await rig.client.event("wrong-identity")).verdict, "refuse");
    await rig.server.event("handshake-failed");

    await rig.update({ peers: peers.map((p) => p.key === "b/server" ? { ...p, node: "n3" } : p) });
    const next = rig.client.dialOut();
    next.write("secret");
    await once(next, "error");
    await rig.client.event("wrong-node");
    await rig.update({ peers });
  });

  it("waits for a peer that is not ready yet", async () => {
    const { peers } = rig.snapshot;
    await rig.update({ peers: rig.peersWith("b/server", { where: "unready" }) });
    const accepted = rig.client.count("accepted_outbound");
    const client = rig.client.dialOut();
    client.write("patience");
    (await rig.client.freeze())(); // it has taken what came before
    assert.equal(rig.client.count("accepted_outbound"), accepted + 1);
    assert.equal(client.destroyed, false);
    await rig.update({ peers });
    const app = await listener.accept();
    assert.equal(await readText(app, 8), "patience");
    await end(client, app);
  });

  it("cuts what the configuration no longer allows", async () => {
    const before = rig.snapshot;
    const gone = await open();
    const cut = once(gone.client, "error");
    await rig.update({ pods: before.pods.filter((pod) => pod.key !== "b/server") });
    await cut;
    await assert.rejects(readText(gone.app, 1));
    gone.app.close();
    await rig.update({ pods: before.pods });
    await rig.client.setDoor({
      outboundTarget: { address: rig.server.address, port: rig.server.ports.get("inbound") ?? 0 },
    });

    const stranger = await open();
    const cutAgain = once(stranger.client, "error");
    await rig.update({
      peers: rig.peersWith("a/client", {
        serviceAccount: "x",
        spiffeId: "spiffe://cluster.local/ns/a/sa/x",
      }),
    });
    await cutAgain;
    stranger.app.close();
    await rig.server.event("wrong-identity");
    await rig.update({ peers: before.peers });

    const rootless = await open();
    const cutByRoot = once(rootless.client, "error");
    await rig.update({ bundlePem: "" });
    await cutByRoot;
    rootless.app.close();
    await rig.server.event("certificate-untrusted");
    await rig.update({ bundlePem: before.bundlePem });
    const again = await open();
    await end(again.client, again.app);
  });

  it("takes what was steered to a pod that leaves, until the kernel has followed", async () => {
    const before = rig.snapshot;
    const port = rig.server.ports.get("inbound") ?? 0;
    const { svid: _, ...bare } = before.pods.find(({ key }) => key === "b/server") ?? assert.fail();
    const pods = before.pods.map((pod) => pod.key === bare.key ? bare : pod);
    await rig.update({ pods, peers: rig.peersWith("b/server", { mode: "none" }) });
    const late = rig.client.dial(rig.server.address, port);
    late.write("late");
    const app = await listener.accept();
    assert.equal(await readText(app, 4), "late");
    late.destroy();
    app.close();

    await rig.server.settle();
    const last = rig.client.dial(rig.server.address, port); // its SYN was under way
    last.write("last");
    const lastApp = await listener.accept();
    assert.equal(await readText(lastApp, 4), "last");
    last.destroy();
    lastApp.close();

    await rig.server.passTime({ steadyMs: 2000 });
    (await rig.server.freeze())();
    const nobodys = rig.client.dial(rig.server.address, port);
    nobodys.write("x");
    const [error] = await once(nobodys, "error");
    assert.match(error.code, /ECONNREFUSED|ECONNRESET|EPIPE/);
    await rig.update({ pods: before.pods, peers: before.peers });
    await rig.client.setDoor({
      outboundTarget: { address: rig.server.address, port: rig.server.ports.get("inbound") ?? 0 },
    });
    const again = await open();
    await end(again.client, again.app);
  });

  it("serves a pod that comes back within the moment in which it leaves", async () => {
    const { pods } = rig.snapshot;
    for (const isSettled of [false, true]) {
      await rig.update({ pods: pods.filter(({ key }) => key !== "b/server") });
      if (isSettled) await rig.server.settle();
      let offered = 0;
      rig.server.message(({ type }) => type === "listener" && ++offered === 2);
      await rig.update({ pods });
      assert.equal(offered, 2); // others may have had its place meanwhile
      await rig.server.passTime({ steadyMs: 2000 });
      (await rig.server.freeze())();
      const again = await open();
      await end(again.client, again.app);
    }
  });

  it("does not serve a pod in a namespace that is another's by now", async () => {
    const { pods } = rig.snapshot;
    const server = pods.find(({ key }) => key === "b/server") ?? assert.fail();
    // The descriptor's number of then is the server's now; the cookie is not.
    const gone = { ...server, key: "b/gone", slot: 2, netnsCookie: server.netnsCookie + 1n };
    const told: FromRig[] = [];
    rig.server.message((message) => told.push(message) > 0 && message.type === "applied");
    await rig.server.apply({ ...rig.snapshot, pods: [server, gone] });
    assert.deepEqual(told.map(({ type }) => type), ["fault", "applied"], "no listener is opened");
    assert.match(JSON.stringify(told[0]), /Cannot serve pod ..b\/gone..: its namespace is gone/);
    await rig.update({ pods });
    const again = await open();
    await end(again.client, again.app);
  });

  it("leaves nothing open behind", async () => {
    await rig.update({ pods: [] });
    for (const pod of [rig.client, rig.server]) {
      assert.equal(pod.count("connections_open"), 0, pod.key);
      assert.equal(pod.count("tunnels_open"), 0, pod.key);
      assert.equal(pod.count("tunnels_idle"), 0, pod.key);
    }
  });
});

async function readText(app: Deno.TcpConn, size: number): Promise<string> {
  let text = "";
  const buffer = new Uint8Array(4096);
  while (text.length < size) {
    const count = await app.read(buffer);
    if (count === null) break;
    text += new TextDecoder().decode(buffer.subarray(0, count));
  }
  return text;
}

async function writeText(app: Deno.TcpConn, text: string): Promise<void> {
  await app.write(new TextEncoder().encode(text));
}

/** Ends a connection cleanly from both sides. */
async function end(client: Socket, app: Deno.TcpConn): Promise<void> {
  client.end();
  await app.read(new Uint8Array(1));
  const closed = readAll(client);
  app.close();
  await closed;
}
