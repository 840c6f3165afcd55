/**
 * Clients that misbehave once they are known: within TLS, within frames, and in time.
 *
 * Their records are sealed with the connection's own keys, so the relay must take them for what
 * they are. Time is the test's: the relay's clock is put forward instead of waited for.
 *
 * @module
 */

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { after, afterEach, before, beforeEach, describe, it } from "node:test";
import { FRAME_HEADER_BYTES, FrameType } from "@/src/relay/path/frames.ts";
import { openDescriptors, residentBytes, soon, Stage, until, untilCount } from "./peers_stage.ts";
import { allowEarlyData, type TlsPeer } from "./peers_tls.ts";

/** How long a server keeps a tunnel that carries nothing. */
const IDLE_MS = 90_000;

const TLS_HANDSHAKE = 22;
const TLS_DATA = 23;
/** Each is a record of 27 bytes, under a key of its own. */
const KEY_UPDATES = 6000;
const KEY_UPDATE_REQUESTED = Buffer.of(24, 0, 0, 1, 1);
const CLIENT_HELLO = Buffer.of(1, 0, 0, 4, 3, 3, 0, 0);
const EMPTY = Buffer.of();

const OPEN = Buffer.of(1, 0, 0, 0, 10, 0, 80, 0, 0, 0, 0, 0, 0, 0, 1);
const OPENED_BYTES = 5;
const frameOf = (text: string): Buffer =>
  Buffer.concat([Buffer.of(4, 0, 0, 0, text.length), Buffer.from(text)]);

