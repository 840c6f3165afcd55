/**
 * What TCP promises an application holds through the mesh: who speaks first, half-closes, resets,
 * bulk of both directions, many at once.
 *
 * @module
 */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { after, before, describe, it } from "node:test";
import { CLOSED_PORT, HABITS } from "./support/habits.ts";
import { ENROLLED, Mesh, pod, policy } from "./support/mesh.ts";

/** A relay that waits for a client to speak gives up after two seconds: not before. */
const AT_ONCE_MS = 1900;
const BULK = 64 * 1024 * 1024;

describe("a connection through the mesh", { timeout: 120_000 }, () => {
  let mesh: Mesh;
  const server = "default/server";
  const client = "default/client";

  before(async () => {
    mesh = await Mesh.up({
      nodes: 2,
      documents: [
        pod({ name: "server", runs: "talker", node: "node-1" }),
        pod({ name: "open", runs: "talker", node: "node-1" }),
        pod({ name: "client", labels: ENROLLED, node: "node-2" }),
        policy("server", "STRICT"),
        policy("open", "PERMISSIVE"),
      ],
    });
  });

  after(() => mesh[Symbol.asyncDispose]());

  for (
    const [from, to, mode] of [
      [client, server, "STRICT"],
      [client, "default/open", "PERMISSIVE, inside"],
      ["outside", "default/open", "PERMISSIVE, from outside"],
    ] as const
  ) {
    for (const family of [0, 1] as const) {
      it(`lets the server speak first without delay (${mode}, IPv${family * 2 + 4})`, async () => {
        const address = (await mesh.addresses(to))[family];
        const { text, firstMs = Infinity } = await mesh.dial(
          from,
          "read",
          address,
          HABITS.greet,
          "first",
        );
        assert.equal(text, "220 ready\n");
        assert.ok(firstMs < AT_ONCE_MS, `the greeting took ${firstMs} ms`);
      });
    }

    it(`answers after the client's end, and ends after the server's (${mode})`, async () => {
      const [address] = await mesh.addresses(to);
      const half = await mesh.dial(from, "send", address, HABITS.sink, 70_000);
      assert.equal(half.answered, `70000 ${half.sent}`);
      const { text } = await mesh.dial(from, "read", address, HABITS.who);
      assert.match(text ?? "", /^{"client":/);
    });

    it(`keeps every byte of 64 MiB each way (${mode})`, async () => {
      const [address] = await mesh.addresses(to);
      const up = await mesh.dial(from, "send", address, HABITS.sink, BULK);
      assert.equal(up.answered, `${BULK} ${up.sent}`);
      const down = await mesh.dial(from, "fetch", address, HABITS.source, BULK);
      assert.deepEqual([down.size, down.hash], [BULK, hashOfSource(BULK)]);
    });

    it(`hands a reset on as a reset (${mode})`, async () => {
      const [address] = await mesh.addresses(to);
      await using live = await mesh.hold(from, address, HABITS.reset);
      assert.equal(await live.ask("go"), "over: ConnectionReset");
    });

    it(`serves 200 connections at once (${mode})`, async () => {
      const [address] = await mesh.addresses(to);
      const { served, failed, first } = await mesh.dial(from, "many", address, HABITS.echo, 200);
      assert.deepEqual({ served, failed, first }, { served: 200, failed: 0, first: undefined });
    });
  }

  it("never hands a greeting on in clear between two pods of the mesh", async () => {
    // The application's greeting and the peer's ClientHello race; at once, so that each has its
    // own.
    const [address] = await mesh.addresses("default/open");
    const answer = await mesh.dial(client, "many", address, HABITS.greet, 200);
    assert.deepEqual(answer, { served: 200, failed: 0 });
    assert.equal((await mesh.status("node-1")).datapath.plaintextFromMesh, 0);
  });

  it("does not let a reader that never reads make the relay grow without bound", async () => {
    const [address] = await mesh.addresses(server);
    const { taken, error } = await flooded(mesh, client, address);
    assert.equal(error, undefined);
    assert.ok(taken < 64 * 1024 * 1024, `${taken} bytes were taken for nobody`);
  });

  it("leaves a closed port closed for an enrolled pod", async () => {
    const addresses = await mesh.addresses(server);
    const answers = await Promise.all(
      addresses.map((address) => mesh.dial(client, "read", address, CLOSED_PORT)),
    );
    for (const { error } of answers) assert.match(error ?? "served", REFUSALS);
  });

  it("refuses a closed port at connect() to who comes from the outside", async () => {
    const addresses = await mesh.addresses("default/open");
    const answers = await Promise.all(
      addresses.map((address) => mesh.dial("outside", "read", address, CLOSED_PORT)),
    );
    assert.deepEqual(answers.map(({ error }) => error), ["ConnectionRefused", "ConnectionRefused"]);
  });

  it("carries an application's own TLS as payload", async () => {
    const [address] = await mesh.addresses(server);
    const port = 7443;
    await using tls = await ownTls(mesh, server, port);
    const { stdout } = await mesh.bed.exec(client, [
      ...["curl", "-sk", "-m", "10", `https://${address}:${port}/`],
    ]);
    assert.match(stdout, /s_server/, tls.log());
  });
});

const REFUSALS = /ConnectionRefused|ConnectionReset/;

/** What the habit `source` sends. */
function hashOfSource(size: number): string {
  const block = new Uint8Array(65_536).map((_, index) => (index * 31) & 255);
  const hash = createHash("sha256");
  for (let left = size; left > 0; left -= block.length) {
    hash.update(block.subarray(0, Math.min(left, block.length)));
  }
  return hash.digest("hex");
}

async function flooded(
  mesh: Mesh,
  from: string,
  address: string,
): Promise<{ readonly taken: number; readonly error?: string }> {
  const answer = await mesh.dial(from, "flood", address, HABITS.stubborn) as Record<
    string,
    unknown
  >;
  return { taken: Infinity, ...answer };
}

interface OwnTls extends AsyncDisposable {
  readonly log: () => string;
}

/** An HTTPS server of a pod, with a certificate that nobody knows. */
async function ownTls(mesh: Mesh, place: string, port: number): Promise<OwnTls> {
  const directory = await Deno.makeTempDir({ prefix: "weft-node-test-" });
  const script = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 " +
    "-subj /CN=own -keyout $1/key -out $1/cert 2>/dev/null && " +
    "exec openssl s_server -accept $2 -key $1/key -cert $1/cert -www";
  const child = await mesh.bed.spawn(place, ["sh", "-c", script, "sh", directory, String(port)], {
    stdout: "piped",
    stderr: "null",
    stdin: "null",
  });
  let log = "";
  const ready = Promise.withResolvers<void>();
  const following = (async () => {
    for await (const text of child.stdout.pipeThrough(new TextDecoderStream() as Decoder)) {
      log += text;
      if (log.includes("ACCEPT")) ready.resolve();
    }
    ready.reject(new Error(`Cannot serve: ${log}`));
  })();
  ready.promise.catch(() => undefined);
  await ready.promise;
  return {
    log: () => log,
    [Symbol.asyncDispose]: async () => {
      child.kill("SIGKILL");
      await Promise.all([child.status, following]);
      await Deno.remove(directory, { recursive: true });
    },
  };
}

type Decoder = ReadableWritablePair<string, Uint8Array<ArrayBuffer>>;
