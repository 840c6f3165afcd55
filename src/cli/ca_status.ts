/**
 * What `weft ca status` finds in a root's directory and in a node's.
 *
 * In: one directory, two, or none (then the places where they usually are). Out: the same facts as
 * text and as JSON, and the exit status. Invariant: it opens everything the way the agent does, so
 * what it calls good the agent can use.
 *
 * @module
 */
import { join } from "node:path";
import { NotFoundError } from "../errors.ts";
import {
  CA_FILES,
  type Certificate,
  fingerprintOf,
  formatName,
  type IssuedEntry,
  issuerRenewalMs,
  openCa,
  readCertificates,
  readCredentials,
  readIssued,
} from "../identity/mod.ts";
import { expiryDate } from "./ca_actions.ts";
import { ExitStatus } from "./exit.ts";
import { DEFAULT_STATE_DIRECTORY } from "./options.ts";
import { table } from "./text.ts";

/** What was found. */
export interface CaStatusView {
  readonly ca?: {
    readonly directory: string;
    readonly trustDomain: string;
    readonly root: CertificateStatus;
    readonly external: CertificateStatus;
    readonly trusted: readonly CertificateStatus[];
    /** The newest issuer of each node that was issued from here. */
    readonly nodes: readonly NodeStatus[];
  };
  readonly node?: {
    readonly directory: string;
    readonly name: string;
    readonly uid: string;
    readonly trustDomain: string;
    readonly issuer: CertificateStatus;
    readonly trusted: readonly CertificateStatus[];
  };
  /** What to do; empty when nothing is. */
  readonly todo: readonly string[];
}

/** One certificate. */
export interface CertificateStatus {
  readonly subject: string;
  readonly fingerprint: string;
  readonly notBefore: string;
  readonly notAfter: string;
}

/** One node. */
export interface NodeStatus {
  readonly subject: string;
  readonly fingerprint: string;
  readonly notAfter: string;
}

/** Looks at the directories. */
export async function caStatus(
  places: { readonly caDirectory?: string; readonly stateDirectory?: string },
  nowMs: number = Date.now(),
): Promise<{ view: CaStatusView; text: string; exitStatus: ExitStatus }> {
  const found = await findPlaces(places);
  const [ca, node] = await Promise.all([
    found.caDirectory === undefined ? undefined : viewCa(found.caDirectory),
    found.stateDirectory === undefined ? undefined : viewNode(found.stateDirectory),
  ]);
  const view: CaStatusView = {
    ...(ca && { ca }),
    ...(node && { node }),
    todo: [...(ca ? caTodo(ca, nowMs) : []), ...(node ? nodeTodo(node, ca, nowMs) : [])],
  };
  const exitStatus = view.todo.length === 0 ? ExitStatus.OK : ExitStatus.NO;
  return { view, text: statusText(view, nowMs), exitStatus };
}

/** Where to look when nobody said where. */
async function findPlaces(
  places: { readonly caDirectory?: string; readonly stateDirectory?: string },
): Promise<{ readonly caDirectory?: string; readonly stateDirectory?: string }> {
  if (places.caDirectory !== undefined || places.stateDirectory !== undefined) return places;
  const caDirectory = join(DEFAULT_STATE_DIRECTORY, "ca");
  const [hasCa, hasNode] = await Promise.all([
    isThere(join(caDirectory, "root.crt")),
    isThere(join(DEFAULT_STATE_DIRECTORY, "issuer.crt")),
  ]);
  if (!hasCa && !hasNode) {
    throw new NotFoundError(
      `There is no root in "${caDirectory}" and no issuer in "${DEFAULT_STATE_DIRECTORY}"`,
      { object: "certificate authority" },
    );
  }
  return {
    ...(hasCa && { caDirectory }),
    ...(hasNode && { stateDirectory: DEFAULT_STATE_DIRECTORY }),
  };
}

async function viewCa(directory: string): Promise<NonNullable<CaStatusView["ca"]>> {
  const ca = await openCa(directory);
  const [external] = await readCertificates(join(directory, "external.crt"));
  return {
    directory,
    trustDomain: ca.trustDomain,
    root: await statusOf(ca.root),
    external: await statusOf(external ?? ca.root),
    trusted: await Promise.all(ca.roots.map(statusOf)),
    nodes: newestPerNode(await readIssued(directory)),
  };
}

