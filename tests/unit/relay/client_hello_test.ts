/**
 * Telling a relay's ClientHello from everything else that a first segment may hold.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { TlsCallbacks } from "@/ffi/tls/callbacks.ts";
import { TlsConnection } from "@/ffi/tls/connection.ts";
import { TlsContext } from "@/ffi/tls/context.ts";
import { TlsRing } from "@/ffi/tls/ring.ts";
import { TrustStore } from "@/ffi/tls/trust.ts";
import { guessClient } from "@/src/relay/path/client_hello.ts";
import { makeIssuer, makeRoot, makeSvid } from "./certificates.ts";

const root = await makeRoot();
const svid = await makeSvid(await makeIssuer(root, "n1"), "spiffe://cluster.local/ns/a/sa/b");

describe("guessing a client by its first bytes", () => {
  it("knows a relay by its ALPN, and not before all of its ClientHello is there", () => {
    const hello = realHello(["weft/1"]);
    for (let size = 0; size < hello.length; size++) {
      assert.equal(guessClient(hello.subarray(0, size)), "more", `${size} bytes`);
    }
    assert.equal(guessClient(hello), "relay");
    assert.equal(guessClient(realHello(["h2", "weft/1"])), "relay");
  });

  it("leaves other TLS alone", () => {
    assert.equal(guessClient(realHello(["h2", "http/1.1"])), "other");
    assert.equal(guessClient(realHello([])), "other");
    assert.equal(guessClient(realHello(["weft/10"])), "other");
  });

  it("decides at the first byte that is not TLS", () => {
    assert.equal(guessClient(new Uint8Array(0)), "more");
    assert.equal(guessClient(new TextEncoder().encode("G")), "other");
    assert.equal(guessClient(Uint8Array.of(22, 2)), "other");
    assert.equal(guessClient(Uint8Array.of(22, 3, 1, 0, 4, 1, 0, 0, 0)), "other");
  });

  it("never throws, and never takes back a decision", () => {
    const prefix = fc.constantFrom([], [22, 3, 1], [22, 3, 1, 0, 100, 1, 0, 0, 96, 3, 3]);
    fc.assert(fc.property(prefix, fc.uint8Array({ maxLength: 200 }), (start, rest) => {
      const bytes = Uint8Array.from([...start, ...rest]);
      let decided = "more";
      for (let size = 0; size <= bytes.length; size++) {
        const guess = guessClient(bytes.subarray(0, size));
        if (decided !== "more") assert.equal(guess, decided);
        decided = guess;
      }
    }));
  });
});

/** What OpenSSL sends first. */
function realHello(protocols: string[]): Uint8Array {
  using callbacks = new TlsCallbacks({ protocols: [] });
  using roots = new TrustStore(root.pem);
  using ring = new TlsRing(1 << 15);
  const options = { ...svid, side: "client", roots, protocols, sessionSeconds: 60 } as const;
  using context = new TlsContext(options, callbacks);
  using connection = new TlsConnection(context, ring);
  connection.handshake(callbacks, { judge: () => 0 });
  const hello = new Uint8Array(ring.produced());
  ring.drain(hello, hello.length);
  return hello;
}
