// deno-lint-ignore-file no-await-in-loop -- a case does one thing after the other
/**
 * What a local process may write to the agent's socket: requests that are damaged, cut off, slow,
 * huge, many at once, and requests whose values make no sense.
 *
 * In: a seed and a number of cases. Each is a connection, or a few, to the real server over a
 * socket. It fails when the server does not answer the next good request, when an answer to a bad
 * one names no cause, or when the memory grows with the cases.
 *
 * @module
 */
import assert from "node:assert/strict";
import { openLog } from "@/src/log.ts";
import { Observer, serveAgent } from "@/src/observe/mod.ts";
import { within } from "@/tests/support/waiting.ts";
import { sourceFolder, stateOf, TestAgent } from "@/tests/unit/observe/world.ts";
import { forEachCase, type FuzzOptions, join, type Random } from "./random.ts";

const GOOD_EVERY = 10;
const WARM_UP = 50;
const GROWTH_BYTES_MAX = 64 << 20;
/** How long an answer to a good request may take, whatever others do. */
const PATIENCE_MS = 5000;

/** A request that is not whole gets no answer; nobody says so. */
const GLANCE_MS = 20;

const PATHS = [
  "status",
  "identities",
  "policies",
  "explain",
  "metrics",
  "cert-issue",
  "events",
  "",
];
const KEYS = ["from", "to", "port", "proto", "since", "reason", "pod", "follow", "x"];
const VALUES = [
  ...["default/frontend-0", "default/backend", "a/b/c", "/", "10.244.1.2", "::1", "outside"],
  ...["80", "0", "-1", "65536", "1e9", "NaN", "tcp", "udp", "true", "no-certificate", "now", ""],
  ...["%00", "%ff%fe", "..%2f..", "__proto__", "a".repeat(3000), "é", "<script>", "%", "$(id)"],
];
const BODIES = ["{}", "[]", "null", '"x"', "{", '{"pod":"default/own","ttlMs":60000}', '{"pod":1}'];

/** Runs the fuzzer. */
export async function fuzzCli(options: FuzzOptions): Promise<void> {
  await using agent = await Target.start();
  let startBytes = 0;
  await forEachCase(options, async (random, index) => {
    if (index === Math.min(WARM_UP, options.cases - 1)) startBytes = residentBytes();
    const act = random.pick([
      askNonsense,
      askNonsense,
      sendDamaged,
      sendCutOff,
      sendHuge,
      sendMany,
    ]);
    await act(random, agent);
    if (index % GOOD_EVERY === 0) await agent.assertGood();
    const grownBytes = startBytes === 0 ? 0 : residentBytes() - startBytes;
    assert.ok(grownBytes < GROWTH_BYTES_MAX, `grew by ${grownBytes} bytes`);
  });
  await agent.assertGood();
}

function residentBytes(): number {
  return Deno.memoryUsage().rss;
}

