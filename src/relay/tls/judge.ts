/**
 * Who is on the other side of a handshake, and may it be there?
 *
 * In: the leaf that a peer showed, OpenSSL's opinion of its chain, and what the World says about
 * the peer's address. Out: the number by which OpenSSL goes on or sends a certain alert, and for
 * weft the reason. Invariant: `svid` is set only for a peer that passed every check; a resumed
 * handshake, in which OpenSSL asks nobody, is judged by the same function afterwards.
 *
 * The trust domain comes first: SPIFFE selects the roots by it, so a certificate of another domain
 * is "of another domain" and not "untrusted", whoever signed it.
 *
 * @module
 */

import type { HandshakeChecks } from "../../../ffi/tls/callbacks.ts";
import { verifyErrorText, X509Error } from "../../../ffi/tls/trust.ts";
import { type ParsedSvid, parseSigningFaults, parseSvid } from "../../identity/mod.ts";
import { checkPeer, type PeerReason } from "../../identity/mod.ts";
import { CERTIFICATES_KEPT_MAX } from "../../limits.ts";
import { digest, type Place, type World } from "../world.ts";

export class PeerJudge implements HandshakeChecks {
  /** The peer's SVID, once it has passed. */
  svid: ParsedSvid | null = null;
  /** Why it did not pass. */
  reason: PeerReason | null = null;
  detail = "";
  readonly #world: () => World;
  readonly #place: () => Place;

  /** The World and the peer's place in it, as they are when the certificate comes. */
  constructor(world: () => World, place: () => Place) {
    this.#world = world;
    this.#place = place;
  }

  /** `issuers` stand between leaf and root; a resumed handshake shows none, they were judged. */
  judge(
    leafDer: Uint8Array<ArrayBuffer>,
    chainError: number,
    issuers: readonly Uint8Array<ArrayBuffer>[] = [],
  ): number {
    this.svid = null;
    const key = digest(leafDer);
    const svid = leaves.get(key) ?? readSvid(leafDer);
    if (svid === undefined) return this.#refuse("certificate-invalid", "it cannot be read");
    const { trustDomain } = this.#world().snapshot;
    if (svid.trustDomain !== null && svid.trustDomain !== trustDomain) {
      return this.#refuse("wrong-trust-domain", `its trust domain is "${svid.trustDomain}"`);
    }
    if (chainError !== X509Error.OK) return this.#refuseChain(chainError, svid);
    keep(leaves, key, svid);
    const [fault] = issuers.flatMap((der) => issuerFaults(der, trustDomain));
    if (fault !== undefined) return this.#refuse("certificate-invalid", `its issuer: ${fault}`);
    const reason = this.recheck(svid);
    if (reason !== null) return this.#refuse(reason, describe(svid));
    this.svid = svid;
    return X509Error.OK;
  }

  /** Judges a peer again whose chain was good before; null when it may stay. */
  recheck(svid: ParsedSvid, { nowMs = Date.now() } = {}): PeerReason | null {
    const place = this.#place();
    const { trustDomain } = this.#world().snapshot;
    const reason = checkPeer(svid, { trustDomain, peer: place.owner, nowMs });
    if (reason !== null) return reason;
    // Where the model names one identity for the address, it must be exactly that one.
    const expected = place.spiffeId;
    return expected === undefined || expected === svid.spiffeId ? null : "wrong-identity";
  }

  #refuseChain(error: number, svid: ParsedSvid): number {
    // OpenSSL, too, knows some of SPIFFE's rules; where it was the first, ours say more.
    if (FAULTS_OF_LEAVES.has(error) && svid.faults.length > 0) {
      return this.#refuse("certificate-invalid", describe(svid));
    }
    const isUntimely = error === X509Error.CERT_HAS_EXPIRED ||
      error === X509Error.CERT_NOT_YET_VALID;
    this.reason = isUntimely ? "certificate-expired" : "certificate-untrusted";
    this.detail = verifyErrorText(error);
    return error;
  }

  #refuse(reason: PeerReason, detail: string): number {
    this.reason = reason;
    this.detail = detail;
    return ALERTS[reason];
  }
}

/**
 * The X509_V_* number by which OpenSSL sends an alert of its own for a reason. TLS has fewer alerts
 * than weft has reasons; the events tell apart what shares one.
 */
const ALERTS: Readonly<Record<PeerReason, number>> = {
  "not-tls": X509Error.APPLICATION_VERIFICATION,
  "no-certificate": X509Error.APPLICATION_VERIFICATION,
  "certificate-untrusted": X509Error.UNABLE_TO_GET_ISSUER_CERT_LOCALLY,
  "certificate-expired": X509Error.CERT_HAS_EXPIRED,
  "certificate-invalid": X509Error.INVALID_PURPOSE, // unsupported_certificate
  "wrong-trust-domain": X509Error.CERT_REJECTED, // bad_certificate
  "wrong-node": X509Error.SUBJECT_ISSUER_MISMATCH, // certificate_unknown
  "wrong-identity": X509Error.SUBJECT_ISSUER_MISMATCH,
  "unknown-identity": X509Error.APPLICATION_VERIFICATION, // handshake_failure
  "address-conflict": X509Error.APPLICATION_VERIFICATION,
};

const FAULTS_OF_LEAVES: ReadonlySet<number> = new Set([
  X509Error.INVALID_PURPOSE,
  X509Error.UNHANDLED_CRITICAL_EXTENSION,
]);

function describe(svid: ParsedSvid): string {
  const issuer = svid.issuerName ?? svid.issuerKind;
  return `${svid.spiffeId ?? "no SPIFFE ID"}, issued by ${issuer}` +
    (svid.faults.length > 0 ? `: ${svid.faults.join("; ")}` : "");
}

function readSvid(der: Uint8Array<ArrayBuffer>): ParsedSvid | undefined {
  try {
    return parseSvid(der);
  } catch {
    return undefined;
  }
}

/** Of an issuer in a chain that is good; a mesh has one for each node. */
function issuerFaults(der: Uint8Array<ArrayBuffer>, trustDomain: string): readonly string[] {
  const key = `${trustDomain} ${digest(der)}`;
  const faults = faultsOfIssuers.get(key) ?? parseSigningFaults(der, trustDomain);
  keep(faultsOfIssuers, key, faults);
  return faults;
}

/**
 * Reading one costs tens of microseconds, and the same leaf comes with each connection of a pod.
 * Only what a root of ours vouches for is kept: what strangers show costs no memory, and drives
 * nothing out that is known.
 */
const leaves = new Map<string, ParsedSvid>();
const faultsOfIssuers = new Map<string, readonly string[]>();

function keep<T>(known: Map<string, T>, key: string, value: T): void {
  if (known.has(key)) return;
  if (known.size >= CERTIFICATES_KEPT_MAX) known.clear();
  known.set(key, value);
}
