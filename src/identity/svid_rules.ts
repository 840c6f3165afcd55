/**
 * What makes a leaf certificate an X509-SVID, and who issued it.
 *
 * In: DER of a leaf, hostile or not. Out: whom it names, who issued it, and every rule of SPIFFE
 * (SEMANTICS C.10) that it breaks, in words. Invariant: one record answers the relay, which wants
 * "none broken", and `weft cert inspect`, which wants them listed; so the two cannot disagree.
 *
 * The issuer's kind is read from the leaf's issuer name. That is sound only after OpenSSL has built
 * the chain: it then equals the subject that the root signed. OpenSSL compares names without regard
 * to case and space, hence node names are DNS names in lower case, checked where they are issued.
 *
 * @module
 */

import { CertificateError } from "../errors.ts";
import { parseSpiffeId, type Principal, principalOf, type SpiffeId } from "../model/mod.ts";
import {
  ATTRIBUTE,
  type Certificate,
  type DistinguishedName,
  parseCertificate,
  soleAttribute,
} from "./x509/certificate.ts";
import { DerError } from "./x509/der.ts";
import { PURPOSE } from "./x509/extensions.ts";

/** Organisation in the subject of each kind of signing certificate. */
export const ORGANIZATION = {
  root: "weft root",
  node: "weft node issuer",
  external: "weft external issuer",
  svid: "weft",
} as const;

/** Who signed an SVID, as its issuer name says. */
export type IssuerKind = "node" | "external" | "other";

/** A leaf certificate, judged by the rules of SPIFFE. */
export interface ParsedSvid {
  /** The one URI in it, or null when there is not exactly one well-formed SPIFFE ID. */
  readonly spiffeId: string | null;
  readonly trustDomain: string | null;
  readonly path: readonly string[];
  readonly principal: Principal | null;
  readonly issuerKind: IssuerKind;
  /** The node's name, where a node issued it. */
  readonly issuerName: string | null;
  /** The Node's UID, or its name again where the issuer was made without one. */
  readonly issuerUid: string | null;
  readonly serial: string;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  readonly isCa: boolean;
  /** Every rule that it breaks; empty for an SVID. */
  readonly faults: readonly string[];
}

/**
 * Reads a leaf. Call it once for each distinct leaf: it costs some ten microseconds.
 *
 * @throws {CertificateError} when the bytes are not a certificate
 */
export function parseSvid(der: Uint8Array): ParsedSvid {
  try {
    return judgeLeaf(parseCertificate(der));
  } catch (error) {
    if (!(error instanceof DerError)) throw error;
    throw new CertificateError("Cannot read the peer's certificate", { subject: "peer" }, {
      cause: error,
    });
  }
}

/** Judges a certificate that was read already. */
export function judgeLeaf(certificate: Certificate): ParsedSvid {
  const identity = soleSpiffeId(certificate);
  const issuer = readIssuer(certificate.issuer);
  return Object.freeze({
    spiffeId: identity.id?.text ?? null,
    trustDomain: identity.id?.trustDomain ?? null,
    path: identity.id?.segments ?? [],
    principal: identity.id === null ? null : principalOf(identity.id),
    ...issuer,
    serial: certificate.serial,
    notBeforeMs: certificate.notBeforeMs,
    notAfterMs: certificate.notAfterMs,
    isCa: certificate.isCa,
    faults: [...identity.faults, ...leafFaults(certificate)],
  });
}

/** The rules that a signing certificate breaks; `trustDomain` is what it must sign for. */
export function signingFaults(certificate: Certificate, trustDomain: string | null): string[] {
  const faults: string[] = [];
  if (!certificate.isCa) faults.push("it is not a CA certificate");
  if (!(certificate.keyUsage?.bits.includes("keyCertSign") ?? false)) {
    faults.push("its key usage lacks keyCertSign");
  }
  if (certificate.uris.length > 1) faults.push("it has more than one URI");
  for (const uri of certificate.uris.slice(0, 1)) {
    const result = parseSpiffeId(uri);
    if (!result.ok) faults.push(`its URI is no SPIFFE ID: ${result.fault}`);
    else if (result.id.segments.length > 0) faults.push("its SPIFFE ID has a path");
    else if (trustDomain !== null && result.id.trustDomain !== trustDomain) {
      faults.push(`its trust domain is "${result.id.trustDomain}": wanted "${trustDomain}"`);
    }
  }
  return faults;
}

/** The same of bytes from a peer; what is no certificate breaks the first rule of all. */
export function parseSigningFaults(der: Uint8Array, trustDomain: string): string[] {
  try {
    return signingFaults(parseCertificate(der), trustDomain);
  } catch (error) {
    if (error instanceof DerError) return ["it cannot be read"];
    throw error;
  }
}

/** The trust domain that a signing certificate names, or null. */
export function signingTrustDomain(certificate: Certificate): string | null {
  const result = parseSpiffeId(certificate.uris[0] ?? "");
  return certificate.uris.length === 1 && result.ok ? result.id.trustDomain : null;
}

/** The kind of issuer that a distinguished name belongs to. */
export function readIssuer(
  name: DistinguishedName,
): Pick<ParsedSvid, "issuerKind" | "issuerName" | "issuerUid"> {
  const organization = soleAttribute(name, ATTRIBUTE.O);
  const issuerName = soleAttribute(name, ATTRIBUTE.CN);
  const issuerUid = soleAttribute(name, ATTRIBUTE.serialNumber);
  if (organization === ORGANIZATION.external) {
    return { issuerKind: "external", issuerName: null, issuerUid: null };
  }
  if (organization === ORGANIZATION.node && issuerName !== null && issuerUid !== null) {
    return { issuerKind: "node", issuerName, issuerUid };
  }
  return { issuerKind: "other", issuerName: null, issuerUid: null };
}

function soleSpiffeId(certificate: Certificate): { id: SpiffeId | null; faults: string[] } {
  const [uri] = certificate.uris;
  if (uri === undefined) return { id: null, faults: ["it has no URI, so no SPIFFE ID"] };
  if (certificate.uris.length > 1) {
    return { id: null, faults: [`it has ${certificate.uris.length} URIs: wanted exactly one`] };
  }
  const result = parseSpiffeId(uri);
  if (!result.ok) return { id: null, faults: [`its URI is no SPIFFE ID: ${result.fault}`] };
  const isRoot = result.id.segments.length === 0;
  return { id: result.id, faults: isRoot ? ["its SPIFFE ID has no path"] : [] };
}

function leafFaults(certificate: Certificate): string[] {
  const { keyUsage, extendedKeyUsage, unknownCritical } = certificate;
  const faults: string[] = [];
  if (certificate.isCa) faults.push("it is a CA certificate");
  if (keyUsage === null) faults.push("it has no key usage");
  else {
    if (!keyUsage.critical) faults.push("its key usage is not critical");
    if (!keyUsage.bits.includes("digitalSignature")) {
      faults.push("its key usage lacks digitalSignature");
    }
    for (const bit of ["keyCertSign", "cRLSign"] as const) {
      if (keyUsage.bits.includes(bit)) faults.push(`its key usage has ${bit}`);
    }
  }
  if (extendedKeyUsage !== null) {
    for (const [name, oid] of Object.entries(PURPOSE)) {
      if (!extendedKeyUsage.includes(oid)) faults.push(`its extended key usage lacks ${name}`);
    }
  }
  for (const oid of unknownCritical) faults.push(`its critical extension ${oid} is not known`);
  return faults;
}
