/**
 * Runs in a pod: opens connections, sends one request over each, and holds them.
 *
 * In: host, port and count as arguments; the end of standard input ends it. Out: the line "held"
 * when all have been answered; exit status 1 when one was not.
 *
 * @module
 */

const AT_ONCE = 20;
const REQUEST = new TextEncoder().encode("GET / HTTP/1.1\r\nHost: bench\r\n\r\n");

if (import.meta.main) await hold(Deno.args[0] ?? "", Number(Deno.args[1]), Number(Deno.args[2]));

async function hold(hostname: string, port: number, count: number): Promise<void> {
  const held: Deno.Conn[] = [];
  while (held.length < count) {
    const batch = Array.from(
      { length: Math.min(AT_ONCE, count - held.length) },
      () => openOne(hostname, port),
    );
    // deno-lint-ignore no-await-in-loop -- so many at once, not all: a backlog has an end
    held.push(...await Promise.all(batch));
  }
  await Deno.stdout.write(new TextEncoder().encode("held\n"));
  await Deno.stdin.readable.pipeTo(new WritableStream());
  for (const connection of held) connection.close();
}

async function openOne(hostname: string, port: number): Promise<Deno.Conn> {
  const connection = await Deno.connect({ hostname, port });
  await connection.write(REQUEST);
  const answer = new Uint8Array(1024);
  const size = await connection.read(answer) ?? 0;
  if (new TextDecoder().decode(answer.subarray(0, size)).startsWith("HTTP/1.1 200")) {
    return connection;
  }
  throw new Error("Cannot hold a connection: the request was not answered");
}
