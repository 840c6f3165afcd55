/**
 * What a judge remembers of certificates, and what not.
 *
 * @module
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { X509Error } from "@/ffi/tls/trust.ts";
import { CERTIFICATES_KEPT_MAX } from "@/src/limits.ts";
import { parseAddress } from "@/src/model/address.ts";
import { PeerJudge } from "@/src/relay/tls/judge.ts";
import { World } from "@/src/relay/world.ts";
import { makeIssuer, makeRoot, makeSvid } from "./certificates.ts";

const ADDRESS = "10.0.0.1";

const WORLD = new World({
  revision: 1,
  trustDomain: "cluster.local",
  bundlePem: "",
  pods: [],
  peers: [{
    address: ADDRESS,
    kind: "pod",
    namespace: "a",
    serviceAccount: "x",
    node: "n1",
    source: "mesh",
    mode: "strict",
    where: "remote",
    ports: [],
  }],
  cidrs: [],
});

describe("the judge of certificates", () => {
  it("remembers those that were good, and lets strangers drive none of them out", async () => {
    const root = await makeRoot();
    const identity = await makeSvid(
      await makeIssuer(root, "n1"),
      "spiffe://cluster.local/ns/a/sa/x",
    );
    const leaf = derOf(identity.chainPem);
    const judge = new PeerJudge(() => WORLD, () => WORLD.place(parseAddress(ADDRESS) ?? leaf));

    assert.equal(judge.judge(leaf, X509Error.OK), X509Error.OK);
    const first = judge.svid;
    assert.notEqual(first, null);
    for (let i = 0; i <= CERTIFICATES_KEPT_MAX; i++) {
      const strange = leaf.slice(); // another signature below the same words
      new DataView(strange.buffer).setUint16(strange.length - 2, i);
      judge.judge(strange, X509Error.UNABLE_TO_GET_ISSUER_CERT_LOCALLY);
      assert.equal(judge.reason, "certificate-untrusted");
    }
    assert.equal(judge.judge(leaf, X509Error.OK), X509Error.OK);
    assert.equal(judge.svid, first, "it was not read again");
  });

  it("does not trust what it remembers: each chain is judged anew", async () => {
    const root = await makeRoot();
    const identity = await makeSvid(
      await makeIssuer(root, "n1"),
      "spiffe://cluster.local/ns/a/sa/x",
    );
    const leaf = derOf(identity.chainPem);
    const judge = new PeerJudge(() => WORLD, () => WORLD.place(parseAddress(ADDRESS) ?? leaf));
    assert.equal(judge.judge(leaf, X509Error.OK), X509Error.OK);
    assert.notEqual(judge.judge(leaf, X509Error.CERT_HAS_EXPIRED), X509Error.OK);
    assert.equal(judge.svid, null);
    assert.equal(judge.reason, "certificate-expired");
  });
});

function derOf(chainPem: string): Uint8Array<ArrayBuffer> {
  const base64 = chainPem.split("-----END CERTIFICATE-----")[0]?.split("-----")[2] ?? "";
  return Uint8Array.fromBase64(base64);
}