async function viewNode(directory: string): Promise<NonNullable<CaStatusView["node"]>> {
  const credentials = await readCredentials(directory);
  if (credentials === null) {
    throw new NotFoundError(`There is no issuer in "${directory}"`, { object: directory });
  }
  const { nodeName: name, nodeUid: uid, trustDomain, issuer, roots } = credentials;
  return {
    directory,
    name,
    uid,
    trustDomain,
    issuer: await statusOf(issuer.certificate),
    trusted: await Promise.all(roots.map(statusOf)),
  };
}

async function statusOf(certificate: Certificate): Promise<CertificateStatus> {
  return {
    subject: formatName(certificate.subject),
    fingerprint: await fingerprintOf(certificate),
    notBefore: new Date(certificate.notBeforeMs).toISOString(),
    notAfter: new Date(certificate.notAfterMs).toISOString(),
  };
}

function newestPerNode(entries: readonly IssuedEntry[]): NodeStatus[] {
  const newest = new Map<string, IssuedEntry>();
  for (const entry of entries) {
    if (entry.kind === "node-issuer") newest.set(entry.subject, entry);
  }
  return [...newest.values()].map(({ subject, fingerprint, notAfterMs }) => ({
    subject,
    fingerprint,
    notAfter: new Date(notAfterMs).toISOString(),
  }));
}

function caTodo(ca: NonNullable<CaStatusView["ca"]>, nowMs: number): string[] {
  const todo: string[] = [];
  if (Date.parse(ca.root.notAfter) <= nowMs) {
    todo.push(`The root has expired: nothing that it signed is accepted any more`);
  }
  for (const { subject, notAfter } of ca.nodes) {
    if (Date.parse(notAfter) > nowMs) continue;
    todo.push(`${subject} has expired: issue it again, or forget it if the node is gone`);
  }
  return todo;
}

function nodeTodo(
  node: NonNullable<CaStatusView["node"]>,
  ca: CaStatusView["ca"],
  nowMs: number,
): string[] {
  const todo: string[] = [];
  const validity = {
    notBeforeMs: Date.parse(node.issuer.notBefore),
    notAfterMs: Date.parse(node.issuer.notAfter),
  };
  if (issuerRenewalMs(validity) <= nowMs) {
    const isOver = validity.notAfterMs <= nowMs;
    const caDirectory = ca?.directory ?? "DIR";
    todo.push(
      `The issuer of node "${node.name}" ${isOver ? "has expired" : "is due for renewal"}: ` +
        `weft ca issue-node ${node.name} --ca-dir ${caDirectory} --out ${node.directory}`,
    );
  }
  if (!node.trusted.some(({ notAfter }) => Date.parse(notAfter) > nowMs)) {
    todo.push(`Every root in ${node.directory}/${CA_FILES.bundle} has expired: nobody is trusted`);
  }
  return todo;
}

function statusText(view: CaStatusView, nowMs: number): string {
  const parts: string[] = [];
  if (view.ca) {
    const { directory, trustDomain, root, external, trusted, nodes } = view.ca;
    parts.push(
      `Root of "${trustDomain}" in ${directory}\n` + table([
        ["fingerprint", root.fingerprint],
        ["valid until", until(root, nowMs)],
        ["external issuer", until(external, nowMs)],
        ["roots in bundle", String(trusted.length)],
      ], "  "),
    );
    if (nodes.length > 0) {
      parts.push("Issued from it\n" + table(nodes.map((n) => [n.subject, until(n, nowMs)]), "  "));
    }
  }
  if (view.node) {
    const { directory, name, uid, trustDomain, issuer, trusted } = view.node;
    parts.push(
      `Issuer of node "${name}" in ${directory}\n` + table([
        ["trust domain", trustDomain],
        ["bound to", uid === name ? "the node's name" : `the node's UID ${uid}`],
        ["fingerprint", issuer.fingerprint],
        ["valid until", until(issuer, nowMs)],
        ...trusted.map((root) => ["trusts root", `${root.fingerprint}, ${until(root, nowMs)}`]),
      ], "  "),
    );
  }
  if (view.todo.length > 0) {
    parts.push("To do\n" + view.todo.map((each) => `  ${each}\n`).join(""));
  }
  return parts.join("\n");
}

function until({ notAfter }: { readonly notAfter: string }, nowMs: number): string {
  return expiryDate(Date.parse(notAfter), nowMs);
}

async function isThere(path: string): Promise<boolean> {
  try {
    await Deno.stat(path);
    return true;
  } catch {
    return false;
  }
}
