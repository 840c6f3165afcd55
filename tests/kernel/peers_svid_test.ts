/**
 * The rules of X509-SVID, each broken in turn by a certificate made for it and shown in a real
 * handshake: by a client to the server's relay, and by a server to the client's.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { Socket } from "node:net";
import { after, before, beforeEach, describe, it } from "node:test";
import type { Signer } from "@/src/identity/x509/sign.ts";
import type { TestIdentity } from "@/tests/unit/relay/certificates.ts";
import {
  type Changes,
  nodeIssuerName,
  oddIssuer,
  oddLeaf,
  PURPOSES,
  uri,
  x509,
} from "./peers_certificates.ts";
import { CLIENT_ID, endOf, SERVER_ID, soon, Stage } from "./peers_stage.ts";
import { TlsPeer } from "./peers_tls.ts";

const { digitalSignature, keyCertSign, cRLSign, keyEncipherment } = x509.KeyUsageFlags;
const MINUTE_MS = 60_000;

/** What the relay must say to it. */
interface Answer {
  readonly reason: string;
  readonly alert: number;
  readonly detail: RegExp;
}

/** Makes the same fault for a pod on each side: its ID and the issuers that may sign for it. */
type Make = (
  id: string,
  issuers: { readonly own: Signer; readonly root: Signer; readonly node: string },
) => Promise<TestIdentity>;

const leaf = (changes: (id: string) => Changes): Make => (id, { own }) =>
  oddLeaf([own], id, changes(id));

const named = (change: (id: string) => string): Make =>
  leaf((id) => ({ names: [uri(change(id))] }));

const issuer = (changes: Changes): Make => async (id, { root, node }) =>
  oddLeaf([await oddIssuer(root, nodeIssuerName(node), changes)], id);

const usage = (bits: number, critical = true): Make =>
  leaf(() => ({ keyUsage: new x509.KeyUsagesExtension(bits, critical) }));

const purposes = (...oids: string[]): Make =>
  leaf(() => ({ extendedKeyUsage: new x509.ExtendedKeyUsageExtension(oids) }));

const NOT_CA = new x509.BasicConstraintsExtension(false, undefined, true);
const IS_CA = new x509.BasicConstraintsExtension(true, undefined, true);
const RSA_1024 = {
  name: "RSASSA-PKCS1-v1_5",
  modulusLength: 1024,
  publicExponent: Uint8Array.of(1, 0, 1),
  hash: "SHA-256",
};

const invalid = (detail: RegExp): Answer => ({ reason: "certificate-invalid", alert: 43, detail });
const untimely = (alert: number, detail: RegExp): Answer => ({
  reason: "certificate-expired",
  alert,
  detail,
});
const untrusted = (alert: number, detail: RegExp): Answer => ({
  reason: "certificate-untrusted",
  alert,
  detail,
});