/** Whole requests with values that nobody means: whoever sent one learns what was wrong. */
async function askNonsense(random: Random, agent: Target): Promise<void> {
  const params = Array.from(
    { length: random.below(5) },
    () => `${random.pick(KEYS)}=${random.pick(VALUES)}`,
  );
  const path = `/${random.pick(PATHS)}${random.chance(6) ? random.pick(VALUES) : ""}`;
  const query = params.filter((each) => !each.startsWith("follow=")).join("&");
  const method = random.pick(["GET", "GET", "GET", "POST", "PUT", "DELETE", "HEAD"]);
  const body = method === "POST" || method === "PUT" ? random.pick(BODIES) : "";
  const length = body === "" ? "" : `content-length: ${body.length}\r\n`;
  const text =
    `${method} ${path}?${query} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n${length}\r\n`;
  const answer = await agent.send([new TextEncoder().encode(text + body)], "wait");
  const [, status = "", rest = ""] = /^HTTP\/1\.1 (\d{3})[^\n]*\r\n([\s\S]*)$/.exec(answer) ?? [];
  assert.notEqual(status, "", `no answer to ${JSON.stringify(text)}: ${answer}`);
  assert.ok(Number(status) < 500, `${JSON.stringify(text + body)} is answered: ${answer}`);
  // What is not HTTP at all is refused by the HTTP server, without a body.
  const isOurs = /content-type: application\/json/i.test(rest);
  if (Number(status) < 400 || !isOurs || method === "HEAD") return;
  const { error } = JSON.parse(rest.slice(rest.indexOf("\r\n\r\n") + 4));
  assert.match(error.code, /^[a-z-]+$/, answer);
  assert.match(error.message, /\w+ \w+/, answer);
  assert.doesNotMatch(error.message, /\[object|\.ts:\d/, answer);
}

async function sendDamaged(random: Random, agent: Target): Promise<void> {
  const body = random.chance(2) ? random.pick(BODIES) : "";
  const text = `${random.chance(2) ? "POST /cert-issue" : "GET /status"} HTTP/1.1\r\n` +
    `host: a\r\ncontent-length: ${body.length}\r\nconnection: close\r\n\r\n${body}`;
  const bytes = random.damage(new TextEncoder().encode(text));
  const answer = await agent.send([bytes], "glance");
  assert.doesNotMatch(answer, /^HTTP\/1\.1 5/, JSON.stringify(new TextDecoder().decode(bytes)));
}

/** Sends the beginning of a request, byte by byte or whole, and leaves. */
async function sendCutOff(random: Random, agent: Target): Promise<void> {
  const text = "POST /cert-issue HTTP/1.1\r\nhost: a\r\ncontent-length: 20\r\n\r\n{}";
  const bytes = new TextEncoder().encode(text.slice(0, random.below(text.length + 1)));
  const pieces = random.chance(2) ? [bytes] : Array.from(bytes, (byte) => Uint8Array.of(byte));
  await agent.send(pieces, "leave");
}

/** Heads and bodies larger than anybody needs. */
async function sendHuge(random: Random, agent: Target): Promise<void> {
  if (random.chance(12)) return await sendFlood(agent);
  const filler = new Uint8Array(1 << (10 + random.below(12))).fill(0x61);
  const encode = (text: string) => new TextEncoder().encode(text);
  const bytes = random.pick([
    () => join(encode("GET /"), filler, encode(" HTTP/1.1\r\n\r\n")),
    () => join(encode("GET /status HTTP/1.1\r\nx: "), filler, encode("\r\n\r\n")),
    () => join(encode("POST /cert-issue HTTP/1.1\r\ncontent-length: 99999999999\r\n\r\n"), filler),
    () =>
      join(
        encode("POST /cert-issue HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nfffffff\r\n"),
        filler,
      ),
    () => filler,
  ])();
  await agent.send([bytes], "leave");
}

/** More of a body than the memory may grow by: a server that reads it all is found out. */
async function sendFlood(agent: Target): Promise<void> {
  const piece = new Uint8Array(1 << 20).fill(0x20);
  const count = 2 * GROWTH_BYTES_MAX / piece.length;
  const head = `POST /cert-issue HTTP/1.1\r\nhost: a\r\ncontent-length: ${count << 20}\r\n\r\n`;
  await agent.send([new TextEncoder().encode(head), ...Array(count).fill(piece)], "glance");
}

/** Many connections that say nothing, or half of something, at once. */
async function sendMany(random: Random, agent: Target): Promise<void> {
  const count = 1 + random.size(64);
  const open = await Promise.all(Array.from({ length: count }, () => agent.connect()));
  const half = new TextEncoder().encode("GET /status HTTP/1.1\r\nhost:");
  await Promise.all(open.map((each) => random.chance(2) ? each.write(half).catch(() => 0) : 0));
  await agent.assertGood();
  for (const each of open) each.close();
}

/** An agent's server, and who talks to it. */
class Target implements AsyncDisposable {
  readonly #path: string;
  readonly #stack: AsyncDisposableStack;

  private constructor(path: string, stack: AsyncDisposableStack) {
    this.#path = path;
    this.#stack = stack;
  }

  static async start(): Promise<Target> {
    await using stack = new AsyncDisposableStack();
    const folder = await sourceFolder({ policy: true });
    stack.defer(() => Deno.remove(folder, { recursive: true }));
    const runDir = await Deno.makeTempDir({ prefix: "weft-run." });
    stack.defer(() => Deno.remove(runDir, { recursive: true }));
    const view = new TestAgent(await stateOf(folder), runDir);
    const observer = stack.use(new Observer({ state: view.state, counters: () => view.counters }));
    stack.use(serveAgent({ view, observer, log: openLog({ write: () => {} }) }));
    return new Target(`${runDir}/weft.sock`, stack.move());
  }

  connect(): Promise<Deno.UnixConn> {
    return Deno.connect({ transport: "unix", path: this.#path });
  }

  /** Sends pieces, and reads the whole answer, or what comes of it soon, or leaves without. */
  async send(pieces: readonly Uint8Array[], then: "wait" | "glance" | "leave"): Promise<string> {
    const connection = await this.connect();
    try {
      for (const piece of pieces) {
        for (let at = 0; at < piece.length;) at += await connection.write(piece.subarray(at));
      }
    } catch {
      // It has closed on us, which is its right; what it has said can still be read.
    }
    if (then === "leave") {
      connection.close();
      return "";
    }
    if (then === "glance") return await readSoon(connection);
    return await within(
      PATIENCE_MS,
      "an answer",
      new Response(connection.readable).text().catch(() => ""),
    );
  }

  /** The agent answers as if nothing had happened. */
  async assertGood(): Promise<void> {
    const request = "GET /status HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    const answer = await this.send([new TextEncoder().encode(request)], "wait");
    assert.match(answer, /^HTTP\/1\.1 200 OK\r\n/);
    assert.match(answer, /"node":"node-1"/);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}

/** What comes while the server has not yet to wait for more of the request; then leaves. */
async function readSoon(connection: Deno.UnixConn): Promise<string> {
  const buffer = new Uint8Array(65_536);
  const timer = setTimeout(() => connection.close(), GLANCE_MS);
  const count = await connection.read(buffer).catch(() => null);
  clearTimeout(timer);
  try {
    connection.close();
  } catch {
    // The time was up.
  }
  return new TextDecoder().decode(buffer.subarray(0, count ?? 0));
}
