/**
 * A client that puts load on a connection's path, run in a pod: `loader.ts WHAT HOST PORT COUNT`.
 * It prints a JSON object a line; a connection that fails is counted with the first reason.
 *
 * - `together`: COUNT connections, open at the same time; when all are, it says so and waits for a
 *   line of standard input; then each exchanges a line with an echo and ends
 * - `short`: COUNT connections, sixteen at a time, each of which reads to the end
 * - `slow`: COUNT connections to a source, each asked for more than anybody keeps; a few bytes of
 *   each are read, then nothing until a line of standard input, and then, of the first, more than
 *   can have been on the way
 *
 * @module
 */

/** Clients of `short` at a time. */
const CLIENTS = 16;
/** What `slow` asks for: more than all buffers on the way hold. */
const SLOW_BYTES = 1 << 30;
/** More than the buffers of all sockets and relays between two pods. */
const WAY_BYTES = 64 << 20;

if (import.meta.main) {
  const [what = "", hostname = "", port = "", count = ""] = Deno.args;
  const actions: Record<string, (to: Target, count: number) => Promise<void>> = {
    together,
    short,
    slow,
  };
  const action = actions[what];
  if (action === undefined) throw new TypeError(`Cannot do "${what}"`);
  await action({ hostname, port: Number(port) }, Number(count));
  Deno.exit(0);
}

interface Target {
  readonly hostname: string;
  readonly port: number;
}

async function together(to: Target, count: number): Promise<void> {
  const opened = await Promise.allSettled(each(count, async (index) => {
    const connection = await Deno.connect(to);
    await exchange(connection, `first ${index}`);
    return connection;
  }));
  const connections = succeeded(opened);
  say({ standing: connections.length, ...firstFailure(opened) });
  await nextLine();
  const answered = await Promise.allSettled(connections.map(async (connection, index) => {
    await exchange(connection, `second ${index}`);
    await connection.closeWrite();
    const rest = await readAll(connection);
    const sent = `first ${index}second ${index}`.length;
    if (rest !== `end after ${sent}`) throw new Error(`Ended with "${rest}"`);
  }));
  say({ served: succeeded(answered).length, ...firstFailure(answered) });
}

async function short(to: Target, count: number): Promise<void> {
  let next = 0;
  const results: PromiseSettledResult<void>[] = [];
  await Promise.all(each(CLIENTS, async () => {
    while (next++ < count) {
      // deno-lint-ignore no-await-in-loop -- a client does one thing after the other
      results.push(...await Promise.allSettled([ask(to)]));
    }
  }));
  say({ served: succeeded(results).length, ...firstFailure(results) });
}

async function ask(to: Target): Promise<void> {
  const connection = await Deno.connect(to);
  const answer = await readAll(connection);
  if (!answer.startsWith('{"client":')) throw new Error(`Got "${answer}"`);
}

async function slow(to: Target, count: number): Promise<void> {
  const opened = await Promise.allSettled(each(count, async () => {
    const connection = await Deno.connect(to);
    await connection.write(new TextEncoder().encode(`${SLOW_BYTES}\n`));
    await connection.read(new Uint8Array(64));
    return connection;
  }));
  const connections = succeeded(opened);
  say({ standing: connections.length, ...firstFailure(opened) });
  await nextLine();
  const read = await Promise.allSettled(connections.map(async (connection, index) => {
    const buffer = new Uint8Array(65_536);
    const wanted = index === 0 ? WAY_BYTES : 1;
    for (let got = 0; got < wanted;) {
      // deno-lint-ignore no-await-in-loop -- one stream
      const size = await connection.read(buffer);
      if (size === null) throw new Error(`Ended after ${got} bytes`);
      got += size;
    }
  }));
  say({ served: succeeded(read).length, ...firstFailure(read) });
}

async function exchange(connection: Deno.Conn, line: string): Promise<void> {
  await connection.write(new TextEncoder().encode(line));
  let got = "";
  const buffer = new Uint8Array(64);
  while (got.length < line.length) {
    // deno-lint-ignore no-await-in-loop -- one stream
    const size = await connection.read(buffer);
    if (size === null) break;
    got += new TextDecoder().decode(buffer.subarray(0, size));
  }
  if (got !== line) throw new Error(`Got "${got}" for "${line}"`);
}

async function readAll(connection: Deno.Conn): Promise<string> {
  return await new Response(connection.readable).text();
}

async function nextLine(): Promise<void> {
  await Deno.stdin.read(new Uint8Array(64));
}

function each<T>(count: number, make: (index: number) => T): T[] {
  return Array.from({ length: count }, (_, index) => make(index));
}

function succeeded<T>(results: readonly PromiseSettledResult<T>[]): T[] {
  return results.flatMap((result) => result.status === "fulfilled" ? [result.value] : []);
}

function firstFailure(results: readonly PromiseSettledResult<unknown>[]): { first?: string } {
  for (const result of results) {
    if (result.status === "rejected") return { first: String(result.reason) };
  }
  return {};
}

function say(report: Readonly<Record<string, unknown>>): void {
  Deno.stdout.writeSync(new TextEncoder().encode(`${JSON.stringify(report)}\n`));
}
