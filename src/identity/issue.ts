/**
 * What weft issues: roots, node issuers, external issuers, SVIDs.
 *
 * In: a signer, names, now. Out: a certificate with its new key. Invariant: names are checked here,
 * before they are signed, because verifiers lean on them: a node's name is a DNS name in lower case
 * (OpenSSL matches issuer names without regard to case), a node issuer signs `/ns/…/sa/…` only and
 * the external issuer `/external/…` only. No key leaves this file but in what it returns.
 *
 * @module
 */

import { CertificateError } from "../errors.ts";
import { parseSpiffeId, principalOf, trustDomainFault, trustDomainIdOf } from "../model/mod.ts";
import { isValidAt, LIFETIME_MS_MIN, ROOT_LIFETIME_MS, validityWithin } from "./lifetimes.ts";
import { ORGANIZATION, readIssuer, signingTrustDomain } from "./svid_rules.ts";
import { type Certificate, encodeCertificates, formatName } from "./x509/certificate.ts";
import { exportKeyPem, generateKeyPair, signCertificate, type Signer } from "./x509/sign.ts";

/** A signer whose key can be written down. */
export interface IssuedSigner extends Signer {
  readonly keyPem: string;
}

/** An SVID with its key: all that a TLS endpoint needs. */
export interface Svid {
  readonly spiffeId: string;
  /** Leaf first, then the issuer. */
  readonly chainPem: string;
  /** PKCS #8. */
  readonly keyPem: string;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  /** When it was issued; later than `notBeforeMs`, which is back-dated. */
  readonly issuedMs: number;
  /** Lower-case hex. */
  readonly serial: string;
  /** SHA-256 of the leaf, lower-case hex. */
  readonly fingerprint: string;
  readonly subject: string;
}

/** Names that a TLS client may know the holder by, beside the SPIFFE ID. */
export interface AlternativeNames {
  readonly dnsNames: readonly string[];
  readonly addresses: readonly string[];
}

/** Names in one SVID; a pod behind more Services than this answers to the first ones only. */
export const ALTERNATIVE_NAMES_MAX = 128;

/** Makes a root of a trust domain. */
export async function issueRoot(trustDomain: string, nowMs: number): Promise<IssuedSigner> {
  const fault = trustDomainFault(trustDomain);
  if (fault !== null) {
    throw new CertificateError(`Cannot make a root for "${trustDomain}": ${fault}`, {
      subject: trustDomain,
    });
  }
  const pair = await generateKeyPair();
  const certificate = await signCertificate({
    publicKey: pair.publicKey,
    subject: { organization: ORGANIZATION.root, commonName: trustDomain },
    usage: "root",
    uri: trustDomainIdOf(trustDomain),
    ...validityWithin(null, { nowMs, lifetimeMs: ROOT_LIFETIME_MS, isSigner: true }),
  }, { self: pair.privateKey });
  return { certificate, key: pair.privateKey, keyPem: await exportKeyPem(pair.privateKey) };
}

/** Makes an intermediate that may sign leaves only. */
export async function issueIntermediate(
  root: Signer,
  options: {
    readonly holder: { readonly node: string; readonly uid?: string } | "external";
    readonly nowMs: number;
    readonly lifetimeMs: number;
  },
): Promise<IssuedSigner> {
  const { holder, nowMs, lifetimeMs } = options;
  const trustDomain = signingTrustDomain(root.certificate);
  if (trustDomain === null) throw signerError(root, "it names no trust domain");
  expectUsable(root, nowMs, lifetimeMs);
  if (holder !== "external") expectNodeName(holder.node, holder.uid);
  const pair = await generateKeyPair();
  const certificate = await signCertificate({
    publicKey: pair.publicKey,
    subject: holder === "external" ? { organization: ORGANIZATION.external } : {
      organization: ORGANIZATION.node,
      commonName: holder.node,
      serialNumber: holder.uid ?? holder.node,
    },
    usage: "intermediate",
    uri: trustDomainIdOf(trustDomain),
    ...validityWithin(root.certificate, { nowMs, lifetimeMs, isSigner: true }),
  }, root);
  return { certificate, key: pair.privateKey, keyPem: await exportKeyPem(pair.privateKey) };
}

