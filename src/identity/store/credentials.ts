/**
 * The state directory of a node: `issuer.crt`, `issuer.key`, `bundle.pem`.
 *
 * In: a directory. Out: the node issuer and the roots it trusts, checked against each other.
 * Invariant: all three files or none. None means a node that was never set up, and only then may a
 * single-node agent make a root for itself; one or two mean that somebody lost something, which a
 * person has to look at.
 *
 * @module
 */

import { join } from "node:path";
import { CertificateError } from "../../errors.ts";
import { parseBundle } from "./bundle.ts";
import type { NodeIssuer } from "./ca_directory.ts";
import {
  exists,
  fileError,
  makePrivateDirectory,
  readFile,
  readSigner,
  signerPaths,
  writeFile,
  writeSigner,
} from "./files.ts";
import { readIssuer, signingFaults, signingTrustDomain } from "../svid_rules.ts";
import { type Certificate, encodeCertificates, formatName } from "../x509/certificate.ts";
import type { Signer } from "../x509/sign.ts";
import { isSignedBy } from "../x509/signature.ts";

/** Files of a state directory by their names. */
export const STATE_FILES = {
  issuer: "issuer.crt",
  key: "issuer.key",
  bundle: "bundle.pem",
} as const;

/** With what a node issues and verifies. */
export interface Credentials {
  readonly issuer: Signer;
  readonly nodeName: string;
  readonly nodeUid: string;
  readonly trustDomain: string;
  /** At least one of them signed the issuer. */
  readonly roots: readonly Certificate[];
}

/** Reads them, or null when the directory holds none of the three files. */
export async function readCredentials(directory: string): Promise<Credentials | null> {
  const names = Object.values(STATE_FILES);
  const found = await Promise.all(names.map((name) => exists(join(directory, name))));
  if (!found.includes(true)) return null;
  const missing = names.find((_, index) => found[index] !== true);
  // A replacement that was interrupted may have left the key under its other name.
  if (missing !== undefined && !(await isReplacing(directory, missing))) {
    const present = names.filter((_, index) => found[index]).join(" and ");
    throw fileError(join(directory, missing), `it does not exist, though ${present} does`);
  }
  return await checkCredentials(directory, await readSigner(directory, "issuer"));
}

/** Writes what `weft ca issue-node` made, over what was there. */
export async function writeCredentials(directory: string, issued: NodeIssuer): Promise<void> {
  await makePrivateDirectory(directory);
  // The bundle first: it may hold one root more than before, never one that the issuer needs less.
  await writeFile(join(directory, STATE_FILES.bundle), issued.bundlePem, "public");
  await writeSigner(directory, "issuer", issued.signer);
}

/** Whether two sets of credentials are of the same certificates. */
export function areSameCredentials(one: Credentials, other: Credentials): boolean {
  const all = ({ issuer, roots }: Credentials) =>
    encodeCertificates([issuer.certificate, ...roots]);
  return all(one) === all(other);
}

async function checkCredentials(directory: string, issuer: Signer): Promise<Credentials> {
  const path = join(directory, STATE_FILES.issuer);
  const { certificate } = issuer;
  const { issuerKind, issuerName, issuerUid } = readIssuer(certificate.subject);
  if (issuerKind !== "node" || issuerName === null || issuerUid === null) {
    const subject = formatName(certificate.subject);
    throw fileError(path, `"${subject}" is no node issuer (weft ca issue-node makes one)`);
  }
  const trustDomain = signingTrustDomain(certificate);
  if (trustDomain === null) throw fileError(path, "it names no trust domain");
  const faults = signingFaults(certificate, trustDomain);
  if (certificate.pathLength !== 0) faults.push("its path length is not 0");
  if (faults.length > 0) throw fileError(path, faults.join("; "));
  const bundlePath = join(directory, STATE_FILES.bundle);
  const text = await readFile(bundlePath, "public");
  const roots = await parseBundle(text, { path: bundlePath, trustDomain });
  const signatures = await Promise.all(roots.map((root) => isSignedBy(certificate, root)));
  if (!signatures.includes(true)) {
    throw new CertificateError(
      `Cannot use "${path}": no root of "${bundlePath}" has signed it`,
      { subject: path },
    );
  }
  return { issuer, nodeName: issuerName, nodeUid: issuerUid, trustDomain, roots };
}

async function isReplacing(directory: string, missing: string): Promise<boolean> {
  return missing === STATE_FILES.key && await exists(signerPaths(directory, "issuer").nextKey);
}
