/**
 * Servers that misbehave towards a client's relay: the application behind it gets a reset, the
 * events say why, the server gets none of its bytes, and a good connection beside never notices.
 *
 * @module
 */

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import type { Socket } from "node:net";
import { after, afterEach, before, beforeEach, describe, it } from "node:test";
import type { Signer } from "@/src/identity/x509/sign.ts";
import type { TestIdentity } from "@/tests/unit/relay/certificates.ts";
import { nodeIssuerName, oddIssuer, oddLeaf, x509 } from "./peers_certificates.ts";
import {
  endOf,
  openDescriptors,
  SERVER_ID,
  soon,
  Stage,
  until,
  untilCount,
} from "./peers_stage.ts";
import { TlsPeer, written } from "./peers_tls.ts";
import { readAll } from "./relay_rig.ts";

const HANDSHAKE_MS = 10_000;
const TLS_HANDSHAKE = 22;
const TLS_DATA = 23;
/** Each is a record of 27 bytes, under a key of its own. */
const KEY_UPDATES = 6000;
const KEY_UPDATE_REQUESTED = Buffer.of(24, 0, 0, 1, 1);
const HELLO_REQUEST = Buffer.of(0, 0, 0, 0);
const OPENED = Uint8Array.of(2, 0, 0, 0, 0);
const FIN = Uint8Array.of(5, 0, 0, 0, 0);
const RESET = Uint8Array.of(6, 0, 0, 0, 0);
/** OPEN with its fields, the header of DATA, "secret". */
const FIRST_BYTES = 15 + 5 + 6;