/** By what is wrong with the certificate. */
const RULES: readonly [what: string, make: Make, answer: Answer][] = [
  ["two URIs", leaf((id) => ({ names: [uri(id), uri(`${id}2`)] })), invalid(/2 URIs/)],
  ["no URI", leaf(() => ({ names: [] })), invalid(/no URI/)],
  ["another scheme", named((id) => id.replace("spiffe:", "https:")), invalid(/scheme/)],
  ["no path", named(() => "spiffe://cluster.local"), invalid(/no path/)],
  ["a path that is the root", named(() => "spiffe://cluster.local/"), invalid(/empty/)],
  ["a trailing slash", named((id) => `${id}/`), invalid(/empty/)],
  ["an empty segment", named((id) => id.replace("/sa/", "//sa/")), invalid(/empty/)],
  ["a segment that climbs", named((id) => id.replace("/sa/", "/../sa/")), invalid(/"\.\."/)],
  ["a segment that stands still", named((id) => id.replace("/sa/", "/./sa/")), invalid(/"\."/)],
  ["a percent sign", named((id) => id.replace("/sa/", "/s%61/")), invalid(/\[a-zA-Z0-9/)],
  ["a query", named((id) => `${id}?a=b`), invalid(/\[a-zA-Z0-9/)],
  ["a fragment", named((id) => `${id}#a`), invalid(/\[a-zA-Z0-9/)],
  ["a port", named((id) => id.replace(".local/", ".local:1/")), invalid(/\[a-z0-9/)],
  ["user information", named((id) => id.replace("//", "//me@")), invalid(/\[a-z0-9/)],
  ["a trust domain in capitals", named((id) => id.replace("cluster", "CLUSTER")), invalid(/trust/)],
  ["an ID of 2,049 bytes", named((id) => `${id}/`.padEnd(2049, "a")), invalid(/2048/)],
  [
    "a trust domain of 256 bytes",
    named((id) => id.replace("cluster.local", "a".repeat(256))),
    invalid(/255/),
  ],
  ["CA=true", leaf(() => ({ basicConstraints: IS_CA })), invalid(/CA certificate/)],
  ["no key usage", leaf(() => ({ keyUsage: null })), invalid(/no key usage/)],
  ["a key usage that is not critical", usage(digitalSignature, false), invalid(/not critical/)],
  ["a key usage without digitalSignature", usage(keyEncipherment), invalid(/digitalSignature/)],
  ["keyCertSign", usage(digitalSignature | keyCertSign), invalid(/has keyCertSign/)],
  ["cRLSign", usage(digitalSignature | cRLSign), invalid(/has cRLSign/)],
  ["purposes without clientAuth", purposes(PURPOSES.server), invalid(/lacks clientAuth/)],
  ["purposes without serverAuth", purposes(PURPOSES.client), invalid(/lacks serverAuth/)],
  [
    "a critical extension that nobody knows",
    leaf(() => ({ more: [new x509.Extension("1.2.3.4", true, Uint8Array.of(5, 0))] })),
    invalid(/1\.2\.3\.4/),
  ],
  [
    "another trust domain",
    named((id) => id.replace("cluster.local", "other.example")),
    { reason: "wrong-trust-domain", alert: 42, detail: /trust domain is "other/ },
  ],
  [
    "an issuer whose SPIFFE ID has a path",
    issuer({ names: [uri("spiffe://cluster.local/ns/a/sa/x")] }),
    invalid(/its issuer: its SPIFFE ID has a path/),
  ],
  [
    "an issuer of another trust domain",
    issuer({ names: [uri("spiffe://other.example")] }),
    invalid(/its issuer: its trust domain is "other/),
  ],
  [
    "an issuer with two URIs",
    issuer({ names: [uri("spiffe://cluster.local"), uri("spiffe://cluster.local")] }),
    invalid(/its issuer: it has more than one URI/),
  ],
  ["an issuer without key usage", issuer({ keyUsage: null }), invalid(/its issuer: .*keyCertSign/)],
  [
    "an issuer that may not sign certificates",
    issuer({ keyUsage: new x509.KeyUsagesExtension(digitalSignature, true) }),
    untrusted(48, /invalid CA/),
  ],
  ["an issuer with CA=false", issuer({ basicConstraints: NOT_CA }), untrusted(48, /invalid CA/)],
  [
    "an end that is past",
    leaf(() => ({ notAfterMs: Date.now() - MINUTE_MS })),
    untimely(45, /has expired/),
  ],
  [
    "a beginning that is to come",
    leaf(() => ({ notBeforeMs: Date.now() + 10 * MINUTE_MS })),
    untimely(42, /not yet valid/),
  ],
  ["a key of RSA with 1,024 bits", leaf(() => ({ key: RSA_1024 })), untrusted(42, /too weak/)],
  ["a signature over SHA-1", leaf(() => ({ hash: "SHA-1" })), untrusted(42, /too weak/)],
];

describe("a certificate that breaks a rule", () => {
  let stage: Stage;
  before(async () => {
    stage = await Stage.open();
    await stage.assertGoodLives();
  });
  beforeEach(() => stage.hush());
  after(() => stage[Symbol.asyncDispose]());

  /** What this builder makes for both pods, with the fault that `make` puts in. */
  async function pairOf(make: Make): Promise<{ client: TestIdentity; server: TestIdentity }> {
    const { root, n1, n2 } = stage.rig.identities.issuers;
    return {
      client: await make(CLIENT_ID, { own: n1, root, node: "n1" }),
      server: await make(SERVER_ID, { own: n2, root, node: "n2" }),
    };
  }

  /** An application of the client pod says a secret; the server that gets its dial is ours. */
  async function dialRogue(identity: TestIdentity): Promise<{ app: Socket; rogue: TlsPeer }> {
    const { app, socket } = await stage.dialRogue();
    return { app, rogue: new TlsPeer(socket, { side: "server", identity, protocols: ["weft/1"] }) };
  }

  it("is not what the rest of the tests shows: without a fault both sides accept it", async () => {
    for (const make of [leaf(() => ({})), issuer({}), issuer({ names: [] })]) {
      // deno-lint-ignore no-await-in-loop -- a test does one thing after the other
      const { client, server } = await pairOf(make);
      using peer = stage.peer({ identity: client, protocols: [] });
      // deno-lint-ignore no-await-in-loop
      await soon(peer.handshake(), "handshake");
      peer.write("good");
      // deno-lint-ignore no-await-in-loop
      assert.equal(await soon(peer.received(4), "answer"), "good");
      // deno-lint-ignore no-await-in-loop
      const { app, rogue } = await dialRogue(server);
      // deno-lint-ignore no-await-in-loop
      assert.match(await soon(rogue.received(20), "stream"), /secret$/);
      app.destroy();
      rogue[Symbol.dispose]();
    }
  });

  for (const [what, make, { reason, alert, detail }] of RULES) {
    it(`is refused for ${what}, whoever shows it`, async () => {
      const { client, server } = await pairOf(make);
      using peer = stage.peer({ identity: client });
      peer.handshake().catch(() => {});
      const outcome = await soon(peer.outcome, "end of the client's connection");
      assert.equal(outcome.alert, alert, outcome.detail);
      await stage.objection(reason, { detail });
      assert.deepEqual(stage.strayBytes, []);

      const { app, rogue } = await dialRogue(server);
      const [seen, ended] = await Promise.all([
        soon(rogue.outcome, "end of the server's connection"),
        endOf(app),
      ]);
      assert.equal(seen.alert, alert, seen.detail);
      assert.equal(seen.text, "", "nothing of the application was sent");
      assert.equal(ended, "ECONNRESET");
      await stage.objectionToServer(reason, { detail });
      rogue[Symbol.dispose]();
    });
  }
});
