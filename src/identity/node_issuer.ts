/**
 * Where a node's issuer comes from, and what becomes of it.
 *
 * In: the paths of a node. Out: its credentials; on first start made from a root that is on this
 * machine (or, if allowed, from a new one), later renewed from it. Invariant: credentials of
 * another node, another trust domain or another root than before are never taken for this node's
 * own.
 *
 * @module
 */

import { join, resolve } from "node:path";
import { CertificateError } from "../errors.ts";
import type { Log } from "../log.ts";
import { fingerprintOf } from "./issue.ts";
import { issuerRenewalMs, isValidAt } from "./lifetimes.ts";
import { initCa, openCa } from "./store/ca_directory.ts";
import {
  type Credentials,
  readCredentials,
  STATE_FILES,
  writeCredentials,
} from "./store/credentials.ts";
import { exists, fileError } from "./store/files.ts";
import { type Certificate, formatName } from "./x509/certificate.ts";

/** Where a node keeps what it needs, and who it is. */
export interface NodePlace {
  readonly stateDirectory: string;
  /** The root's, where this machine has it. */
  readonly caDirectory: string;
  readonly node: string;
  readonly trustDomain: string;
  /** Whether a node that was never set up may make a root for itself: a cluster of one node. */
  readonly allowInit: boolean;
  readonly log: Log;
}

/** A signing certificate, for people and for the node's announcement. */
export interface IssuerView {
  readonly subject: string;
  /** SHA-256, lower-case hex. */
  readonly fingerprint: string;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
}

/** The node issuer. */
export interface NodeIssuerView extends IssuerView {
  readonly nodeName: string;
  /** The UID it was issued with, or the name again where there was none. */
  readonly nodeUid: string;
  /** When it should be renewed. */
  readonly renewMs: number;
  /** Whether this machine renews it itself, or somebody has to bring a new one. */
  readonly renewal: "automatic" | "manual";
}

/** The credentials of this node; on first start they are made. */
export async function openCredentials(place: NodePlace, nowMs: number): Promise<Credentials> {
  if (await readCredentials(place.stateDirectory) === null) await setUp(place, nowMs);
  return await reloadCredentials(place);
}

/** The credentials of this node, which must be there. */
export async function reloadCredentials(place: NodePlace): Promise<Credentials> {
  const credentials = await readCredentials(place.stateDirectory);
  if (credentials === null) {
    throw fileError(place.stateDirectory, "it holds no issuer and no bundle any more");
  }
  expectOurs(credentials, place);
  return credentials;
}

/** Issues the node a new issuer from the root on this machine, which must be one it trusts. */
export async function renewCredentials(
  place: NodePlace,
  current: Credentials,
  nowMs: number,
): Promise<Credentials> {
  const ca = await openCa(place.caDirectory);
  const isTrusted = current.roots.some(({ der }) => der.toHex() === ca.root.der.toHex());
  if (!isTrusted) {
    throw fileError(place.caDirectory, "its root is not the one that this node's bundle trusts");
  }
  const { nodeName: node, nodeUid } = current;
  const uid = nodeUid === node ? {} : { uid: nodeUid };
  await writeCredentials(place.stateDirectory, await ca.issueNode({ node, ...uid, nowMs }));
  return await reloadCredentials(place);
}

/** Whether the root is on this machine. A certificate without its key is an error, not "no". */
export async function isRootHere(place: NodePlace): Promise<boolean> {
  const files = ["root.crt", "root.key"].map((name) => exists(join(place.caDirectory, name)));
  return (await Promise.all(files)).includes(true);
}

/** Credentials without their secrets. */
export async function describeCredentials(
  credentials: Credentials,
  place: NodePlace,
): Promise<{ readonly issuer: NodeIssuerView; readonly roots: readonly IssuerView[] }> {
  const { certificate } = credentials.issuer;
  const issuer: NodeIssuerView = {
    ...await viewOf(certificate),
    nodeName: credentials.nodeName,
    nodeUid: credentials.nodeUid,
    renewMs: issuerRenewalMs(certificate),
    renewal: await isRootHere(place) ? "automatic" : "manual",
  };
  return { issuer, roots: await Promise.all(credentials.roots.map(viewOf)) };
}

/** What to tell the operator of a node that was made anew under the same name. */
export function foreignUid(issuer: NodeIssuerView, uid: string, stateDirectory: string): string {
  return `The node issuer is of a Node with UID "${issuer.nodeUid}": this one has "${uid}", so ` +
    `peers refuse it; on the machine that has the root run ` +
    `"weft ca issue-node ${issuer.nodeName} --uid ${uid} --ca-dir DIR --out OUT" and copy OUT to ` +
    `"${stateDirectory}"`;
}

/** What to tell the operator of a node that cannot renew its issuer itself. */
export function manualRenewal(
  issuer: NodeIssuerView,
  stateDirectory: string,
  nowMs: number,
): string {
  const end = new Date(issuer.notAfterMs).toISOString();
  const state = isValidAt(issuer, nowMs) ? `expires at ${end}` : `expired at ${end}`;
  return `The node issuer ${state}: on the machine that has the root run ` +
    `"weft ca issue-node ${issuer.nodeName} --ca-dir DIR --out OUT" and copy OUT to ` +
    `"${stateDirectory}"`;
}

async function setUp(place: NodePlace, nowMs: number): Promise<void> {
  const { stateDirectory, caDirectory, node, trustDomain, log } = place;
  const hasRoot = await isRootHere(place);
  if (!hasRoot && !place.allowInit) {
    throw new CertificateError(
      `This node has no issuer: "${join(stateDirectory, STATE_FILES.issuer)}" does not exist`,
      { subject: stateDirectory },
    );
  }
  const ca = hasRoot
    ? await openCa(caDirectory)
    : await initCa(resolve(caDirectory), { trustDomain, nowMs });
  if (!hasRoot) log.info("root-created", { directory: caDirectory, trustDomain });
  if (ca.trustDomain !== trustDomain) {
    throw fileError(
      join(caDirectory, "root.crt"),
      `its trust domain is "${ca.trustDomain}": wanted "${trustDomain}"`,
    );
  }
  await writeCredentials(stateDirectory, await ca.issueNode({ node, nowMs }));
}

function expectOurs(credentials: Credentials, place: NodePlace): void {
  const path = join(place.stateDirectory, STATE_FILES.issuer);
  if (credentials.nodeName !== place.node) {
    const found = credentials.nodeName;
    throw fileError(path, `it was issued for node "${found}": this node is "${place.node}"`);
  }
  if (credentials.trustDomain !== place.trustDomain) {
    const found = credentials.trustDomain;
    throw fileError(path, `its trust domain is "${found}": wanted "${place.trustDomain}"`);
  }
}

async function viewOf(certificate: Certificate): Promise<IssuerView> {
  const { notBeforeMs, notAfterMs } = certificate;
  const fingerprint = await fingerprintOf(certificate);
  return { subject: formatName(certificate.subject), fingerprint, notBeforeMs, notAfterMs };
}
