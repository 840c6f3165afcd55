/**
 * Bytes that a peer may send to the relay: a ClientHello that has been damaged, and records behind
 * a good handshake, sealed and not, of any type and content.
 *
 * In: a seed and a number of cases, root. Each case is one connection to a real relay in a pod's
 * namespace. It fails when the relay throws, keeps a connection that has ended, lets a byte of a
 * stranger through, does not serve the next good connection, or when the memory grows with the
 * cases.
 *
 * @module
 */
import assert from "node:assert/strict";
import type { Socket } from "node:net";
import { soon, Stage, until } from "@/tests/kernel/peers_stage.ts";
import { forEachCase, type FuzzOptions, join, type Random } from "./random.ts";

/** Cases of strangers, and then of peers with a good certificate: only these may reach somebody. */
const BLOCK = 10;
/** Until then the engine and OpenSSL take what they keep. */
const WARM_UP = 50;
const GROWTH_BYTES_MAX = 24 << 20;
const RECORD_TYPES = [20, 21, 22, 23, 24, 0, 255];
/** Frames of `weft/1`: all types, as a peer may send them and as it may not. */
const OPEN = Uint8Array.of(1, 0, 0, 0, 10, 0x1f, 0x90, 0, 0, 0, 0, 0, 0, 0, 1);
const FRAMES = [
  OPEN,
  OPEN,
  Uint8Array.of(2, 0, 0, 0, 0),
  Uint8Array.of(3, 0, 0, 0, 2, 0, 7),
  Uint8Array.of(4, 0, 0, 0, 3, 0x61, 0x62, 0x63),
  Uint8Array.of(5, 0, 0, 0, 0),
  Uint8Array.of(6, 0, 0, 0, 0),
  Uint8Array.of(7, 0, 0, 0, 0),
  Uint8Array.of(9, 0, 0, 0, 0),
  join(Uint8Array.of(1, 0, 0, 0, 200), new Uint8Array(200)),
];

/** Runs the fuzzer. */
export async function fuzzTls(options: FuzzOptions): Promise<void> {
  await using stage = await Stage.open();
  const faults: string[] = [];
  for (const pod of [stage.rig.client, stage.rig.server]) {
    void pod.message((message) => {
      if (message.type === "fault") faults.push(message.message);
      return false;
    });
  }
  const hello = await takeHello(stage);
  await stage.assertGoodLives();
  const usual = stage.rig.server.count("connections_open");
  let [startBytes, strays] = [0, 0];
  await forEachCase(options, async (random, index) => {
    if (index === Math.min(WARM_UP, options.cases - 1)) startBytes = Deno.memoryUsage().rss;
    const isStranger = Math.floor(index / BLOCK) % 2 === 0;
    if (index % BLOCK === 0) {
      await quiet(stage);
      if (isStranger) strays = stage.strayBytes.length;
      else assert.equal(stage.strayBytes.length, strays, "a stranger reached the application");
    }
    if (isStranger) await dialWith(random, stage, random.damage(hello));
    else await abuseSession(random, stage);
    assert.deepEqual(faults, []);
    checkCauses(stage);
    stage.hush();
  });
  await quiet(stage);
  await until(
    "the relay carries no more than before",
    () => stage.rig.server.count("connections_open") <= usual,
  );
  const grownBytes = Deno.memoryUsage().rss - startBytes;
  assert.ok(grownBytes < GROWTH_BYTES_MAX, `Seed ${options.seed}: grew by ${grownBytes} bytes`);
}

/** Whatever the relay has told says why, and of whom. */
function checkCauses(stage: Stage): void {
  for (const event of stage.rig.server.events) {
    const shown = JSON.stringify(event);
    assert.match(event.reason, /^[a-z]+(-[a-z]+)+$|^malformed$/, shown);
    assert.equal(event.source, stage.rig.client.address, shown);
    if (/^(handshake-failed|malformed)$/.test(event.reason)) {
      assert.match(event.detail ?? "", /\w/, shown);
    }
    assert.doesNotMatch(event.detail ?? "", /undefined|\[object/, shown);
  }
}

/** The first flight of a peer that could be served. */
function takeHello(stage: Stage): Promise<Uint8Array> {
  using peer = stage.peer();
  return Promise.resolve(peer.hello());
}

/** A good connection passes, and the application has seen the end of all others. */
async function quiet(stage: Stage): Promise<void> {
  await stage.assertGoodLives();
  const ended = () => stage.ended.filter((how) => how !== undefined).length;
  await until("the application has seen all ends", () => ended() >= stage.received.length - 1);
}

/** Sends bytes in some pieces, ends, and waits until the relay has ended, too. */
async function dialWith(random: Random, stage: Stage, bytes: Uint8Array): Promise<void> {
  const socket = stage.dial();
  const closed = closeOf(socket);
  socket.resume();
  for (let at = 0; at < bytes.length;) {
    const size = random.chance(3) ? 1 + random.size(bytes.length) : bytes.length;
    socket.write(bytes.subarray(at, at + size));
    at += size;
  }
  await endSomehow(random, socket, closed);
}

/** Shakes hands as the client pod, and then goes mad. */
async function abuseSession(random: Random, stage: Stage): Promise<void> {
  using peer = stage.peer({ protocols: [random.pick(["weft/1", "http/1.1"])] });
  const closed = closeOf(peer.socket);
  await soon(peer.handshake(), "handshake of a good peer");
  const records = 1 + random.size(6);
  for (let record = 0; record < records; record++) {
    let content = join(...Array.from({ length: random.size(8) }, () => random.pick(FRAMES)));
    if (random.chance(3)) content = random.damage(content);
    if (random.chance(8)) content = random.bytes(random.size(16_000));
    let bytes = peer.seal(random.chance(2) ? 23 : random.pick(RECORD_TYPES), content);
    if (random.chance(6)) bytes = random.damage(bytes);
    peer.socket.write(bytes);
  }
  await endSomehow(random, peer.socket, closed);
}

/** Whether it was reset or not is no matter here; `once` of node:events would mind. */
function closeOf(socket: Socket): Promise<void> {
  return new Promise((resolve) => socket.once("close", () => resolve()));
}

async function endSomehow(
  random: Random,
  socket: Socket,
  closed: Promise<unknown>,
): Promise<void> {
  if (random.chance(3)) socket.resetAndDestroy();
  else socket.end();
  await soon(closed, "end of a connection that its peer has ended");
}
