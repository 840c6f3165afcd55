/**
 * A client for tests, run in a pod, on a node or outside: `dialer.ts WHAT HOST PORT [MORE]`. It
 * prints one JSON object; a connection that fails is an answer, not a failure of the program.
 *
 * - `read`: says nothing and reads to the end, or the first bytes with MORE = `first`
 * - `send`: sends MORE bytes, ends its direction, reads to the end
 * - `fetch`: asks a source for MORE bytes and hashes them
 * - `flood`: writes until nothing has been taken for a second, without reading
 * - `again`: MORE connections, one after the other, each read to its end
 * - `many`: MORE connections at once, each exchanging a line with an echo
 * - `beat`: a new connection every MORE ms, each exchanging a line with an echo, until standard
 *   input ends
 * - `hold`: a line of standard input is sent, what comes back is a line of output
 *
 * @module
 */
import { createHash } from "node:crypto";

type Report = Record<string, unknown>;

if (import.meta.main) {
  const [what = "", hostname = "", port = "", more = ""] = Deno.args;
  const actions: Record<string, (to: Target, more: string) => Promise<Report>> = {
    read,
    send,
    fetch: fetchBytes,
    flood,
    again,
    many,
    beat,
    hold,
  };
  const action = actions[what];
  if (action === undefined) throw new TypeError(`Cannot do "${what}"`);
  const report = await action({ hostname, port: Number(port) }, more).catch((error) => ({
    error: nameOf(error),
  }));
  say(report);
  Deno.exit(0);
}

interface Target {
  readonly hostname: string;
  readonly port: number;
}

async function read(to: Target, more: string): Promise<Report> {
  const start = performance.now();
  const connection = await Deno.connect(to);
  const connectMs = performance.now() - start;
  const chunks: Uint8Array[] = [];
  let firstMs = 0;
  const ends = { peer: connection.remoteAddr, local: connection.localAddr };
  try {
    for await (const chunk of connection.readable) {
      firstMs ||= performance.now() - start;
      chunks.push(chunk);
      if (more === "first") break;
    }
  } catch (error) {
    return { ...ends, connectMs, error: nameOf(error) };
  }
  return { ...ends, connectMs, firstMs, text: text(chunks) };
}

async function send(to: Target, more: string): Promise<Report> {
  const connection = await Deno.connect(to);
  const hash = createHash("sha256");
  const block = new Uint8Array(65_536);
  const answer = readAll(connection);
  const start = performance.now();
  let failure: unknown;
  let round = 0;
  for (let left = Number(more); left > 0;) {
    const piece = block.subarray(0, Math.min(left, block.length)).fill(round++ & 255);
    hash.update(piece);
    // deno-lint-ignore no-await-in-loop -- one stream
    const written = await writeAll(connection, piece).catch((error) => void (failure = error));
    if (written === undefined) break;
    left -= piece.length;
  }
  if (failure !== undefined) return { error: nameOf(failure) };
  await connection.closeWrite();
  const answered = await answer;
  return { sent: hash.digest("hex"), answered, elapsedMs: performance.now() - start };
}

async function fetchBytes(to: Target, more: string): Promise<Report> {
  const connection = await Deno.connect(to);
  const start = performance.now();
  await writeAll(connection, new TextEncoder().encode(`${more}\n`));
  const hash = createHash("sha256");
  let size = 0;
  for await (const chunk of connection.readable) {
    size += chunk.length;
    hash.update(chunk);
  }
  return { size, hash: hash.digest("hex"), elapsedMs: performance.now() - start };
}

async function flood(to: Target): Promise<Report> {
  const connection = await Deno.connect(to);
  const block = new Uint8Array(65_536);
  let taken = 0;
  for (;;) {
    const { promise, resolve } = Promise.withResolvers<number>();
    const timer = setTimeout(() => resolve(-1), 1000);
    connection.write(block).then(resolve, () => resolve(-2));
    // deno-lint-ignore no-await-in-loop -- until nothing is taken any more
    const count = await promise;
    clearTimeout(timer);
    if (count < 0) break;
    taken += count;
  }
  say({ taken });
  // Stays connected, so that who is in between can be looked at, until its input ends.
  for await (const _ of Deno.stdin.readable) continue;
  return { taken };
}