describe("a server that misbehaves", () => {
  let stage: Stage;
  let base: { tunnels: number; descriptors: number };
  before(async () => {
    stage = await Stage.open();
    await stage.assertGoodLives();
    const { app, socket } = await stage.dialRogue(); // so that its listener is there from now on
    app.destroy();
    socket.resetAndDestroy();
    await untilCount(stage.rig.client, "tunnels_open", 2);
    await stage.assertGoodLives();
  });
  beforeEach(() => {
    stage.hush();
    base = { tunnels: stage.rig.client.count("tunnels_open"), descriptors: openDescriptors() };
  });
  afterEach(async () => {
    await stage.assertGoodLives();
    await untilCount(stage.rig.client, "tunnels_open", base.tunnels);
    await until("all its descriptors are closed", () => openDescriptors() <= base.descriptors);
  });
  after(() => stage[Symbol.asyncDispose]());

  /** What a bare server does with the client's connection, and what must come of it. */
  async function assertRefused(
    misbehave: (socket: Socket) => void | Promise<void>,
    reason: string,
    detail: RegExp,
  ): Promise<void> {
    const { app, socket } = await stage.dialRogue();
    await misbehave(socket);
    assert.equal(await endOf(app), "ECONNRESET");
    await stage.objectionToServer(reason, { detail });
    socket.destroy();
  }

  /** A server that is in order, and its application's connection, of which it knows the first. */
  async function inStream(): Promise<{ readonly app: Socket; readonly rogue: TlsPeer }> {
    const { app, socket } = await stage.dialRogue();
    const rogue = serverOver(socket);
    assert.match(await soon(rogue.received(FIRST_BYTES), "stream"), /secret$/);
    return { app, rogue };
  }

  function serverOver(
    socket: Socket,
    { identity = stage.rig.identities.server, protocols = ["weft/1"] } = {},
  ): TlsPeer {
    return new TlsPeer(socket, { side: "server", identity, protocols });
  }

  async function assertCut(
    { app, rogue }: { readonly app: Socket; readonly rogue: TlsPeer },
    detail: RegExp,
  ): Promise<void> {
    const [ended] = await Promise.all([endOf(app), soon(rogue.outcome, "end of the tunnel")]);
    assert.equal(ended, "ECONNRESET");
    await stage.objectionToServer("malformed", { verdict: "cut", detail });
    rogue[Symbol.dispose]();
  }

  it("is given up by a deadline if it says nothing", async () => {
    await assertRefused(
      () => stage.rig.client.passTime({ steadyMs: HANDSHAKE_MS + 1 }),
      "handshake-timeout",
      /(?:)/,
    );
  });

  it("is given up by the same deadline if it sends one byte a second", async () => {
    await assertRefused(
      async (socket) => {
        for (const byte of Buffer.of(22, 3, 3, 0, 90, 2, 0, 0, 86, 3, 3)) {
          // deno-lint-ignore no-await-in-loop -- a test does one thing after the other
          await written(socket, Uint8Array.of(byte));
          // deno-lint-ignore no-await-in-loop
          await stage.rig.client.passTime({ steadyMs: 1000 });
        }
      },
      "handshake-timeout",
      /(?:)/,
    );
  });

  it("is given up if it resets", async () => {
    await assertRefused(
      (socket) => void socket.resetAndDestroy(),
      "handshake-failed",
      /ECONNRESET/,
    );
  });

  it("is given up if it half-closes", async () => {
    await assertRefused((socket) => void socket.end(), "handshake-failed", /closed/);
  });

  it("is given up if it answers with garbage, or in plain text", async () => {
    for (
      const answer of ["220 ready\r\n", "HTTP/1.1 400 Bad Request\r\n\r\n", "\x16\x03\x03\x00"]
    ) {
      // deno-lint-ignore no-await-in-loop -- a test does one thing after the other
      await assertRefused(
        (socket) => void socket.write(answer.padEnd(4096, "\xa5"), "latin1"),
        "handshake-failed",
        /./,
      );
    }
  });

  it("is given up at the header of an answer of 16 MiB", async () => {
    await assertRefused(
      (socket) => void socket.write(Buffer.of(22, 3, 3, 0, 6, 2, 255, 255, 255, 3, 3)),
      "handshake-failed",
      /excessive message size/,
    );
  });

  it("is given up if it speaks no more than TLS 1.2", async () => {
    const hello = Buffer.concat([
      Buffer.of(22, 3, 3, 0, 42, 2, 0, 0, 38, 3, 3),
      Buffer.alloc(32, 7),
      Buffer.of(0, 0xc0, 0x2f, 0), // no session, ECDHE-RSA-AES128-GCM-SHA256, no compression
    ]);
    await assertRefused(
      (socket) => void socket.write(hello),
      "handshake-failed",
      /unsupported protocol|version/,
    );
  });

  it("is given up if it answers in plaintext, and the event says so", async () => {
    await assertRefused(
      (socket) => void socket.write("HTTP/1.1 400 Bad Request\r\n\r\n"),
      "handshake-failed",
      /answered in plaintext/,
    );
  });

  it("is given up if it is no relay: nothing is said to it", async () => {
    const { app, socket } = await stage.dialRogue();
    using rogue = serverOver(socket, { protocols: ["http/1.1"] });
    const [outcome, ended] = await Promise.all([soon(rogue.outcome, "end"), endOf(app)]);
    assert.equal(outcome.text, "");
    assert.equal(ended, "ECONNRESET");
    await stage.objectionToServer("handshake-failed", { detail: /no relay/ });
  });

  it("is given up for a certificate chain of 100", async () => {
    const { app, socket } = await stage.dialRogue();
    using rogue = serverOver(socket, { identity: await chainOf(100) });
    const [outcome, ended] = await Promise.all([soon(rogue.outcome, "end"), endOf(app)]);
    assert.equal(outcome.alert, 48, outcome.detail);
    assert.equal(outcome.text, "");
    assert.equal(ended, "ECONNRESET");
    await stage.objectionToServer("certificate-untrusted", { detail: /chain too long/ });
  });

  it("is served if its flight comes in segments of one byte", async () => {
    const { app, socket } = await stage.dialRogue();
    const inPieces = new Proxy(socket, {
      get: (target, name) => {
        if (name === "write") return (bytes: Uint8Array) => writeSlowly(target, bytes);
        const value = Reflect.get(target, name);
        return typeof value === "function" ? value.bind(target) : value;
      },
    });
    using rogue = serverOver(inPieces);
    assert.match(await soon(rogue.received(FIRST_BYTES), "stream"), /secret$/);
    app.destroy();
  });

  it("is cut if it floods with KeyUpdate", async () => {
    const stream = await inStream();
    const flood: Uint8Array[] = [];
    for (let i = 0; i < KEY_UPDATES; i++) {
      flood.push(stream.rogue.seal(TLS_HANDSHAKE, KEY_UPDATE_REQUESTED));
      stream.rogue.renewKey();
    }
    stream.rogue.socket.write(Buffer.concat(flood));
    await stage.assertGoodLives();
    await assertCut(stream, /control records alone/);
  });

  it("is cut if it floods with empty records", async () => {
    const stream = await inStream();
    const { rogue } = stream;
    for (let i = 0; i < 1000; i++) rogue.socket.write(rogue.seal(TLS_DATA, Buffer.of()));
    await assertCut(stream, /record too small/);
  });

  it("is cut if it asks to renegotiate", async () => {
    const stream = await inStream();
    stream.rogue.socket.write(stream.rogue.seal(TLS_HANDSHAKE, HELLO_REQUEST));
    await assertCut(stream, /unexpected message/);
  });

  it("is cut if its frames break the rules", async () => {
    const stream = await inStream();
    stream.rogue.write(Uint8Array.of(1, 0, 0, 0, 0)); // OPEN, which only clients send
    await assertCut(stream, /from a server/);
  });

  it("is not heard before it has opened the stream: what it says there is of another", async () => {
    const { app, rogue } = await inStream();
    const stale = Buffer.concat([dataOf("stale"), FIN, RESET]);
    rogue.write(Buffer.concat([stale, OPENED, dataOf("fresh"), FIN]));
    const [heard] = await Promise.all([soon(readAll(app), "answer"), endOf(app)]);
    assert.equal(heard, "fresh");
    app.destroy();
    rogue[Symbol.dispose]();
  });

  it("cannot pass a cut off as an end: the application gets a reset", async () => {
    const { app, rogue } = await inStream();
    rogue.write(OPENED);
    rogue.socket.end(); // no FIN frame, no close_notify
    assert.equal(await endOf(app), "ECONNRESET");
    rogue[Symbol.dispose]();
  });

  it("takes its application's connection with it if it resets", async () => {
    const { app, rogue } = await inStream();
    rogue.write(OPENED);
    rogue.socket.resetAndDestroy();
    assert.equal(await endOf(app), "ECONNRESET");
    rogue[Symbol.dispose]();
  });

  async function chainOf(length: number): Promise<TestIdentity> {
    const endless = new x509.BasicConstraintsExtension(true, undefined, true);
    const issuers: [Signer, ...Signer[]] = [stage.rig.identities.issuers.root];
    for (let i = 2; i < length; i++) {
      const name = i === length - 1 ? nodeIssuerName("n2") : `CN=issuer ${i}`;
      // deno-lint-ignore no-await-in-loop -- each is signed by the one before
      issuers.unshift(await oddIssuer(issuers[0], name, { basicConstraints: endless }));
    }
    return oddLeaf(issuers, SERVER_ID);
  }
});

async function writeSlowly(socket: Socket, bytes: Uint8Array): Promise<void> {
  for (const byte of bytes) {
    // deno-lint-ignore no-await-in-loop -- one after the other is what this is about
    await written(socket, Uint8Array.of(byte));
  }
}

/** A frame of DATA. */
function dataOf(text: string): Uint8Array {
  return Buffer.concat([Buffer.of(4, 0, 0, 0, text.length), Buffer.from(text)]);
}
