/**
 * The trust bundle: the roots that a node trusts, as a file of PEM.
 *
 * In: text of `bundle.pem`. Out: its roots, or an error that names the file. Invariant: each is a
 * self-signed CA certificate of one trust domain; a bundle with anything else in it is refused
 * whole, because what it would mean to leave one out nobody can tell. Two roots at once are normal:
 * that is how one is replaced by another without a failed connection.
 *
 * @module
 */

import { fileError, parseCertificates } from "./files.ts";
import { isValidAt } from "../lifetimes.ts";
import { signingFaults } from "../svid_rules.ts";
import { type Certificate, encodeCertificates, formatName } from "../x509/certificate.ts";
import { isSignedBy } from "../x509/signature.ts";

/** Reads the roots of a bundle, without repetitions, in order. */
export async function parseBundle(
  text: string,
  { path, trustDomain }: { readonly path: string; readonly trustDomain: string | null },
): Promise<Certificate[]> {
  const roots = distinct(parseCertificates(text, path));
  await Promise.all(roots.map(async (root) => {
    const faults = signingFaults(root, trustDomain);
    if (!(await isSignedBy(root, root))) faults.push("it is not self-signed");
    if (faults.length > 0) {
      throw fileError(path, `root "${formatName(root.subject)}": ${faults.join("; ")}`);
    }
  }));
  return roots;
}

/** The bundle that verifiers get: the roots that hold now. */
export function activeBundlePem(roots: readonly Certificate[], nowMs: number): string {
  return encodeCertificates(roots.filter((root) => isValidAt(root, nowMs)));
}

function distinct(certificates: readonly Certificate[]): Certificate[] {
  return [...new Map(certificates.map((each) => [each.der.toHex(), each])).values()];
}
