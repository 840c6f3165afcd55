/**
 * Checks one signature on one certificate with WebCrypto.
 *
 * In: a certificate and the one that is said to have signed it. Out: true or false; false also for
 * algorithms that are not in the table. It says nothing about names, dates or constraints. It
 * serves the authority, which must notice at start that its files do not belong together; peers are
 * validated by OpenSSL, in the handshake.
 *
 * @module
 */

import type { Certificate } from "./certificate.ts";
import { DerError, DerReader, TAG } from "./der.ts";

/** Whether the key of `issuer` signed `certificate`. */
export async function isSignedBy(certificate: Certificate, issuer: Certificate): Promise<boolean> {
  const ecdsaHash = ECDSA_HASH[certificate.signatureAlgorithm];
  const rsaHash = RSA_HASH[certificate.signatureAlgorithm];
  try {
    if (ecdsaHash !== undefined) return await verifyEcdsa(certificate, issuer, ecdsaHash);
    if (rsaHash !== undefined) return await verifyRsa(certificate, issuer, rsaHash);
    return false;
  } catch (error) {
    // A key of another kind than the signature names, or numbers that do not fit the curve.
    if (error instanceof DerError || error instanceof DOMException) return false;
    throw error;
  }
}

/** Whether a private key belongs to the public key of a certificate. */
export async function isKeyOf(key: CryptoKey, certificate: Certificate): Promise<boolean> {
  const probe = crypto.getRandomValues(new Uint8Array(32));
  const algorithm = { name: "ECDSA", hash: "SHA-256" };
  const curve = curveOf(certificate.publicKey);
  if (curve === null || curve.name !== (key.algorithm as EcKeyAlgorithm).namedCurve) return false;
  const publicKey = await importSpki(certificate, { name: "ECDSA", namedCurve: curve.name });
  const signature = await crypto.subtle.sign(algorithm, key, probe);
  return await crypto.subtle.verify(algorithm, publicKey, signature, probe);
}

const ECDSA_HASH: Readonly<Record<string, string>> = {
  "1.2.840.10045.4.3.2": "SHA-256",
  "1.2.840.10045.4.3.3": "SHA-384",
  "1.2.840.10045.4.3.4": "SHA-512",
};

/** Roots that a company brings along are often still RSA. */
const RSA_HASH: Readonly<Record<string, string>> = {
  "1.2.840.113549.1.1.11": "SHA-256",
  "1.2.840.113549.1.1.12": "SHA-384",
  "1.2.840.113549.1.1.13": "SHA-512",
};

const CURVES: Readonly<Record<string, { name: string; bytes: number }>> = {
  "1.2.840.10045.3.1.7": { name: "P-256", bytes: 32 },
  "1.3.132.0.34": { name: "P-384", bytes: 48 },
};

async function verifyEcdsa(
  certificate: Certificate,
  issuer: Certificate,
  hash: string,
): Promise<boolean> {
  const curve = curveOf(issuer.publicKey);
  if (curve === null) return false;
  const key = await importSpki(issuer, { name: "ECDSA", namedCurve: curve.name });
  const signature = fixedWidth(certificate.signature, curve.bytes);
  return await crypto.subtle.verify(
    { name: "ECDSA", hash },
    key,
    signature,
    new Uint8Array(certificate.signed),
  );
}

async function verifyRsa(
  certificate: Certificate,
  issuer: Certificate,
  hash: string,
): Promise<boolean> {
  const key = await importSpki(issuer, { name: "RSASSA-PKCS1-v1_5", hash });
  return await crypto.subtle.verify(
    "RSASSA-PKCS1-v1_5",
    key,
    new Uint8Array(certificate.signature),
    new Uint8Array(certificate.signed),
  );
}

function importSpki(
  certificate: Certificate,
  algorithm: EcKeyImportParams | RsaHashedImportParams,
): Promise<CryptoKey> {
  const spki = new Uint8Array(certificate.publicKey);
  return crypto.subtle.importKey("spki", spki, algorithm, false, ["verify"]);
}

/** The curve of an elliptic-curve public key, or null for another kind of key. */
function curveOf(publicKey: Uint8Array): { name: string; bytes: number } | null {
  const algorithm = new DerReader(publicKey).enter(TAG.sequence).enter(TAG.sequence);
  if (algorithm.readOid() !== "1.2.840.10045.2.1") return null;
  return CURVES[algorithm.readOid()] ?? null;
}

/** X.509 writes r and s as two INTEGERs; WebCrypto wants them side by side, each padded. */
function fixedWidth(signature: Uint8Array, bytes: number): Uint8Array<ArrayBuffer> {
  const pair = new DerReader(signature).enter(TAG.sequence);
  const raw = new Uint8Array(2 * bytes);
  for (const end of [bytes, 2 * bytes]) {
    const integer = pair.read(TAG.integer);
    const digits = integer[0] === 0 ? integer.subarray(1) : integer;
    if (digits.length > bytes) throw new DerError("A signature is too long for its curve");
    raw.set(digits, end - digits.length);
  }
  return raw;
}