async function again(to: Target, more: string): Promise<Report> {
  let served = 0;
  for (let round = 0; round < Number(more); round++) {
    // deno-lint-ignore no-await-in-loop -- one after the other is what is asked for
    const connection = await Deno.connect(to);
    // deno-lint-ignore no-await-in-loop
    const got = await readAll(connection).catch(nameOf);
    if (!got.startsWith("{")) return { served, failed: 1, first: got };
    served++;
  }
  return { served, failed: 0 };
}

async function many(to: Target, more: string): Promise<Report> {
  const results = await Promise.allSettled(
    Array.from({ length: Number(more) }, async (_, index) => {
      const connection = await Deno.connect(to);
      const line = `line ${index}`;
      const answer = readAll(connection);
      await writeAll(connection, new TextEncoder().encode(line));
      await connection.closeWrite();
      const got = await answer;
      if (got.replace(/^220 ready\n/, "") !== `${line}end after ${line.length}`) {
        throw new Error(`Got "${got}"`);
      }
    }),
  );
  const failed = results.filter(({ status }) => status === "rejected");
  const [first] = failed as PromiseRejectedResult[];
  return {
    served: results.length - failed.length,
    failed: failed.length,
    ...(first && { first: `${first.reason}` }),
  };
}

async function beat(to: Target, more: string): Promise<Report> {
  let [isOver, served, slowestMs] = [false, 0, 0];
  const failures: string[] = [];
  const once = async () => {
    const start = performance.now();
    try {
      const connection = await Deno.connect(to);
      await connection.write(new TextEncoder().encode("beat\n"));
      const count = await connection.read(new Uint8Array(16));
      connection.close();
      if (count === null) failures.push("end");
      else served++;
    } catch (error) {
      failures.push(nameOf(error));
    }
    slowestMs = Math.max(slowestMs, performance.now() - start);
  };
  const input = new Response(Deno.stdin.readable).text().then(() => isOver = true);
  const all: Promise<void>[] = [];
  while (!isOver) {
    all.push(once());
    say({ begun: all.length });
    // deno-lint-ignore no-await-in-loop -- the beat
    await new Promise((resolve) => setTimeout(resolve, Number(more)));
  }
  await Promise.all([input, ...all]);
  return { served, failed: failures.length, first: failures[0], elapsedMs: slowestMs };
}

async function hold(to: Target): Promise<Report> {
  const connection = await Deno.connect(to);
  say({ connected: true });
  const input = (async () => {
    for await (const line of Deno.stdin.readable) await writeAll(connection, line);
  })();
  input.catch(() => undefined);
  const decoder = new TextDecoder();
  const buffer = new Uint8Array(65_536);
  for (;;) {
    // deno-lint-ignore no-await-in-loop -- one stream
    const count = await connection.read(buffer);
    if (count === null) return { ended: "end" };
    say({ got: decoder.decode(buffer.subarray(0, count)) });
  }
}

async function readAll(connection: Deno.Conn): Promise<string> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of connection.readable) chunks.push(chunk);
  return text(chunks);
}

async function writeAll(connection: Deno.Conn, bytes: Uint8Array): Promise<number> {
  for (let from = 0; from < bytes.length;) {
    // deno-lint-ignore no-await-in-loop -- one stream
    from += await connection.write(bytes.subarray(from));
  }
  return bytes.length;
}

function text(chunks: readonly Uint8Array[]): string {
  return new TextDecoder().decode(new Uint8Array(chunks.flatMap((chunk) => [...chunk])));
}

function nameOf(error: unknown): string {
  return error instanceof Error ? error.name : String(error);
}

function say(report: Report): void {
  Deno.stdout.writeSync(new TextEncoder().encode(`${JSON.stringify(report)}\n`));
}
