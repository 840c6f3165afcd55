// deno-lint-ignore-file no-await-in-loop -- a test does one thing after the other
/**
 * What the relay refuses, each fault by a certificate or a peer made for it, with the TLS alert
 * and the reason that it leaves.
 *
 * @module
 */

import assert from "node:assert/strict";
import { once } from "node:events";
import { after, before, describe, it } from "node:test";
import * as tls from "node:tls";
import type { TestIdentity } from "@/tests/unit/relay/certificates.ts";
import { APP_PORT, readAll, Rig } from "./relay_rig.ts";

describe("a STRICT port, dialled without a relay", () => {
  let rig: Rig;
  let listener: Deno.TcpListener;
  let directory: string;
  let accepted = 0;
  before(async () => {
    rig = await Rig.open();
    listener = rig.server.listen(APP_PORT);
    directory = await Deno.makeTempDir({ prefix: "weft-relay-" });
    await Deno.writeTextFile(`${directory}/ca.pem`, rig.identities.rootPem);
    serve();
  });
  after(async () => {
    listener.close();
    await Deno.remove(directory, { recursive: true });
    await rig[Symbol.asyncDispose]();
  });

  /** Answers each connection with one line of HTTP, and counts it. */
  async function serve(): Promise<void> {
    for (;;) {
      try {
        const app = await listener.accept();
        accepted++;

        await app.read(new Uint8Array(4096));

        await app.write(new TextEncoder().encode("HTTP/1.0 200 OK\r\n\r\nhello\n"));
        app.close();
      } catch (error) {
        if (error instanceof Deno.errors.BadResource) return; // closed by the test
      }
    }
  }

  const inbound = () => rig.server.ports.get("inbound") ?? 0;

  /** What `openssl s_client` prints; `identity` null: it shows no certificate. */
  async function shake(identity: TestIdentity | null, ...more: string[]): Promise<string> {
    const files: string[] = [];
    if (identity !== null) {
      const [leaf, issuer] = identity.chainPem.split(/(?<=END CERTIFICATE-----\n)/);
      await Deno.writeTextFile(`${directory}/leaf.pem`, leaf ?? "");
      await Deno.writeTextFile(`${directory}/issuer.pem`, issuer ?? "");
      await Deno.writeTextFile(`${directory}/key.pem`, identity.keyPem);
      files.push("-cert", `${directory}/leaf.pem`, "-key", `${directory}/key.pem`);
      files.push("-cert_chain", `${directory}/issuer.pem`);
    }
    const script = `printf 'GET / HTTP/1.0\\r\\n\\r\\n' | timeout 5 openssl s_client -ign_eof ` +
      `-connect ${rig.server.address}:${inbound()} -CAfile ${directory}/ca.pem ` +
      [...files, ...more].join(" ");
    const { stdout, stderr } = await rig.client.command("sh", ["-c", script]).output();
    return new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
  }

  /** The client's address no longer belongs to a pod, or a node, or the mesh. */
  async function fromOutside(): Promise<() => Promise<void>> {
    const { peers, cidrs } = rig.snapshot;
    await rig.update({ peers: peers.filter(({ key }) => key !== "a/client"), cidrs: [] });
    return () => rig.update({ peers, cidrs });
  }

  it("refuses plaintext: no byte reaches the application, the row says so", async () => {
    const socket = rig.client.dial(rig.server.address, inbound());
    socket.on("error", () => {});
    socket.write("GET / HTTP/1.0\r\n\r\n");
    const event = await rig.server.event("not-tls");
    assert.equal(event.source, rig.client.address);
    assert.equal(event.targetPort, APP_PORT);
    assert.equal(rig.server.refusals.pop(), "not-tls");
    socket.destroy();
  });

  it("refuses plaintext that comes byte by byte, and what begins like a TLS record", async () => {
    // Who spoke no TLS is reset; who did can read the alert to its end.
    const cases = [
      ["GET / HTTP/1.0\r\n\r\n", /^(ECONNRESET|EPIPE)$/],
      ["\x16\x03\x01\x00\x10GET / HTTP/1.0\r\n\r\n", /^end$/],
    ] as const;
    for (const [text, fate] of cases) {
      const socket = rig.client.dial(rig.server.address, inbound());
      const ended = new Promise<string>((resolve) => {
        socket.once("end", () => resolve("end"));
        socket.once("error", (error) => resolve(String((error as { code?: string }).code)));
      });
      socket.on("error", () => {});
      for (const byte of text) {
        socket.write(byte, "latin1");
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
      await rig.server.event("not-tls");
      socket.resume();
      assert.match(await ended, fate);
      socket.destroy();
    }
    assert.equal(accepted, 0);
  });

  it("sends each cause its own alert, and reports it", async () => {
    const { foreign, expired, otherDomain, external, server } = rig.identities;
    const cases: [string, TestIdentity | null, RegExp, string][] = [
      ["none", null, /alert number 116/, "no-certificate"],
      ["another CA", foreign, /alert number 48/, "certificate-untrusted"],
      ["expired", expired, /alert number 45/, "certificate-expired"],
      ["another trust domain", otherDomain, /alert number 42/, "wrong-trust-domain"],
      ["an external one from a pod's address", external, /alert number 46/, "wrong-node"],
      ["another node's pod's", server, /alert number 46/, "wrong-node"],
    ];
    for (const [name, identity, alert, reason] of cases) {
      assert.match(await shake(identity), alert, name);
      assert.equal((await rig.server.event(reason)).verdict, "refuse", name);
      assert.equal(rig.server.refusals.pop(), reason, name);
    }
    assert.equal(accepted, 0);
  });

  it("admits a pod's own certificate from the pod's address, and gives plain bytes", async () => {
    const text = await shake(rig.identities.client, "-alpn", "h2,http/1.1");
    assert.match(text, /hello/);
    assert.match(text, /TLSv1\.3/);
    assert.match(text, /ALPN protocol: http\/1\.1/);
    assert.equal(rig.server.marked.length > 0, true);
    assert.equal(accepted, 1);
  });

  it("admits an external certificate from outside alone, and a pod's from there not", async () => {
    const inside = await fromOutside();
    assert.match(await shake(rig.identities.external), /hello/);
    assert.match(await shake(rig.identities.client), /alert number 46/);
    await rig.server.event("wrong-node");
    await inside();
  });

  it("closes on frames that break the rules", async () => {
    const frames = [
      "\\x09\\x00\\x00\\x00\\x00",
      "\\x04\\xff\\xff\\xff\\xff",
      "\\x01\\x00\\x00\\x00\\x01x",
    ];
    const open = "\\x01\\x00\\x00\\x00\\x0a\\x00\\x50\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x01";
    for (const bytes of [...frames, open + open]) {
      const script = `(printf '${bytes}'; sleep 1) | timeout 5 openssl s_client -quiet ` +
        `-alpn weft/1 -connect ${rig.server.address}:${inbound()} -CAfile ${directory}/ca.pem ` +
        `-cert ${directory}/leaf.pem -key ${directory}/key.pem -cert_chain ${directory}/issuer.pem`;
      await shake(rig.identities.client); // writes the files
      await rig.client.command("bash", ["-c", script]).output();
      assert.equal((await rig.server.event("malformed")).verdict, "cut");
    }
  });

  it("gives up on a client that says nothing", { timeout: 15_000 }, async () => {
    const socket = rig.client.dial(rig.server.address, inbound());
    socket.on("error", () => {});
    await rig.server.event("handshake-timeout");
    socket.destroy();
  });
});

describe("a PERMISSIVE port", () => {
  let rig: Rig;
  let listener: Deno.TcpListener;
  before(async () => {
    rig = await Rig.open();
    listener = rig.server.listen(APP_PORT);
    await rig.update({ peers: rig.peersWith("b/server", { mode: "permissive" }) });
  });
  after(async () => {
    listener.close();
    await rig[Symbol.asyncDispose]();
  });

  const dial = () => rig.client.dial(rig.server.address, rig.server.ports.get("inbound") ?? 0);

  it("passes plaintext on, and counts what comes from the mesh", async () => {
    const socket = dial();
    socket.write("hel");
    const app = await listener.accept();
    socket.write("lo");
    const buffer = new Uint8Array(10);
    let text = "";
    while (text.length < 5) {
      text += new TextDecoder().decode(buffer.subarray(0, await app.read(buffer) ?? 0));
    }
    assert.equal(text, "hello");
    await app.write(new TextEncoder().encode("bye"));
    app.close();
    assert.equal(await readAll(socket), "bye");
    socket.end();
    assert.equal(rig.server.count("plaintext_from_mesh"), 1);
  });

  it("lets a server speak first to who is not of the mesh, without delay", async () => {
    const { peers, cidrs } = rig.snapshot;
    await rig.update({ peers: peers.filter(({ key }) => key !== "a/client"), cidrs: [] });
    const socket = dial();
    const app = await listener.accept();
    const startMs = performance.now();
    await app.write(new TextEncoder().encode("220"));
    const [greeting] = await once(socket, "data");
    assert.equal(String(greeting), "220");
    assert.ok(performance.now() - startMs < 1000);
    socket.destroy();
    app.close();
    await rig.update({ peers, cidrs });
  });

  it("passes TLS that is not a relay's on, untouched and from its first byte", async () => {
    const hello = Uint8Array.from([0x16, 3, 1, 0, 4, 1, 0, 0, 0]);
    const socket = dial();
    socket.write(hello);
    const app = await listener.accept();
    const buffer = new Uint8Array(100);
    const count = await app.read(buffer);
    assert.deepEqual(buffer.subarray(0, count ?? 0), hello);
    socket.destroy();
    app.close();
  });

  it("authenticates a relay", async () => {
    const client = rig.client.dialOut();
    client.write("ping");
    const app = await listener.accept();
    const buffer = new Uint8Array(10);
    assert.equal(await app.read(buffer), 4);
    await app.write(new TextEncoder().encode("pong"));
    app.close();
    assert.equal(await readAll(client), "pong");
    client.end();
    assert.equal(rig.server.count("handshakes"), 1);
  });

  it("resets a client when nobody listens", async () => {
    listener.close();
    const socket = dial();
    socket.write("x");
    const [error] = await once(socket, "error");
    assert.equal(error.code, "ECONNRESET");
    listener = rig.server.listen(APP_PORT);
  });

  it("takes a relay's handshake also after its pod's certificate or policy has changed", async () => {
    const socket = dial();
    const app = await listener.accept(); // it has said nothing yet
    await rig.update({ peers: rig.peersWith("b/server", { mode: "strict" }) });
    const { chainPem, keyPem } = rig.identities.client;
    const secured = tls.connect({
      socket,
      cert: chainPem,
      key: keyPem,
      ALPNProtocols: ["weft/1"],
      rejectUnauthorized: false,
    });
    await Promise.race([
      once(secured, "secureConnect"),
      rig.server.message(({ type }) => type === "fault").then(() => assert.fail("a fault of ours")),
    ]);
    assert.equal(secured.alpnProtocol, "weft/1");
    secured.destroy();
    app.close();
    await rig.update({ peers: rig.peersWith("b/server", { mode: "permissive" }) });
  });
});
