/**
 * An X.509 certificate as plain values.
 *
 * In: DER, at most `CERTIFICATE_BYTES_MAX` of it. Out: a frozen record of the fields that SPIFFE,
 * issuer binding and a human reader need, or a `DerError`. Invariant: what two readers could
 * understand differently is refused, not interpreted: a repeated extension, bytes after the end, a
 * general name that is not ASCII. Nothing here decides whether the certificate is any good.
 *
 * @module
 */

import { DerError, DerReader, TAG } from "./der.ts";
import { type ExtensionFields, NO_EXTENSIONS, readExtensions } from "./extensions.ts";
import { encodePem } from "./pem.ts";

/** A leaf with a few Service names has about 1 KiB; RSA-4096 with a page of names has 8. */
export const CERTIFICATE_BYTES_MAX = 32 * 1024;

/** Attributes of one distinguished name. */
export const NAME_ATTRIBUTES_MAX = 32;

/** One certificate. */
export interface Certificate extends ExtensionFields {
  readonly der: Uint8Array;
  /** 3 for everything that has extensions. */
  readonly version: number;
  /** Lower-case hex without leading zero bytes. */
  readonly serial: string;
  readonly subject: DistinguishedName;
  readonly issuer: DistinguishedName;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  /** SubjectPublicKeyInfo, whole. */
  readonly publicKey: Uint8Array;
  /** What the signature covers, its algorithm, and the signature itself. */
  readonly signed: Uint8Array;
  readonly signatureAlgorithm: string;
  readonly signature: Uint8Array;
}

/** A distinguished name: its attributes in order, and its bytes for exact comparison. */
export interface DistinguishedName {
  readonly attributes: readonly NameAttribute[];
  readonly der: Uint8Array;
}

/** One attribute; `value` is null where its string type is not one that we read. */
export interface NameAttribute {
  readonly type: string;
  readonly value: string | null;
}

/** Attribute types by their usual short names. */
export const ATTRIBUTE = {
  CN: "2.5.4.3",
  serialNumber: "2.5.4.5",
  C: "2.5.4.6",
  O: "2.5.4.10",
  OU: "2.5.4.11",
} as const;

/** Reads one certificate; throws `DerError` on anything that is not exactly one. */
export function parseCertificate(der: Uint8Array): Certificate {
  if (der.length > CERTIFICATE_BYTES_MAX) {
    throw new DerError(`A certificate is larger than ${CERTIFICATE_BYTES_MAX} bytes`);
  }
  const file = new DerReader(der);
  const outer = file.enter(TAG.sequence);
  file.expectDone("certificate");
  const signed = outer.readWhole(TAG.sequence);
  const signatureAlgorithm = outer.enter(TAG.sequence).readOid();
  const signature = outer.readBitString();
  outer.expectDone("signature");
  return Object.freeze({ der, ...readSigned(signed), signed, signatureAlgorithm, signature });
}

/** Certificates as PEM, in order. */
export function encodeCertificates(certificates: readonly Certificate[]): string {
  return certificates.map(({ der }) => encodePem("CERTIFICATE", der)).join("");
}

/** The one value of an attribute, or null when it is absent, repeated or unreadable. */
export function soleAttribute(name: DistinguishedName, type: string): string | null {
  const found = name.attributes.filter((attribute) => attribute.type === type);
  return found.length === 1 ? found[0]?.value ?? null : null;
}

/** A distinguished name for people: `O=weft node issuer, CN=node-a`. */
export function formatName(name: DistinguishedName): string {
  const short = new Map<string, string>(
    Object.entries(ATTRIBUTE).map(([label, oid]) => [oid, label]),
  );
  return name.attributes
    .map(({ type, value }) => `${short.get(type) ?? type}=${value ?? "(unreadable)"}`)
    .join(", ");
}

type SignedFields = Omit<Certificate, "der" | "signed" | "signatureAlgorithm" | "signature">;

function readSigned(signed: Uint8Array): SignedFields {
  const body = new DerReader(signed).enter(TAG.sequence);
  const versionField = body.enterOptional(0xa0);
  const version = versionField === null ? 1 : versionField.readSmallInteger() + 1;
  const serial = readSerial(body.read(TAG.integer));
  body.read(TAG.sequence); // The inner signature algorithm; OpenSSL compares it with the outer.
  const issuer = readName(body.readWhole(TAG.sequence));
  const validity = body.enter(TAG.sequence);
  const notBeforeMs = readTime(validity);
  const notAfterMs = readTime(validity);
  const subject = readName(body.readWhole(TAG.sequence));
  const publicKey = body.readWhole(TAG.sequence);
  if (body.peekTag() === 0x81) body.read(0x81); // issuerUniqueID, of X.509 v2.
  if (body.peekTag() === 0x82) body.read(0x82);
  const wrapper = body.enterOptional(0xa3);
  const extensions = wrapper === null ? NO_EXTENSIONS : readExtensions(wrapper.enter(TAG.sequence));
  wrapper?.expectDone("extensions");
  body.expectDone("certificate body");
  return {
    version,
    serial,
    subject,
    issuer,
    notBeforeMs,
    notAfterMs,
    publicKey,
    ...extensions,
  };
}

function readSerial(contents: Uint8Array): string {
  if (contents.length < 1 || contents.length > 21) throw new DerError("A serial is too long");
  return contents.toHex().replace(/^(00)+(?=..)/, "");
}

function readName(der: Uint8Array): DistinguishedName {
  const sets = new DerReader(der).enter(TAG.sequence);
  const attributes: NameAttribute[] = [];
  while (!sets.isDone) {
    const set = sets.enter(TAG.set);
    while (!set.isDone) {
      if (attributes.length === NAME_ATTRIBUTES_MAX) throw new DerError("A name is too long");
      const pair = set.enter(TAG.sequence);
      const type = pair.readOid();
      attributes.push({ type, value: attributeText(pair.readAny()) });
      pair.expectDone("name attribute");
    }
  }
  return { attributes, der };
}

function attributeText(value: { tag: number; contents: Uint8Array }): string | null {
  const isAscii = value.tag === TAG.printableString || value.tag === TAG.ia5String;
  if (value.tag !== TAG.utf8String && !isAscii) return null;
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(value.contents);
  } catch {
    return null;
  }
}

/** UTCTime until 2049, GeneralizedTime from 2050, both with seconds and `Z` (RFC 5280 4.1.2.5). */
function readTime(validity: DerReader): number {
  const { tag, contents } = validity.readAny();
  const digits = new TextDecoder().decode(contents);
  const isShort = tag === TAG.utcTime && /^\d{12}Z$/.test(digits);
  const isLong = tag === TAG.generalizedTime && /^\d{14}Z$/.test(digits);
  if (!isShort && !isLong) throw new DerError("A time is neither UTCTime nor GeneralizedTime");
  const full = isLong ? digits : (digits < "5" ? "20" : "19") + digits;
  const [year, month, day, hour, minute, second] = [
    full.slice(0, 4),
    full.slice(4, 6),
    full.slice(6, 8),
    full.slice(8, 10),
    full.slice(10, 12),
    full.slice(12, 14),
  ];
  const timeMs = Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`);
  if (Number.isNaN(timeMs)) throw new DerError("A time is not on the calendar");
  return timeMs;
}
