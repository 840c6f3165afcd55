// deno-lint-ignore-file no-await-in-loop -- a test does one thing after the other
/**
 * Clients that misbehave before they are known: what they see, what the events say, and that a good
 * connection beside them never notices.
 *
 * Time is the test's: the relay's clock is put forward instead of waited for.
 *
 * @module
 */

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { once } from "node:events";
import { Socket } from "node:net";
import { after, afterEach, before, beforeEach, describe, it } from "node:test";
import type { Signer } from "@/src/identity/x509/sign.ts";
import type { TestIdentity } from "@/tests/unit/relay/certificates.ts";
import { nodeIssuerName, oddIssuer, oddLeaf, x509 } from "./peers_certificates.ts";
import {
  CLIENT_ID,
  endOf,
  openDescriptors,
  residentBytes,
  soon,
  Stage,
  until,
  untilCount,
} from "./peers_stage.ts";
import { TlsPeer, written } from "./peers_tls.ts";

/** From the first packet to a complete handshake. */
const HANDSHAKE_MS = 10_000;
/** For a refused peer to read its alert. */
const LINGER_MS = 1000;
const ALERT_ILLEGAL_PARAMETER = Buffer.of(21, 3, 3, 0, 2, 2, 47);

describe("a client that misbehaves in its handshake", () => {
  let stage: Stage;
  let base: { tunnels: number; descriptors: number };
  before(async () => {
    stage = await Stage.open();
    await stage.assertGoodLives();
    await stage.assertGoodLives(); // its tunnels are there now, and stay
  });
  beforeEach(() => {
    stage.hush();
    base = { tunnels: stage.rig.server.count("tunnels_open"), descriptors: openDescriptors() };
  });
  afterEach(async () => {
    await stage.assertGoodLives();
    assert.deepEqual(stage.strayBytes, [], "no byte of it has reached the application");
    await stage.rig.server.passTime({ steadyMs: LINGER_MS });
    await untilCount(stage.rig.server, "tunnels_open", base.tunnels);
    await until("all its descriptors are closed", () => openDescriptors() <= base.descriptors);
  });
  after(() => stage[Symbol.asyncDispose]());

  /** A bare connection that the relay has accepted. */
  async function dialled(): Promise<Socket> {
    const count = stage.rig.server.count("tunnels_open");
    const socket = stage.dial();
    await untilCount(stage.rig.server, "tunnels_open", count + 1);
    return socket;
  }

  /** A first flight that is in order. */
  function goodHello(): Uint8Array {
    using peer = new TlsPeer(new Socket(), { identity: stage.rig.identities.client });
    return peer.hello();
  }

  it("is ended by a deadline if it says nothing", async () => {
    const socket = await dialled();
    await stage.rig.server.passTime({ steadyMs: HANDSHAKE_MS - 500 });
    await stage.assertGoodLives();
    assert.deepEqual(stage.rig.server.events, [], "it has its ten seconds");
    await stage.rig.server.passTime({ steadyMs: 501 });
    assert.equal(await endOf(socket), "ECONNRESET");
    await stage.objection("handshake-timeout");
    socket.destroy();
  });

  it("is ended by a deadline if it stalls behind its ClientHello", async () => {
    const socket = await dialled();
    socket.write(goodHello());
    await soon(once(socket, "data"), "flight of the server"); // it waits for a certificate now
    await stage.rig.server.passTime({ steadyMs: HANDSHAKE_MS + 1 });
    assert.equal(await endOf(socket), "end");
    await stage.objection("handshake-timeout");
    socket.destroy();
  });

  it("is ended by the same deadline if it sends one byte a second", async () => {
    const socket = await dialled();
    const hello = goodHello();
    for (let second = 0; second < HANDSHAKE_MS / 1000; second++) {
      assert.deepEqual(stage.rig.server.events, []);
      await written(socket, hello.subarray(second, second + 1));
      await stage.rig.server.passTime({ steadyMs: 1000 });
    }
    await stage.objection("handshake-timeout");
    assert.equal(await endOf(socket), "end");
    socket.destroy();
  });

  it("is let go if it resets", async () => {
    const socket = await dialled();
    socket.resetAndDestroy();
    await stage.objection("handshake-failed", { detail: /ECONNRESET/ });
  });

  it("is let go if it half-closes", async () => {
    using peer = stage.peer();
    peer.socket.end(peer.hello());
    await stage.objection("handshake-failed", { detail: /closed the connection/ });
    assert.equal((await soon(peer.outcome, "end")).text, "");
  });

  it("is refused by name if it sends garbage instead of a ClientHello", async () => {
    const noise = Buffer.alloc(4096, 0xa5);
    for (const first of [Buffer.of(0x16, 3, 1, 0x10, 0), Buffer.of(0), Buffer.from("GET / HTTP")]) {
      const socket = await dialled();
      socket.write(Buffer.concat([first, noise]));
      const fate = first[0] === 0x16 ? "end" : "ECONNRESET"; // only who speaks TLS gets an alert
      assert.equal(await endOf(socket), fate);
      await stage.objection("not-tls", { detail: /no TLS ClientHello/ });
      socket.destroy();
    }
  });

  it("is refused at the header of a ClientHello of 16 MiB", async () => {
    const socket = await dialled();
    const before = residentBytes();
    socket.write(Buffer.concat([Buffer.of(22, 3, 1, 0x40, 0, 1, 0xff, 0xff, 0xff)], 5 + 0x4000));
    const answer: Buffer[] = [];
    socket.on("data", (bytes: Buffer) => answer.push(bytes));
    assert.equal(await endOf(socket), "end");
    assert.deepEqual(Buffer.concat(answer), ALERT_ILLEGAL_PARAMETER);
    await stage.objection("handshake-failed", { detail: /excessive message size/ });
    assert.ok(residentBytes() - before < 8 << 20);
    socket.destroy();
  });

  it("is served if its ClientHello is huge, but in order", async () => {
    const protocols = Array.from({ length: 240 }, (_, i) => `${i}`.padEnd(250, "x"));
    using peer = stage.peer({ protocols: [...protocols, "http/1.1"] });
    await soon(peer.handshake(), "handshake");
    assert.ok(peer.helloBytes > 60_000);
    peer.write("good");
    assert.equal(await soon(peer.received(4), "answer"), "good");
  });

  it("is served if its ClientHello comes in segments of one byte", async () => {
    using peer = stage.peer({ protocols: [] });
    for (const byte of peer.hello()) {
      await written(peer.socket, Uint8Array.of(byte));
    }
    await soon(peer.handshake(), "handshake");
    peer.write("good");
    assert.equal(await soon(peer.received(4), "answer"), "good");
  });

  it("is served if its ClientHello comes in records of one byte", async () => {
    using peer = stage.peer({ protocols: [] });
    const hello = peer.hello().subarray(5);
    peer.socket.write(Buffer.concat([...hello].map((byte) => Buffer.of(22, 3, 1, 0, 1, byte))));
    await soon(peer.handshake(), "handshake");
    peer.write("good");
    assert.equal(await soon(peer.received(4), "answer"), "good");
  });

  it("is refused for a certificate chain of 100, without delay to others", async () => {
    using peer = stage.peer({ identity: await chainOf(100) });
    peer.handshake().catch(() => {});
    const outcome = await soon(peer.outcome, "end");
    assert.equal(outcome.alert, 48, outcome.detail);
    await stage.objection("certificate-untrusted", { detail: /chain too long/ });
  });

  it("is refused for a certificate message beyond 100 KiB", async () => {
    using peer = stage.peer({ identity: await longChain() });
    peer.handshake().catch(() => {});
    const outcome = await soon(peer.outcome, "end");
    assert.equal(outcome.alert, 47, outcome.detail);
    await stage.objection("handshake-failed", { detail: /excessive message size/ });
  });

  it("is refused for TLS 1.2, where it could renegotiate", async () => {
    const { stderr } = await stage.rig.client.command("sh", [
      "-c",
      `echo R | timeout 5 openssl s_client -tls1_2 -connect ` +
      `${stage.rig.server.address}:${stage.inbound}`,
    ]).output();
    assert.match(new TextDecoder().decode(stderr), /alert number 70/);
    await stage.objection("handshake-failed", { detail: /unsupported protocol/ });
  });

  it("is ended by the deadline if 1,000 never finish, and others are served meanwhile", async () => {
    const hello = goodHello();
    stage.hush();
    const growth: number[] = [];
    for (let round = 0; round < 2; round++) {
      const before = residentBytes();
      const sockets = Array.from({ length: 1000 }, () => stage.dial());
      let answered = 0;
      for (const socket of sockets) {
        socket.once("data", () => answered++);
        socket.write(hello);
      }
      await until("all are answered", () => answered === sockets.length);
      await untilCount(stage.rig.server, "tunnels_open", base.tunnels + 1000);
      growth.push(residentBytes() - before);
      await stage.assertGoodLives();
      await stage.rig.server.passTime({ steadyMs: HANDSHAKE_MS + 1 });
      await untilCount(stage.rig.server, "tunnels_open", base.tunnels);
      const ends = await Promise.all(sockets.map(endOf));
      assert.deepEqual([...new Set(ends)], ["end"]);
      await stage.rig.server.passTime({ steadyMs: LINGER_MS + 1 });
      const own = base.descriptors + 1000;
      await until("the relay has closed its descriptors", () => openDescriptors() <= own);
      for (const socket of sockets) socket.destroy();
      await until("all descriptors are closed", () => openDescriptors() <= base.descriptors);
    }
    const told = stage.rig.server.events.splice(0);
    assert.deepEqual([...new Set(told.map(({ reason }) => reason))], ["handshake-timeout"]);
    assert.equal(told.length + stage.rig.server.count("events_lost"), 2000);
    const [first = 0, second = 0] = growth;
    assert.ok(first < 160 << 20, `1,000 took ${first} bytes`);
    assert.ok(second < 32 << 20, `the next 1,000 took ${second} bytes more`);
  });

  async function chainOf(length: number): Promise<TestIdentity> {
    const { root } = stage.rig.identities.issuers;
    const endless = new x509.BasicConstraintsExtension(true, undefined, true);
    const issuers: [Signer, ...Signer[]] = [root];
    for (let i = 2; i < length; i++) {
      const name = i === length - 1 ? nodeIssuerName("n1") : `CN=issuer ${i}`;
      issuers.unshift(await oddIssuer(issuers[0], name, { basicConstraints: endless }));
    }
    return oddLeaf(issuers, CLIENT_ID);
  }

  /** Right, but for 250 certificates behind it that nobody needs. */
  function longChain(): Promise<TestIdentity> {
    const { n1, n2 } = stage.rig.identities.issuers;
    return oddLeaf([n1, ...Array.from({ length: 250 }, () => n2)], CLIENT_ID);
  }
});
