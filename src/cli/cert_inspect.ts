/**
 * What `weft cert inspect` says about a chain of certificates.
 *
 * In: PEM. Out: the same facts as text and as JSON, and the exit status. Invariant: the rules are
 * those of the relay (`identity/svid_rules.ts`): what is called an SVID here is one there.
 *
 * @module
 */
import {
  type Certificate,
  fingerprintOf,
  formatName,
  isSignedBy,
  isValidAt,
  judgeLeaf,
  parseCertificates,
  readIssuer,
  signingFaults,
} from "../identity/mod.ts";
import { ExitStatus } from "./exit.ts";
import { expiry, table } from "./text.ts";

/** One certificate of the file. */
export interface InspectedCertificate {
  readonly role: "leaf" | "signing certificate";
  readonly subject: string;
  readonly spiffeId: string | null;
  readonly issuer: string;
  /** The node that issued it, where a node did. */
  readonly issuerNode: string | null;
  readonly notBefore: string;
  readonly notAfter: string;
  readonly isValidNow: boolean;
  readonly serial: string;
  readonly fingerprint: string;
  readonly dnsNames: readonly string[];
  readonly addresses: readonly string[];
  /** Rules of SPIFFE that it breaks. */
  readonly faults: readonly string[];
  /** Whether the next certificate of the file signed it; null for the last one. */
  readonly isSignedByNext: boolean | null;
}

/** Reads a chain, leaf first. */
export async function inspectChain(
  text: string,
  path: string,
  nowMs: number = Date.now(),
): Promise<{ view: InspectedCertificate[]; text: string; exitStatus: ExitStatus }> {
  const chain = parseCertificates(text, path);
  const view = await Promise.all(
    chain.map((certificate, index) => inspect(certificate, chain[index + 1], nowMs)),
  );
  const isGood = view.every((each) =>
    each.faults.length === 0 && each.isValidNow && each.isSignedByNext !== false
  );
  return {
    view,
    text: view.map((each, index) => describe(each, index, view.length, nowMs)).join("\n"),
    exitStatus: isGood ? ExitStatus.OK : ExitStatus.NO,
  };
}

async function inspect(
  certificate: Certificate,
  next: Certificate | undefined,
  nowMs: number,
): Promise<InspectedCertificate> {
  const leaf = judgeLeaf(certificate);
  return {
    role: certificate.isCa ? "signing certificate" : "leaf",
    subject: formatName(certificate.subject),
    spiffeId: certificate.isCa ? certificate.uris[0] ?? null : leaf.spiffeId,
    issuer: formatName(certificate.issuer),
    issuerNode: readIssuer(certificate.issuer).issuerName,
    notBefore: secondText(certificate.notBeforeMs),
    notAfter: secondText(certificate.notAfterMs),
    isValidNow: isValidAt(certificate, nowMs),
    serial: certificate.serial,
    fingerprint: await fingerprintOf(certificate),
    dnsNames: certificate.dnsNames,
    addresses: certificate.addresses,
    faults: certificate.isCa ? signingFaults(certificate, null) : leaf.faults,
    isSignedByNext: next === undefined ? null : await isSignedBy(certificate, next),
  };
}

function describe(
  view: InspectedCertificate,
  index: number,
  count: number,
  nowMs: number,
): string {
  const names = [...view.dnsNames, ...view.addresses].join(", ");
  const rows = [
    ["SPIFFE ID", view.spiffeId ?? "none"],
    ["subject", view.subject],
    ["issuer", view.issuer],
    ...(view.issuerNode === null ? [] : [["issued by node", view.issuerNode]]),
    ["valid", `${view.notBefore} to ${view.notAfter}, ${validity(view, nowMs)}`],
    ...(names === "" ? [] : [["other names", names]]),
    ["serial", view.serial],
    ["SHA-256", view.fingerprint],
    ...(view.isSignedByNext === false ? [["signature", "not by the next certificate"]] : []),
    ["SPIFFE", view.faults.length === 0 ? "keeps all rules" : view.faults.join("; ")],
  ];
  return `Certificate ${index + 1} of ${count}: ${view.role}\n${table(rows, "  ")}`;
}

function validity({ notBefore, notAfter }: InspectedCertificate, nowMs: number): string {
  return Date.parse(notBefore) > nowMs
    ? "not valid yet by this machine's clock"
    : expiry(Date.parse(notAfter), nowMs);
}

/** Certificates know no milliseconds. */
function secondText(timeMs: number): string {
  return new Date(timeMs).toISOString().replace(".000Z", "Z");
}