/** Makes an SVID: a leaf for one SPIFFE ID, with a key of its own. */
export async function issueSvid(
  signer: Signer,
  options: {
    readonly spiffeId: string;
    readonly names?: AlternativeNames;
    readonly nowMs: number;
    readonly lifetimeMs: number;
  },
): Promise<Svid> {
  const { spiffeId, nowMs, lifetimeMs } = options;
  expectMayIssue(signer, spiffeId);
  expectUsable(signer, nowMs, lifetimeMs);
  const names = canonicalNames(options.names ?? { dnsNames: [], addresses: [] });
  const validity = validityWithin(signer.certificate, { nowMs, lifetimeMs });
  const pair = await generateKeyPair();
  const leaf = await signCertificate({
    publicKey: pair.publicKey,
    subject: { organization: ORGANIZATION.svid },
    usage: "leaf",
    uri: spiffeId,
    ...names,
    ...validity,
  }, signer);
  return Object.freeze({
    spiffeId,
    chainPem: encodeCertificates([leaf, signer.certificate]),
    keyPem: await exportKeyPem(pair.privateKey),
    notBeforeMs: leaf.notBeforeMs,
    notAfterMs: leaf.notAfterMs,
    issuedMs: nowMs,
    serial: leaf.serial,
    fingerprint: await fingerprintOf(leaf),
    subject: formatName(leaf.subject),
  });
}

/** SHA-256 of a certificate, as `openssl x509 -fingerprint -sha256` has it, in lower-case hex. */
export async function fingerprintOf(certificate: Certificate): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", new Uint8Array(certificate.der));
  return new Uint8Array(digest).toHex();
}

/**
 * Sorted, without repetitions and within the bound: equal sets give equal certificates. What is no
 * DNS name is left out, for no client could ask for it.
 */
export function canonicalNames({ dnsNames, addresses }: AlternativeNames): AlternativeNames {
  const sortedAddresses = [...new Set(addresses)].sort().slice(0, ALTERNATIVE_NAMES_MAX);
  const room = ALTERNATIVE_NAMES_MAX - sortedAddresses.length;
  const sortedNames = [...new Set(dnsNames)].filter(isDnsName).sort().slice(0, room);
  return { dnsNames: sortedNames, addresses: sortedAddresses };
}

function expectMayIssue(signer: Signer, spiffeId: string): void {
  const result = parseSpiffeId(spiffeId);
  if (!result.ok) throw svidError(spiffeId, `it is no SPIFFE ID: ${result.fault}`);
  const trustDomain = signingTrustDomain(signer.certificate);
  if (result.id.trustDomain !== trustDomain) {
    throw svidError(spiffeId, `the issuer signs for trust domain "${trustDomain}" only`);
  }
  const { issuerKind } = readIssuer(signer.certificate.subject);
  const wanted = issuerKind === "external" ? "external" : "workload";
  const { kind } = principalOf(result.id);
  if (kind !== wanted) {
    const shape = wanted === "external" ? "/external/NAME" : "/ns/NAMESPACE/sa/SERVICEACCOUNT";
    throw svidError(spiffeId, `its issuer signs ${shape} only`);
  }
}

function expectUsable(signer: Signer, nowMs: number, lifetimeMs: number): void {
  if (lifetimeMs < LIFETIME_MS_MIN) {
    throw new RangeError(
      `Cannot issue a certificate for ${lifetimeMs} ms: at least ${LIFETIME_MS_MIN} ms are needed`,
    );
  }
  const { certificate } = signer;
  if (isValidAt(certificate, nowMs)) return;
  const isOver = certificate.notAfterMs <= nowMs;
  const instant = isOver ? certificate.notAfterMs : certificate.notBeforeMs;
  const state = isOver ? "it expired at" : "by this machine's clock it is not valid before";
  throw signerError(signer, `${state} ${new Date(instant).toISOString()}`);
}

function expectNodeName(node: string, uid: string | undefined): void {
  if (!isDnsName(node)) {
    throw new CertificateError(
      `Cannot issue for node "${node}": its name must be a DNS name in lower case`,
      { subject: node },
    );
  }
  if (uid !== undefined && !/^[a-zA-Z0-9.-]{1,64}$/.test(uid)) {
    throw new CertificateError(
      `Cannot issue for node "${node}": the UID "${uid}" must be up to 64 letters, digits or dashes`,
      { subject: node },
    );
  }
}

function isDnsName(name: string): boolean {
  return name.length <= 253 &&
    /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*$/.test(name);
}

function signerError(signer: Signer, reason: string): CertificateError {
  const subject = formatName(signer.certificate.subject);
  return new CertificateError(`Cannot sign with "${subject}": ${reason}`, { subject });
}

function svidError(spiffeId: string, reason: string): CertificateError {
  return new CertificateError(`Cannot issue "${spiffeId}": ${reason}`, { subject: spiffeId });
}
