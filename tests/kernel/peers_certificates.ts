/**
 * Certificates that break one rule each: built with `@peculiar/x509` directly, for the product's
 * own issuing code would refuse to.
 *
 * @module
 */

import "reflect-metadata";
import * as x509 from "@peculiar/x509";
import { parseCertificate } from "@/src/identity/x509/certificate.ts";
import { encodePem } from "@/src/identity/x509/pem.ts";
import { exportKeyPem, type Signer } from "@/src/identity/x509/sign.ts";
import type { TestIdentity } from "@/tests/unit/relay/certificates.ts";

export { x509 };

const HOUR_MS = 3_600_000;
const ECDSA = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;

/** What one test wants different from a right certificate; null leaves an extension out. */
export interface Changes {
  readonly names?: x509.JsonGeneralNames;
  readonly subject?: string;
  readonly basicConstraints?: x509.Extension | null;
  readonly keyUsage?: x509.Extension | null;
  readonly extendedKeyUsage?: x509.Extension | null;
  readonly more?: readonly x509.Extension[];
  readonly notBeforeMs?: number;
  readonly notAfterMs?: number;
  /** Of the holder's key. */
  readonly key?: RsaHashedKeyGenParams | EcKeyGenParams;
  /** Of the issuer's signature. */
  readonly hash?: "SHA-1" | "SHA-256";
}

/** A URI, as a name of a certificate. */
export function uri(value: string): { readonly type: "url"; readonly value: string } {
  return { type: "url", value };
}

/** A leaf of `spiffeId`, right but for the changes, with the chain up to its issuers. */
export async function oddLeaf(
  issuers: readonly [Signer, ...Signer[]],
  spiffeId: string,
  changes: Changes = {},
): Promise<TestIdentity> {
  const { digitalSignature } = x509.KeyUsageFlags;
  const { certificate, key } = await sign(issuers[0], {
    subject: "O=weft",
    names: [uri(spiffeId)],
    basicConstraints: new x509.BasicConstraintsExtension(false, undefined, true),
    keyUsage: new x509.KeyUsagesExtension(digitalSignature, true),
    extendedKeyUsage: new x509.ExtendedKeyUsageExtension(Object.values(PURPOSES)),
    ...changes,
  });
  const chain = [certificate, ...issuers.map((issuer) => issuer.certificate)];
  return {
    spiffeId,
    chainPem: chain.map(({ der }) => encodePem("CERTIFICATE", der)).join(""),
    keyPem: await exportKeyPem(key),
    notAfterMs: certificate.notAfterMs,
  };
}

/** A signing certificate below `parent`, right but for the changes. */
export function oddIssuer(
  parent: Signer,
  subject: string,
  changes: Changes = {},
): Promise<Signer> {
  const { keyCertSign, cRLSign } = x509.KeyUsageFlags;
  return sign(parent, {
    subject,
    names: [uri("spiffe://cluster.local")],
    basicConstraints: new x509.BasicConstraintsExtension(true, 0, true),
    keyUsage: new x509.KeyUsagesExtension(keyCertSign | cRLSign, true),
    ...changes,
  });
}

/** The name of a node's issuer, as weft writes it. */
export function nodeIssuerName(node: string): string {
  return `O=weft node issuer, CN=${node}, 2.5.4.5=uid-${node}`;
}

export const PURPOSES = { server: "1.3.6.1.5.5.7.3.1", client: "1.3.6.1.5.5.7.3.2" } as const;

async function sign(issuer: Signer, changes: Changes): Promise<Signer> {
  const keys = await makeKeys(changes.key ?? ECDSA);
  const or = (extension: x509.Extension | null | undefined) => extension ? [extension] : [];
  const { names = [] } = changes;
  const signed = await x509.X509CertificateGenerator.create({
    subject: changes.subject ?? "",
    issuer: new x509.Name(new Uint8Array(issuer.certificate.subject.der)),
    serialNumber: crypto.getRandomValues(new Uint8Array(8)).toHex().replace(/^./, "4"),
    notBefore: new Date(changes.notBeforeMs ?? Date.now() - HOUR_MS),
    notAfter: new Date(changes.notAfterMs ?? Date.now() + HOUR_MS),
    publicKey: keys.publicKey,
    signingKey: issuer.key,
    signingAlgorithm: { ...ECDSA, hash: changes.hash ?? "SHA-256" },
    extensions: [
      ...or(changes.basicConstraints),
      ...or(changes.keyUsage),
      ...or(changes.extendedKeyUsage),
      ...(names.length === 0 ? [] : [new x509.SubjectAlternativeNameExtension(names)]),
      ...(changes.more ?? []),
    ],
  });
  return { certificate: parseCertificate(new Uint8Array(signed.rawData)), key: keys.privateKey };
}

async function makeKeys(algorithm: RsaHashedKeyGenParams | EcKeyGenParams): Promise<CryptoKeyPair> {
  return await crypto.subtle.generateKey(algorithm, true, ["sign", "verify"]) as CryptoKeyPair;
}