describe("a client that misbehaves once it is known", () => {
  let stage: Stage;
  let base: { tunnels: number; descriptors: number };
  /** The last connection that the application has accepted. */
  let application = -1;
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
    await untilCount(stage.rig.server, "tunnels_open", base.tunnels);
    await until("all its descriptors are closed", () => openDescriptors() <= base.descriptors);
  });
  after(() => stage[Symbol.asyncDispose]());

  async function known(options: { readonly protocols?: readonly string[] } = {}): Promise<TlsPeer> {
    const { server } = stage.rig;
    const handshakes = server.count("handshakes");
    const peer = stage.peer(options);
    await soon(peer.handshake(), "handshake");
    // A client is done when it has sent its last flight; the relay, when it has read that.
    await untilCount(server, "handshakes", handshakes + 1);
    return peer;
  }

  /** A client with an application's connection open behind it. */
  async function inStream(): Promise<TlsPeer> {
    const peer = await known();
    peer.write(Buffer.concat([OPEN, frameOf("good")]));
    assert.match(await soon(peer.received(OPENED_BYTES + 9), "answer"), /good$/);
    application = stage.received.length - 1;
    return peer;
  }

  /** The application behind it sees a cut, and not an end. */
  async function assertApplicationReset(): Promise<void> {
    await until("the application has heard", () => stage.ended[application] !== undefined);
    assert.equal(stage.ended[application], "reset");
  }

  /** It is cut with a reset, and the cause is named. */
  async function assertCut(peer: TlsPeer, detail: RegExp): Promise<void> {
    const outcome = await soon(peer.outcome, "end of the connection");
    assert.equal(outcome.end, "reset");
    await stage.objection("malformed", { verdict: "cut", detail });
  }

  it("is cut if it floods with KeyUpdate, and makes no memory grow", async () => {
    using peer = await known();
    const before = residentBytes();
    const flood: Uint8Array[] = [];
    for (let i = 0; i < KEY_UPDATES; i++) {
      flood.push(peer.seal(TLS_HANDSHAKE, KEY_UPDATE_REQUESTED));
      peer.renewKey();
    }
    const held = residentBytes() - before;
    peer.socket.write(Buffer.concat(flood));
    await stage.assertGoodLives();
    await assertCut(peer, /control records alone/);
    assert.ok(residentBytes() - before - held < 16 << 20);
  });

  it("is cut if it floods with empty records", async () => {
    using peer = await known();
    for (let i = 0; i < 1000; i++) peer.socket.write(peer.seal(TLS_DATA, EMPTY));
    await assertCut(peer, /record too small|empty/);
  });

  it("is cut if it renegotiates", async () => {
    using peer = await known();
    peer.socket.write(peer.seal(TLS_HANDSHAKE, CLIENT_HELLO));
    await assertCut(peer, /unexpected message/);
  });

  it("is cut if its record is not what its key sealed", async () => {
    using peer = await inStream();
    const record = Buffer.from(peer.seal(TLS_DATA, frameOf("bad")));
    record[10] = (record[10] ?? 0) ^ 1;
    peer.socket.write(record);
    await assertCut(peer, /bad record mac/);
    await assertApplicationReset();
  });

  const RULES: readonly [what: string, frames: Buffer, detail: RegExp][] = [
    ["a type that there is not", Buffer.of(9, 0, 0, 0, 0), /type 9 with/],
    ["a length beyond all bounds", Buffer.of(4, 255, 255, 255, 255), /with 4294967295 bytes/],
    ["an OPEN without its fields", Buffer.of(1, 0, 0, 0, 1, 0), /OPEN without/],
    ["an OPEN within a stream", Buffer.concat([OPEN, OPEN]), /OPEN within/],
    ["a frame that only servers send", Buffer.of(2, 0, 0, 0, 0), /from a client/],
  ];
  for (const [what, frames, detail] of RULES) {
    it(`is cut for ${what}`, async () => {
      using peer = await known();
      peer.write(frames);
      await assertCut(peer, detail);
    });
  }

  it("gets nothing for its 0-RTT: no ticket allows it, and what it sends early is dropped", async () => {
    using first = await known({ protocols: [] });
    first.write("good");
    await soon(first.received(4), "answer");
    const { pointer, earlyBytesMax } = first.session();
    assert.equal(earlyBytesMax, 0);
    first.end();
    await soon(first.outcome, "end of the first connection");
    allowEarlyData(pointer, 1 << 14);
    using next = stage.peer({ protocols: [], session: pointer });
    next.socket.write(next.helloWithEarlyData("stolen"));
    await soon(next.handshake(), "handshake");
    assert.equal(next.resumed, true);
    assert.equal(next.earlyDataStatus, REJECTED);
    next.write("good");
    assert.equal(await soon(next.received(4), "answer"), "good");
    next.end();
    await soon(next.outcome, "end of the resumed connection");
  });

  it("cannot pass a cut off as an end: the application gets a reset", async () => {
    using peer = await inStream();
    peer.socket.end(); // no FIN frame, no close_notify
    await soon(peer.outcome, "end of the connection");
    await assertApplicationReset();
  });

  it("takes its own application's connection with it if it resets, and nothing else", async () => {
    const peer = await inStream();
    peer.socket.resetAndDestroy();
    await assertApplicationReset();
    peer[Symbol.dispose]();
  });

  it("is ended by a deadline if it has nothing to say", async () => {
    using peer = await known();
    await stage.rig.server.passTime({ steadyMs: IDLE_MS + 1 });
    const outcome = await soon(peer.outcome, "end of the connection");
    assert.deepEqual(outcome, { alert: undefined, end: "fin", text: "", detail: "" });
  });

  it("is ended by the same deadline if it stalls within a frame, byte after byte", async () => {
    using peer = await known();
    for (const byte of OPEN.subarray(0, 8)) {
      // deno-lint-ignore no-await-in-loop -- a test does one thing after the other
      await peer.write(Uint8Array.of(byte));
      // deno-lint-ignore no-await-in-loop
      await stage.rig.server.passTime({ steadyMs: 11_000 });
    }
    await stage.rig.server.passTime({ steadyMs: IDLE_MS - 8 * 11_000 + 1 });
    assert.equal((await soon(peer.outcome, "end of the connection")).text, "");
  });

  it("is served at its pace if it sends one byte a second", async () => {
    using peer = await known();
    for (const byte of Buffer.concat([OPEN, frameOf("good")])) {
      // deno-lint-ignore no-await-in-loop -- a test does one thing after the other
      await peer.write(Uint8Array.of(byte));
      // deno-lint-ignore no-await-in-loop
      await stage.rig.server.passTime({ steadyMs: 1000 });
    }
    // What comes in pieces may go back in as many.
    let answer = "";
    for (let known = -1; known < answer.length && payloadOf(answer).length < 4;) {
      known = answer.length;
      // deno-lint-ignore no-await-in-loop -- each piece is awaited
      answer = await soon(peer.received(known + 1), "answer");
    }
    assert.equal(payloadOf(answer), "good");
  });
});

/** What the DATA frames in `text` carry. */
function payloadOf(text: string): string {
  const bytes = Buffer.from(text, "latin1");
  let payload = "";
  for (let at = 0; at + FRAME_HEADER_BYTES <= bytes.length;) {
    const end = at + FRAME_HEADER_BYTES + bytes.readUInt32BE(at + 1);
    if (bytes[at] === FrameType.DATA) payload += text.slice(at + FRAME_HEADER_BYTES, end);
    at = end;
  }
  return payload;
}

/** SSL_EARLY_DATA_REJECTED */
const REJECTED = 1;
