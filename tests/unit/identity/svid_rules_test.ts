/**
 * One certificate for each rule of SEMANTICS C.10, and bytes that are no certificate.
 *
 * @module
 */
import { describe, it } from "node:test";
import assert from "node:assert/strict";
import { CertificateError } from "@/src/errors.ts";
import { checkSpiffe, parseSvid } from "@/src/identity/mod.ts";
import { type LeafChanges, leafDer, uri, WEB_ID, x509 } from "./support.ts";

const { digitalSignature, keyCertSign, cRLSign, keyEncipherment } = x509.KeyUsageFlags;
const SERVER = "1.3.6.1.5.5.7.3.1";
const CLIENT = "1.3.6.1.5.5.7.3.2";

describe("parseSvid()", () => {
  it("reads whom a right SVID names and who issued it", async () => {
    const svid = parseSvid(await leafDer());
    assert.deepEqual(svid, {
      spiffeId: WEB_ID,
      trustDomain: "cluster.local",
      path: ["ns", "shop", "sa", "web"],
      principal: { kind: "workload", namespace: "shop", serviceAccount: "web" },
      issuerKind: "node",
      issuerName: "node-a",
      issuerUid: "node-a",
      serial: "0102",
      notBeforeMs: Date.parse("2030-01-01T00:00:00Z"),
      notAfterMs: Date.parse("2030-01-01T01:00:00Z"),
      isCa: false,
      faults: [],
    });
  });

  const issuers: readonly [name: string, kind: string, issuer: unknown][] = [
    ["O=weft external issuer", "external", null],
    ["O=weft node issuer, CN=node-b, 2.5.4.5=uid-1", "node", "node-b"],
    ["O=weft node issuer, CN=node-b", "other", null],
    ["O=weft node issuer, CN=a, CN=node-b, 2.5.4.5=u", "other", null],
    ["O=weft external issuer, O=weft node issuer, CN=a, 2.5.4.5=u", "other", null],
    ["O=weft root, CN=cluster.local", "other", null],
    ["CN=weft node issuer", "other", null],
  ];
  for (const [issuer, kind, name] of issuers) {
    it(`takes the issuer "${issuer}" for ${kind}`, async () => {
      const svid = parseSvid(await leafDer({ issuer }));
      assert.equal(svid.issuerKind, kind);
      assert.equal(svid.issuerName, name);
    });
  }
});

