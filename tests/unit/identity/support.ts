/**
 * Certificates for tests: right ones, and ones that break a single rule. They are built with
 * `@peculiar/x509` directly, so that the code under test never checks its own work.
 *
 * @module
 */
import "reflect-metadata";
import * as x509 from "@peculiar/x509";
import { openLog } from "@/src/log.ts";

export { x509 };

export const ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;

/** A log that remembers its lines. */
export function rememberingLog(): { log: ReturnType<typeof openLog>; lines: string[] } {
  const lines: string[] = [];
  return { log: openLog({ write: (line) => void lines.push(line) }), lines };
}

/** What one test wants different from a right SVID. */
export interface LeafChanges {
  readonly issuer?: string;
  readonly names?: x509.JsonGeneralNames;
  readonly basicConstraints?: x509.Extension | null;
  readonly keyUsage?: x509.Extension | null;
  readonly extendedKeyUsage?: x509.Extension | null;
  readonly more?: readonly x509.Extension[];
  readonly notBefore?: Date;
  readonly notAfter?: Date;
}

export const NODE_ISSUER = "O=weft node issuer, CN=node-a, 2.5.4.5=node-a";

/** DER of a leaf that is right but for the changes. It signs itself: nobody checks that here. */
export async function leafDer(changes: LeafChanges = {}): Promise<Uint8Array> {
  const keys = await crypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]);
  const { digitalSignature } = x509.KeyUsageFlags;
  const or = (given: x509.Extension | null | undefined, usual: x509.Extension) =>
    given === null ? [] : [given ?? usual];
  const certificate = await x509.X509CertificateGenerator.create({
    subject: "O=weft",
    issuer: changes.issuer ?? NODE_ISSUER,
    serialNumber: "0102",
    notBefore: changes.notBefore ?? new Date("2030-01-01T00:00:00Z"),
    notAfter: changes.notAfter ?? new Date("2030-01-01T01:00:00Z"),
    publicKey: keys.publicKey,
    signingKey: keys.privateKey,
    signingAlgorithm: ALGORITHM,
    extensions: [
      ...or(changes.basicConstraints, new x509.BasicConstraintsExtension(false, undefined, true)),
      ...or(changes.keyUsage, new x509.KeyUsagesExtension(digitalSignature, true)),
      ...or(
        changes.extendedKeyUsage,
        new x509.ExtendedKeyUsageExtension(["1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"]),
      ),
      ...(changes.names?.length === 0
        ? []
        : [new x509.SubjectAlternativeNameExtension(changes.names ?? [uri(WEB_ID)])]),
      ...(changes.more ?? []),
    ],
  });
  return new Uint8Array(certificate.rawData);
}

export const WEB_ID = "spiffe://cluster.local/ns/shop/sa/web";

export function uri(value: string): { type: "url"; value: string } {
  return { type: "url", value };
}
