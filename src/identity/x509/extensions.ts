/**
 * The certificate extensions that weft reads.
 *
 * In: the SEQUENCE of extensions. Out: one flat record, with null for what is absent. Invariant: an
 * extension that is critical and not read here is listed in `unknownCritical`, so that a verifier
 * can refuse it, and none may appear twice (RFC 5280 4.2).
 *
 * @module
 */

import { contextTag, DerError, DerReader, TAG } from "./der.ts";

/** General names of one certificate, of all types together. */
export const ALTERNATIVE_NAMES_MAX = 512;

/** Extensions of one certificate. */
export const EXTENSIONS_MAX = 32;

/** What the extensions say. */
export interface ExtensionFields {
  readonly isCa: boolean;
  /** How many further intermediates may follow, or null for any number. */
  readonly pathLength: number | null;
  /** Null when the extension is absent, which RFC 5280 reads as "any". */
  readonly keyUsage: { readonly bits: readonly KeyUsageBit[]; readonly critical: boolean } | null;
  /** Object identifiers, or null when the extension is absent. */
  readonly extendedKeyUsage: readonly string[] | null;
  readonly uris: readonly string[];
  readonly dnsNames: readonly string[];
  readonly addresses: readonly string[];
  /** Names of other types: mail addresses, directory names and the like. */
  readonly otherNamesCount: number;
  /** Lower-case hex. */
  readonly subjectKeyId: string | null;
  readonly authorityKeyId: string | null;
  readonly unknownCritical: readonly string[];
}

const KEY_USAGE_BITS = [
  "digitalSignature",
  "nonRepudiation",
  "keyEncipherment",
  "dataEncipherment",
  "keyAgreement",
  "keyCertSign",
  "cRLSign",
  "encipherOnly",
  "decipherOnly",
] as const;

/** One thing that a key may be used for. */
export type KeyUsageBit = typeof KEY_USAGE_BITS[number];

/** The two purposes that an SVID has. */
export const PURPOSE = {
  serverAuth: "1.3.6.1.5.5.7.3.1",
  clientAuth: "1.3.6.1.5.5.7.3.2",
} as const;

/** A certificate without extensions. */
export const NO_EXTENSIONS: ExtensionFields = Object.freeze({
  isCa: false,
  pathLength: null,
  keyUsage: null,
  extendedKeyUsage: null,
  uris: [],
  dnsNames: [],
  addresses: [],
  otherNamesCount: 0,
  subjectKeyId: null,
  authorityKeyId: null,
  unknownCritical: [],
});

/** Reads them all. */
export function readExtensions(list: DerReader): ExtensionFields {
  let fields = NO_EXTENSIONS;
  const seen = new Set<string>();
  while (!list.isDone) {
    if (seen.size === EXTENSIONS_MAX) throw new DerError("There are too many extensions");
    const extension = list.enter(TAG.sequence);
    const oid = extension.readOid();
    if (seen.has(oid)) throw new DerError(`The extension ${oid} appears twice`);
    seen.add(oid);
    const critical = extension.peekTag() === TAG.boolean && extension.readBoolean();
    const value = extension.read(TAG.octetString);
    extension.expectDone("extension");
    fields = { ...fields, ...readExtension(oid, critical, value, fields) };
  }
  return fields;
}

function readExtension(
  oid: string,
  critical: boolean,
  value: Uint8Array,
  before: ExtensionFields,
): Partial<ExtensionFields> {
  switch (oid) {
    case "2.5.29.19":
      return readBasicConstraints(value);
    case "2.5.29.15":
      return { keyUsage: { bits: readKeyUsage(value), critical } };
    case "2.5.29.37":
      return { extendedKeyUsage: readOidList(value) };
    case "2.5.29.17":
      return readAlternativeNames(value);
    case "2.5.29.14":
      return { subjectKeyId: soleElement(value).read(TAG.octetString).toHex() };
    case "2.5.29.35":
      return readAuthorityKeyId(value);
    default:
      return critical ? { unknownCritical: [...before.unknownCritical, oid] } : {};
  }
}

function readBasicConstraints(value: Uint8Array): Partial<ExtensionFields> {
  const fields = soleElement(value).enter(TAG.sequence);
  const isCa = fields.peekTag() === TAG.boolean && fields.readBoolean();
  const pathLength = fields.isDone ? null : fields.readSmallInteger();
  fields.expectDone("basic constraints");
  return { isCa, pathLength };
}

function readKeyUsage(value: Uint8Array): readonly KeyUsageBit[] {
  // First octet: how many bits of the last one are unused; bit 0 is the highest of the first.
  const [unused, ...octets] = soleElement(value).read(TAG.bitString);
  if (unused === undefined || unused > 7 || octets.length > 2) {
    throw new DerError("The key usage is not a short bit string");
  }
  return KEY_USAGE_BITS.filter((_, bit) =>
    ((octets[Math.floor(bit / 8)] ?? 0) & (0x80 >> (bit % 8))) !== 0
  );
}

function readOidList(value: Uint8Array): readonly string[] {
  const list = soleElement(value).enter(TAG.sequence);
  const oids: string[] = [];
  while (!list.isDone) {
    if (oids.length === EXTENSIONS_MAX) throw new DerError("There are too many purposes");
    oids.push(list.readOid());
  }
  return oids;
}

function readAlternativeNames(value: Uint8Array): Partial<ExtensionFields> {
  const names = soleElement(value).enter(TAG.sequence);
  const uris: string[] = [];
  const dnsNames: string[] = [];
  const addresses: string[] = [];
  let otherNamesCount = 0;
  let count = 0;
  while (!names.isDone) {
    if (count++ === ALTERNATIVE_NAMES_MAX) throw new DerError("There are too many names");
    const { tag, contents } = names.readAny();
    if (tag === contextTag(6, "primitive")) uris.push(ascii(contents));
    else if (tag === contextTag(2, "primitive")) dnsNames.push(ascii(contents));
    else if (tag === contextTag(7, "primitive")) addresses.push(addressText(contents));
    else otherNamesCount++;
  }
  return { uris, dnsNames, addresses, otherNamesCount };
}

function readAuthorityKeyId(value: Uint8Array): Partial<ExtensionFields> {
  const fields = soleElement(value).enter(TAG.sequence);
  const keyId = fields.peekTag() === 0x80 ? fields.read(0x80).toHex() : null;
  return { authorityKeyId: keyId };
}

/** A reader of a value that must be one element and no more. */
function soleElement(value: Uint8Array): DerReader {
  const probe = new DerReader(value);
  probe.readAny();
  probe.expectDone("extension value");
  return new DerReader(value);
}

/** Printable ASCII only: a NUL or a control character inside a name is an attack, not a name. */
function ascii(contents: Uint8Array): string {
  if (!contents.every((byte) => byte > 0x20 && byte < 0x7f)) {
    throw new DerError("A name holds a character that is not printable ASCII");
  }
  return new TextDecoder().decode(contents);
}

function addressText(contents: Uint8Array): string {
  if (contents.length === 4) return contents.join(".");
  if (contents.length !== 16) throw new DerError("An address has neither 4 nor 16 bytes");
  const groups: string[] = [];
  for (let index = 0; index < 16; index += 2) {
    groups.push(((contents[index] ?? 0) * 256 + (contents[index + 1] ?? 0)).toString(16));
  }
  // The URL parser writes IPv6 in its canonical form (RFC 5952).
  return new URL(`http://[${groups.join(":")}]/`).hostname.slice(1, -1);
}
