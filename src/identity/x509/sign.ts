/**
 * Writes and signs X.509 certificates: the only file that uses `@peculiar/x509`.
 *
 * In: what the certificate shall say, and a signer. Out: the certificate, read back by our own
 * parser. Invariant: every certificate carries subject and authority key identifiers, and its
 * critical extensions are those of RFC 5280. The library is imported on first use, for it takes a
 * quarter of a second to load and neither relay workers nor most commands ever sign.
 *
 * Name constraints are left out on purpose: OpenSSL compares a URI constraint with the host part
 * alone, here the trust domain, so it cannot keep a node issuer to its own pods (the issuer binding
 * of `verify.ts` does), and libraries that do not know URI constraints refuse the whole chain.
 *
 * @module
 */

import { ATTRIBUTE, type Certificate, parseCertificate } from "./certificate.ts";
import { PURPOSE } from "./extensions.ts";
import { encodePem } from "./pem.ts";

/** A certificate and the key with which it signs others. */
export interface Signer {
  readonly certificate: Certificate;
  readonly key: CryptoKey;
}

/** What a certificate shall say. */
export interface CertificateRequest {
  readonly publicKey: CryptoKey;
  readonly subject: SubjectFields;
  readonly usage: "root" | "intermediate" | "leaf";
  readonly uri: string;
  readonly dnsNames?: readonly string[];
  readonly addresses?: readonly string[];
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
}

/** The attributes of a subject, in this order. */
export interface SubjectFields {
  readonly organization: string;
  readonly commonName?: string;
  readonly serialNumber?: string;
}

/** ECDSA on P-256: every TLS library of the last ten years has it, and its signatures are cheap. */
export const KEY_ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;

/** Signs a certificate; with `"self"`, by its own key. */
export async function signCertificate(
  request: CertificateRequest,
  signer: Signer | { readonly self: CryptoKey },
): Promise<Certificate> {
  const x509 = await loadLibrary();
  const subject = new x509.Name(subjectAttributes(request.subject));
  const isSelf = "self" in signer;
  const ownKeyId = await x509.SubjectKeyIdentifierExtension.create(request.publicKey);
  const authorityKeyId = isSelf ? ownKeyId.keyId : signer.certificate.subjectKeyId;
  const signed = await x509.X509CertificateGenerator.create({
    serialNumber: randomSerial(),
    subject,
    issuer: isSelf ? subject : new x509.Name(new Uint8Array(signer.certificate.subject.der)),
    notBefore: new Date(wholeSecond(request.notBeforeMs)),
    notAfter: new Date(wholeSecond(request.notAfterMs)),
    publicKey: request.publicKey,
    signingKey: isSelf ? signer.self : signer.key,
    signingAlgorithm: KEY_ALGORITHM,
    extensions: [
      ...usageExtensions(x509, request.usage),
      new x509.SubjectAlternativeNameExtension([
        { type: "url", value: request.uri },
        ...(request.dnsNames ?? []).map((value) => ({ type: "dns" as const, value })),
        ...(request.addresses ?? []).map((value) => ({ type: "ip" as const, value })),
      ]),
      ownKeyId,
      ...(authorityKeyId === null ? [] : [
        new x509.AuthorityKeyIdentifierExtension(authorityKeyId),
      ]),
    ],
  });
  return parseCertificate(new Uint8Array(signed.rawData));
}

/** Makes a key pair whose private half can be written down once. */
export async function generateKeyPair(): Promise<CryptoKeyPair> {
  return await crypto.subtle.generateKey(KEY_ALGORITHM, true, ["sign", "verify"]);
}

/** The private key as PKCS #8 PEM. */
export async function exportKeyPem(key: CryptoKey): Promise<string> {
  return encodePem("PRIVATE KEY", new Uint8Array(await crypto.subtle.exportKey("pkcs8", key)));
}

type Library = typeof import("@peculiar/x509");

let library: Promise<Library> | undefined;

function loadLibrary(): Promise<Library> {
  // The library reads decorator metadata through a global that must exist before it.
  library ??= import("reflect-metadata").then(() => import("@peculiar/x509"));
  return library;
}

function usageExtensions(
  x509: Library,
  usage: CertificateRequest["usage"],
): InstanceType<Library["Extension"]>[] {
  const { keyCertSign, cRLSign, digitalSignature } = x509.KeyUsageFlags;
  if (usage === "leaf") {
    return [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([PURPOSE.serverAuth, PURPOSE.clientAuth]),
    ];
  }
  return [
    new x509.BasicConstraintsExtension(true, usage === "root" ? undefined : 0, true),
    new x509.KeyUsagesExtension(keyCertSign | cRLSign, true),
  ];
}

/** One RDN for each attribute; UTF8String but for serialNumber, which X.520 wants printable. */
function subjectAttributes(fields: SubjectFields): Record<string, NameValue[]>[] {
  const { organization, commonName, serialNumber } = fields;
  return [
    { [ATTRIBUTE.O]: [{ utf8String: organization }] },
    ...(commonName === undefined ? [] : [{ [ATTRIBUTE.CN]: [{ utf8String: commonName }] }]),
    ...(serialNumber === undefined
      ? []
      : [{ [ATTRIBUTE.serialNumber]: [{ printableString: serialNumber }] }]),
  ];
}

interface NameValue {
  readonly utf8String?: string;
  readonly printableString?: string;
}

/** 127 random bits: positive, not zero, and never the same twice. */
function randomSerial(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40;
  return bytes.toHex();
}

function wholeSecond(timeMs: number): number {
  return Math.floor(timeMs / 1000) * 1000;
}
