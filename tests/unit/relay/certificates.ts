/**
 * Real certificates for the tests of TLS and the relay: roots, node issuers and SVIDs, signed by
 * the product's own code.
 *
 * @module
 */

import { ORGANIZATION } from "@/src/identity/svid_rules.ts";
import { encodePem } from "@/src/identity/x509/pem.ts";
import {
  type CertificateRequest,
  exportKeyPem,
  generateKeyPair,
  signCertificate,
  type Signer,
} from "@/src/identity/x509/sign.ts";

const HOUR_MS = 3_600_000;

/** A chain and its key, as the relay takes them. */
export interface TestIdentity {
  readonly spiffeId: string;
  readonly chainPem: string;
  readonly keyPem: string;
  readonly notAfterMs: number;
}

/** A root of `trustDomain`. */
export async function makeRoot(trustDomain = "cluster.local"): Promise<Signer & { pem: string }> {
  const keys = await generateKeyPair();
  const certificate = await signCertificate({
    ...validity(),
    publicKey: keys.publicKey,
    subject: { organization: ORGANIZATION.root, commonName: trustDomain },
    usage: "root",
    uri: `spiffe://${trustDomain}`,
  }, { self: keys.privateKey });
  return { certificate, key: keys.privateKey, pem: encodePem("CERTIFICATE", certificate.der) };
}

/** An issuer below `root`: of the node `name`, or the external one. */
export async function makeIssuer(
  root: Signer,
  name: string,
  kind: "node" | "external" = "node",
  trustDomain = "cluster.local",
): Promise<Signer> {
  const keys = await generateKeyPair();
  const certificate = await signCertificate({
    ...validity(),
    publicKey: keys.publicKey,
    subject: { organization: ORGANIZATION[kind], commonName: name, serialNumber: `uid-${name}` },
    usage: "intermediate",
    uri: `spiffe://${trustDomain}`,
  }, root);
  return { certificate, key: keys.privateKey };
}

/** A leaf of `spiffeId` by `issuer`. */
export async function makeSvid(
  issuer: Signer,
  spiffeId: string,
  changes: Partial<CertificateRequest> = {},
): Promise<TestIdentity> {
  const keys = await generateKeyPair();
  const leaf = await signCertificate({
    ...validity(),
    publicKey: keys.publicKey,
    subject: { organization: ORGANIZATION.svid },
    usage: "leaf",
    uri: spiffeId,
    ...changes,
  }, issuer);
  const chain = [leaf, issuer.certificate].map(({ der }) => encodePem("CERTIFICATE", der));
  return {
    spiffeId,
    chainPem: chain.join(""),
    keyPem: await exportKeyPem(keys.privateKey),
    notAfterMs: leaf.notAfterMs,
  };
}

function validity(): Pick<CertificateRequest, "notBeforeMs" | "notAfterMs"> {
  const nowMs = Date.now();
  return { notBeforeMs: nowMs - HOUR_MS, notAfterMs: nowMs + HOUR_MS };
}
