/**
 * The bindings to OpenSSL: contexts, sessions over memory, callbacks.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { TlsCallbacks } from "@/ffi/tls/callbacks.ts";
import { TLS_AGAIN, TLS_CLOSED, TlsConnection } from "@/ffi/tls/connection.ts";
import { TlsContext } from "@/ffi/tls/context.ts";
import { alertOf } from "@/ffi/tls/errors.ts";
import { TlsRing } from "@/ffi/tls/ring.ts";
import { TrustStore, X509Error } from "@/ffi/tls/trust.ts";
import { makeIssuer, makeRoot, makeSvid } from "../relay/certificates.ts";

const root = await makeRoot();
const issuer = await makeIssuer(root, "n1");
const svid = await makeSvid(issuer, "spiffe://cluster.local/ns/a/sa/b");
const expired = await makeSvid(issuer, "spiffe://cluster.local/ns/a/sa/b", {
  notBeforeMs: Date.now() - 7_200_000,
  notAfterMs: Date.now() - 3_600_000,
});
const stranger = await makeSvid(
  await makeIssuer(await makeRoot(), "n1"),
  "spiffe://cluster.local/ns/a/sa/b",
);

const ALERT = { handshakeFailure: 40, badCertificate: 42, expired: 45, unknownCa: 48 };

describe("TLS over one pair of buffers", () => {
  it("authenticates both sides, carries data and ends with close_notify", () => {
    using world = new World(svid, svid);
    const { client, server } = world.connect();
    assert.equal(client.protocol, "weft/1");
    assert.equal(server.protocol, "weft/1");
    assert.deepEqual(server.peerCertificate, world.judged[0]);
    client.write(new Uint8Array(40_000).fill(7), 40_000);
    world.carry();
    const data = new Uint8Array(20_000);
    const sizes: number[] = [];
    for (let n = server.read(data, data.length); n > 0; n = server.read(data, data.length)) {
      sizes.push(n);
    }
    assert.deepEqual(sizes, [16384, 16384, 40_000 - 32768]);
    client.shutdown();
    world.carry();
    assert.equal(server.read(data, data.length), TLS_CLOSED);
    assert.equal(client.read(data, data.length), TLS_AGAIN);
  });

  it("resumes a session and still knows the certificate", () => {
    using world = new World(svid, svid);
    const first = world.connect();
    assert.equal(first.client.resumed, false);
    const session = first.client.takeSession();
    assert.ok(session);
    const second = world.connect(session);
    assert.equal(second.client.resumed, true);
    assert.deepEqual(second.server.peerCertificate, first.server.peerCertificate);
    assert.equal(world.judged.length, 2); // nobody was asked again
  });

  it("goes without a protocol when none is common", () => {
    using world = new World(svid, svid, { offered: ["h2"] });
    assert.equal(world.connect().server.protocol, "");
  });

  it("sends the alert that belongs to each fault of a certificate", () => {
    const cases: [string, typeof svid, number, number][] = [
      ["another CA", stranger, -1, ALERT.unknownCa],
      ["expired", expired, -1, ALERT.expired],
      ["CERT_REJECTED", svid, X509Error.CERT_REJECTED, ALERT.badCertificate],
      ["INVALID_PURPOSE", svid, X509Error.INVALID_PURPOSE, 43],
      ["CERT_REVOKED", svid, X509Error.CERT_REVOKED, 44],
      ["MISMATCH", svid, X509Error.SUBJECT_ISSUER_MISMATCH, 46],
      ["APPLICATION", svid, X509Error.APPLICATION_VERIFICATION, ALERT.handshakeFailure],
    ];
    for (const [name, identity, verdict, alert] of cases) {
      using world = new World(svid, identity, { verdict });
      assert.equal(world.refusedWith(), alert, name);
    }
  });
});

describe("a TLS context that is disposed of", () => {
  it("makes no connection any more, and may be disposed of again", () => {
    using ring = new TlsRing(1 << 18);
    using roots = new TrustStore(root.pem);
    using callbacks = new TlsCallbacks({ protocols: ["weft/1"] });
    const context = new TlsContext(
      { ...svid, roots, sessionSeconds: 60, side: "server" },
      callbacks,
    );
    new TlsConnection(context, ring)[Symbol.dispose]();
    context[Symbol.dispose]();
    assert.throws(() => new TlsConnection(context, ring), /TLS context: it is disposed of/);
    context[Symbol.dispose]();
  });
});

/** A client and a server whose ciphertext passes through one ring. */
class World implements Disposable {
  readonly judged: Uint8Array[] = [];
  readonly ring = new TlsRing(1 << 18);
  readonly #roots = new TrustStore(root.pem);
  readonly #callbacks: TlsCallbacks;
  readonly #contexts: { client: TlsContext; server: TlsContext };
  readonly #verdict: number;

  constructor(
    server: typeof svid,
    client: typeof svid,
    { offered = ["weft/1"], verdict = -1 }: { offered?: string[]; verdict?: number } = {},
  ) {
    this.#callbacks = new TlsCallbacks({ protocols: ["weft/1", "http/1.1"] });
    this.#verdict = verdict;
    const common = { roots: this.#roots, sessionSeconds: 60 };
    this.#contexts = {
      client: new TlsContext(
        { ...common, ...client, side: "client", protocols: offered },
        this.#callbacks,
      ),
      server: new TlsContext({ ...common, ...server, side: "server" }, this.#callbacks),
    };
  }

  connect(
    session?: Parameters<typeof pairOf>[2],
  ): { client: TlsConnection; server: TlsConnection } {
    const pair = pairOf(this.#contexts, this.ring, session);
    this.#handshake(pair);
    return pair;
  }

  /** The alert that the client of a refused handshake gets. */
  refusedWith(): number | undefined {
    const pair = pairOf(this.#contexts, this.ring);
    this.#handshake(pair);
    const data = new Uint8Array(20_000);
    pair.client.read(data, data.length);
    return alertOf(pair.client.faults);
  }

  /** What one side has produced becomes the other's input. */
  carry(): void {
    this.ring.discardInput();
    const count = this.ring.produced();
    const bytes = new Uint8Array(count);
    this.ring.drain(bytes, count);
    this.ring.feed(bytes);
  }

  [Symbol.dispose](): void {
    this.#contexts.client[Symbol.dispose]();
    this.#contexts.server[Symbol.dispose]();
    this.#roots[Symbol.dispose]();
    this.ring[Symbol.dispose]();
  }

  #handshake({ client, server }: ReturnType<typeof pairOf>): void {
    const judge = (onServer: boolean) => ({
      judge: (der: Uint8Array, chainError: number) => {
        this.judged.push(der);
        return onServer && this.#verdict >= 0 ? this.#verdict : chainError;
      },
    });
    client.handshake(this.#callbacks, judge(false));
    for (let turn = 0; turn < 2; turn++) {
      this.carry();
      server.handshake(this.#callbacks, judge(true));
      this.carry();
      client.handshake(this.#callbacks, judge(false));
    }
    client.read(new Uint8Array(100), 100); // the ticket
  }
}

function pairOf(
  contexts: { client: TlsContext; server: TlsContext },
  ring: TlsRing,
  session?: ConstructorParameters<typeof TlsConnection>[2],
): { client: TlsConnection; server: TlsConnection } {
  return {
    client: new TlsConnection(contexts.client, ring, session),
    server: new TlsConnection(contexts.server, ring),
  };
}
