/**
 * What `weft ca init` and `weft ca issue-node` do, and what they say about it.
 *
 * @module
 */
import { CertificateError, UsageError } from "../errors.ts";
import {
  fingerprintOf,
  initCa,
  openCa,
  readCredentials,
  writeCredentials,
} from "../identity/mod.ts";
import { trustDomainFault } from "../model/mod.ts";
import { expiry, table } from "./text.ts";

/** Makes a root. */
export async function initRoot(directory: string, trustDomain: string): Promise<string> {
  const fault = trustDomainFault(trustDomain);
  if (fault !== null) throw new UsageError(`Cannot use "${trustDomain}": ${fault}`);
  const nowMs = Date.now();
  const ca = await initCa(directory, { trustDomain, nowMs });
  const rows = [
    ["trust domain", ca.trustDomain],
    ["fingerprint", await fingerprintOf(ca.root)],
    ["expires", expiryDate(ca.root.notAfterMs, nowMs)],
  ];
  return `Made a root in ${directory}\n${table(rows, "  ")}\n` +
    `${directory}/root.key signs for every node: back it up, and copy it to none of them.\n` +
    `Next, for each node: weft ca issue-node NAME --ca-dir ${directory} --out OUT\n`;
}

/** Issues a node's intermediate. */
export async function issueNode(
  options: {
    readonly node: string;
    readonly uid?: string;
    readonly caDirectory: string;
    readonly out: string;
    readonly lifetimeMs: number;
  },
): Promise<string> {
  const { node, uid, caDirectory, out, lifetimeMs } = options;
  const nowMs = Date.now();
  const ca = await openCa(caDirectory);
  await expectReplaceable(out, node, ca.trustDomain);
  const issued = await ca.issueNode({
    node,
    ...(uid === undefined ? {} : { uid }),
    nowMs,
    lifetimeMs,
  });
  await writeCredentials(out, issued);
  const { certificate } = issued.signer;
  const rows = [
    ["fingerprint", await fingerprintOf(certificate)],
    ["expires", expiryDate(certificate.notAfterMs, nowMs)],
    ["renew", `before that, by the same command`],
  ];
  return `Issued an issuer for node "${node}" into ${out}\n${table(rows, "  ")}\n` +
    `Copy issuer.crt, issuer.key and bundle.pem into the node's --state-dir; its agent takes them\n` +
    `over while it runs. Whoever has issuer.key can impersonate the pods of "${node}".\n`;
}

/** "2026-12-01 09:30 UTC, expires in 6d 23h" */
export function expiryDate(notAfterMs: number, nowMs: number): string {
  const date = new Date(notAfterMs).toISOString().slice(0, 16).replace("T", " ");
  return `${date} UTC, ${expiry(notAfterMs, nowMs)}`;
}

/** Only a newer issuer of the same node and trust domain may take the place of one. */
async function expectReplaceable(out: string, node: string, trustDomain: string): Promise<void> {
  const current = await readCredentials(out);
  if (current === null) return;
  const { nodeName } = current;
  if (nodeName === node && current.trustDomain === trustDomain) return;
  throw new CertificateError(
    `Cannot write to "${out}": it holds the issuer of node "${nodeName}" in "${current.trustDomain}"`,
    { subject: out },
  );
}
