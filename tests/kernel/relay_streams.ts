// deno-lint-ignore-file no-await-in-loop -- one stream
/**
 * Long streams for tests of the relay: a pattern that no two places share, written and checked.
 *
 * @module
 */

import assert from "node:assert/strict";
import { once } from "node:events";
import type { Socket } from "node:net";

/** Writes until `client` has taken nothing for half a second; returns how much was written. */
export async function fill(client: Socket, sizeMax: number): Promise<number> {
  const chunk = new Uint8Array(1 << 18);
  let size = 0;
  let isFull = false;
  while (size < sizeMax && !isFull) {
    size += chunk.length;
    if (client.write(chunk)) continue;
    const drained = once(client, "drain");
    isFull = await Promise.race([
      drained.then(() => false),
      new Promise<boolean>((resolve) => setTimeout(() => resolve(true), 500)),
    ]);
  }
  return size;
}

/** Byte `i` of the stream. */
function pattern(start: number, size: number): Uint8Array {
  return Uint8Array.from(
    { length: size },
    (_, i) => ((start + i) * 31 + ((start + i) >> 13)) & 0xff,
  );
}

const CHUNK = 100_003;

/** Writes `size` bytes of the pattern to the application's end. */
export async function sendPattern(app: Deno.TcpConn, size: number): Promise<void> {
  for (let at = 0; at < size; at += CHUNK) {
    const chunk = pattern(at, Math.min(CHUNK, size - at));
    for (let sent = 0; sent < chunk.length;) sent += await app.write(chunk.subarray(sent));
  }
}

/** Writes `size` bytes of the pattern as the client, and ends. */
export async function writePattern(client: Socket, size: number): Promise<void> {
  for (let at = 0; at < size; at += CHUNK) {
    if (!client.write(pattern(at, Math.min(CHUNK, size - at)))) await once(client, "drain");
  }
  client.end();
}

/** Reads to the end and counts; fails at a byte that is not the pattern's. */
export async function checkPattern(app: Deno.TcpConn): Promise<number> {
  let at = 0;
  const buffer = new Uint8Array(1 << 17);
  for (let n = await app.read(buffer); n !== null; n = await app.read(buffer)) {
    assert.deepEqual(buffer.subarray(0, n), pattern(at, n));
    at += n;
  }
  return at;
}

/** The same, as the client. */
export async function checkSocket(client: Socket): Promise<number> {
  let at = 0;
  client.on("data", (chunk: Uint8Array) => {
    assert.deepEqual(new Uint8Array(chunk), pattern(at, chunk.length));
    at += chunk.length;
  });
  await once(client, "end");
  return at;
}