describe("the rules of X509-SVID (SEMANTICS C.10)", () => {
  const kept: readonly [what: string, changes: LeafChanges][] = [
    ["other names beside the URI", {
      names: [uri(WEB_ID), { type: "dns", value: "web.shop" }, { type: "ip", value: "10.0.0.1" }],
    }],
    ["no extended key usage", { extendedKeyUsage: null }],
    ["a third purpose", {
      extendedKeyUsage: new x509.ExtendedKeyUsageExtension([SERVER, CLIENT, "1.2.3.4"]),
    }],
    ["no basic constraints", { basicConstraints: null }],
    ["keyEncipherment too", {
      keyUsage: new x509.KeyUsagesExtension(digitalSignature | keyEncipherment, true),
    }],
    ["an unknown extension that is not critical", {
      more: [new x509.Extension("1.2.3.4", false, new Uint8Array([5, 0]))],
    }],
  ];
  for (const [what, changes] of kept) {
    it(`allow ${what}`, async () => {
      const svid = parseSvid(await leafDer(changes));
      assert.deepEqual(svid.faults, []);
      assert.equal(checkSpiffe(svid, "cluster.local"), null);
    });
  }

  const broken: readonly [what: string, changes: LeafChanges, fault: RegExp][] = [
    ["no URI", { names: [{ type: "dns", value: "web" }] }, /no URI/],
    ["no names at all", { names: [] }, /no URI/],
    ["two URIs", { names: [uri(WEB_ID), uri("spiffe://cluster.local/x")] }, /2 URIs/],
    ["the same URI twice", { names: [uri(WEB_ID), uri(WEB_ID)] }, /2 URIs/],
    ["a URI of another scheme", { names: [uri("https://cluster.local/x")] }, /scheme/],
    ["a SPIFFE ID without a path", { names: [uri("spiffe://cluster.local")] }, /no path/],
    ["a path that is the root alone", { names: [uri("spiffe://cluster.local/")] }, /empty/],
    ["a trailing slash", { names: [uri(WEB_ID + "/")] }, /empty/],
    ["a segment that climbs", { names: [uri("spiffe://cluster.local/a/../b")] }, /"\.\."/],
    ["a port", { names: [uri("spiffe://cluster.local:1/a")] }, /character/],
    ["user information", { names: [uri("spiffe://me@cluster.local/a")] }, /character/],
    ["a query", { names: [uri(WEB_ID + "?a=b")] }, /character/],
    ["a fragment", { names: [uri(WEB_ID + "#a")] }, /character/],
    ["percent-encoding", { names: [uri("spiffe://cluster.local/%61")] }, /character/],
    ["an ID of 2,049 bytes", {
      names: [uri("spiffe://cluster.local/" + "a".repeat(2049 - 23))],
    }, /2048/],
    ["a trust domain of 256 bytes", { names: [uri(`spiffe://${"a".repeat(256)}/x`)] }, /255/],
    ["CA=true", {
      basicConstraints: new x509.BasicConstraintsExtension(true, undefined, true),
    }, /CA certificate/],
    ["no key usage", { keyUsage: null }, /no key usage/],
    ["a key usage that is not critical", {
      keyUsage: new x509.KeyUsagesExtension(digitalSignature, false),
    }, /not critical/],
    ["no digitalSignature", {
      keyUsage: new x509.KeyUsagesExtension(keyEncipherment, true),
    }, /lacks digitalSignature/],
    ["keyCertSign", {
      keyUsage: new x509.KeyUsagesExtension(digitalSignature | keyCertSign, true),
    }, /has keyCertSign/],
    ["cRLSign", {
      keyUsage: new x509.KeyUsagesExtension(digitalSignature | cRLSign, true),
    }, /has cRLSign/],
    ["serverAuth alone", {
      extendedKeyUsage: new x509.ExtendedKeyUsageExtension([SERVER]),
    }, /lacks clientAuth/],
    ["clientAuth alone", {
      extendedKeyUsage: new x509.ExtendedKeyUsageExtension([CLIENT]),
    }, /lacks serverAuth/],
    ["a critical extension that nobody knows", {
      more: [new x509.Extension("1.2.3.4", true, new Uint8Array([5, 0]))],
    }, /1\.2\.3\.4/],
  ];
  for (const [what, changes, fault] of broken) {
    it(`forbid ${what}`, async () => {
      const svid = parseSvid(await leafDer(changes));
      assert.equal(svid.faults.length, 1, svid.faults.join("; "));
      assert.match(svid.faults[0] ?? "", fault);
      assert.notEqual(checkSpiffe(svid, "cluster.local"), null);
    });
  }

  it("name another trust domain before anything else", async () => {
    const svid = parseSvid(await leafDer({ names: [uri("spiffe://other/ns/a/sa/b")] }));
    assert.equal(checkSpiffe(svid, "cluster.local"), "wrong-trust-domain");
    assert.equal(checkSpiffe(svid, "other"), null);
  });
});

describe("parseSvid() of hostile bytes", () => {
  const isCertificateError = (error: unknown) => error instanceof CertificateError;

  it("refuses every prefix of a certificate", async () => {
    const der = await leafDer();
    for (let length = 0; length < der.length; length++) {
      assert.throws(() => parseSvid(der.subarray(0, length)), isCertificateError);
    }
  });

  it("refuses bytes after the end", async () => {
    const der = await leafDer();
    assert.throws(() => parseSvid(new Uint8Array([...der, 0])), isCertificateError);
  });

  it("answers with a result or a CertificateError for every flipped byte", async () => {
    const der = await leafDer();
    for (let index = 0; index < der.length; index++) {
      for (const mask of [0x01, 0x80, 0xff]) {
        const copy = der.slice();
        copy[index] = (copy[index] ?? 0) ^ mask;
        try {
          parseSvid(copy);
        } catch (error) {
          assert.ok(isCertificateError(error), `byte ${index}: ${error}`);
        }
      }
    }
  });

  it("refuses thousands of names", async () => {
    const names = Array.from({ length: 5000 }, (_, index) => uri(`spiffe://td/${index}`));
    const der = await leafDer({ names });
    assert.throws(() => parseSvid(der), isCertificateError);
  });

  it("refuses more names than a certificate may have, though it is small", async () => {
    const der = await leafDer({
      names: Array.from({ length: 600 }, () => ({ type: "dns" as const, value: "a" })),
    });
    assert.throws(
      () => parseSvid(der),
      (error: Error) => /too many names/.test(String(error.cause)),
    );
  });

  it("refuses a megabyte of nested sequences without recursing", () => {
    const der = new Uint8Array(1 << 20).fill(0x30);
    assert.throws(() => parseSvid(der), isCertificateError);
  });

  it("refuses an extension that appears twice", async () => {
    const twice = new x509.KeyUsagesExtension(digitalSignature, true);
    const der = await leafDer({ more: [twice] });
    assert.throws(() => parseSvid(der), isCertificateError);
  });

  it("refuses a NUL within a name, at which C programs would stop reading", async () => {
    const der = await leafDer({ names: [uri("spiffe://cluster.local/ns/shop/sa/web\0x")] });
    assert.throws(() => parseSvid(der), isCertificateError);
  });
});
