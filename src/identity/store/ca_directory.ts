/**
 * The root's directory: `root.crt`, `root.key`, `external.crt`, `external.key`, `bundle.pem`, and
 * `issued.jsonl`, which has one line for everything that was issued from here.
 *
 * In: a path. Out: a `Ca` that issues node issuers and certificates for the outside. Invariants: an
 * existing root is never written over (it is built in a directory beside and renamed into place,
 * which fails where there is something), and nothing that was signed leaves before its line is on
 * disk: the log may list what was never used, but never lacks what was.
 *
 * @module
 */

import { basename, dirname, join } from "node:path";
import { CertificateError } from "../../errors.ts";
import { externalSpiffeIdOf } from "../../model/mod.ts";
import { parseBundle } from "./bundle.ts";
import {
  fileError,
  makePrivateDirectory,
  readFile,
  readSigner,
  writeFile,
  writeSigner,
} from "./files.ts";
import {
  fingerprintOf,
  type IssuedSigner,
  issueIntermediate,
  issueRoot,
  issueSvid,
  type Svid,
} from "../issue.ts";
import {
  EXTERNAL_ISSUER_LIFETIME_MS,
  EXTERNAL_SVID_LIFETIME_MS,
  issuerRenewalMs,
  NODE_ISSUER_LIFETIME_MS,
} from "../lifetimes.ts";
import { signingFaults, signingTrustDomain } from "../svid_rules.ts";
import { type Certificate, encodeCertificates, formatName } from "../x509/certificate.ts";
import type { Signer } from "../x509/sign.ts";

/** Files of a CA directory by their names. */
export const CA_FILES = { bundle: "bundle.pem", log: "issued.jsonl" } as const;

/** A node issuer as it is handed to its node. */
export interface NodeIssuer {
  readonly signer: IssuedSigner;
  readonly bundlePem: string;
}

/** Makes a root with its external issuer in a directory that must not hold anything yet. */
export async function initCa(
  directory: string,
  { trustDomain, nowMs }: { readonly trustDomain: string; readonly nowMs: number },
): Promise<Ca> {
  const root = await issueRoot(trustDomain, nowMs);
  const external = await issueIntermediate(root, {
    holder: "external",
    nowMs,
    lifetimeMs: EXTERNAL_ISSUER_LIFETIME_MS,
  });
  const parent = dirname(directory);
  await makePrivateDirectory(parent);
  const building = join(parent, `.${basename(directory)}.tmp-${crypto.randomUUID()}`);
  await makePrivateDirectory(building);
  try {
    await writeSigner(building, "root", root);
    await writeSigner(building, "external", external);
    await writeFile(
      join(building, CA_FILES.bundle),
      encodeCertificates([root.certificate]),
      "public",
    );
    await renameIntoPlace(building, directory);
  } catch (error) {
    await Deno.remove(building, { recursive: true });
    throw error;
  }
  return await openCa(directory);
}

/** Opens an existing one. */
export async function openCa(directory: string): Promise<Ca> {
  const root = await readSigner(directory, "root");
  const rootPath = join(directory, "root.crt");
  const trustDomain = signingTrustDomain(root.certificate);
  if (trustDomain === null) throw fileError(rootPath, "it names no trust domain");
  const faults = signingFaults(root.certificate, trustDomain);
  if (faults.length > 0) throw fileError(rootPath, faults.join("; "));
  const path = join(directory, CA_FILES.bundle);
  const bundlePem = await readFile(path, "public");
  const roots = await parseBundle(bundlePem, { path, trustDomain });
  const isListed = roots.some(({ der }) => der.toHex() === root.certificate.der.toHex());
  if (!isListed) throw fileError(path, `it does not hold "${rootPath}"`);
  return new Ca(directory, { root, roots, trustDomain });
}

/** A root that can be used. */
export class Ca {
  readonly directory: string;
  readonly trustDomain: string;
  readonly root: Certificate;
  /** All that nodes shall trust: this root, and while one replaces another, both. */
  readonly roots: readonly Certificate[];
  readonly #signer: Signer;

  constructor(
    directory: string,
    parts: {
      readonly root: Signer;
      readonly roots: readonly Certificate[];
      readonly trustDomain: string;
    },
  ) {
    this.directory = directory;
    this.trustDomain = parts.trustDomain;
    this.roots = parts.roots;
    this.root = parts.root.certificate;
    this.#signer = parts.root;
  }

  /** Issues the intermediate of one node. */
  async issueNode(
    options: {
      readonly node: string;
      readonly uid?: string;
      readonly nowMs: number;
      readonly lifetimeMs?: number;
    },
  ): Promise<NodeIssuer> {
    const { node, uid, nowMs } = options;
    const signer = await issueIntermediate(this.#signer, {
      holder: { node, ...(uid === undefined ? {} : { uid }) },
      nowMs,
      lifetimeMs: options.lifetimeMs ?? NODE_ISSUER_LIFETIME_MS,
    });
    await this.#record("node-issuer", signer.certificate, nowMs);
    return { signer, bundlePem: encodeCertificates(this.roots) };
  }

  /** Issues a certificate for something outside the cluster. */
  async issueExternal(
    options: { readonly name: string; readonly nowMs: number; readonly lifetimeMs?: number },
  ): Promise<{ readonly svid: Svid; readonly bundlePem: string }> {
    const { name, nowMs } = options;
    const lifetimeMs = options.lifetimeMs ?? EXTERNAL_SVID_LIFETIME_MS;
    if (lifetimeMs > EXTERNAL_ISSUER_LIFETIME_MS) {
      const days = EXTERNAL_ISSUER_LIFETIME_MS / 86_400_000;
      throw new RangeError(`Cannot issue for longer than ${days} days, the life of its issuer`);
    }
    const issuer = await this.#externalIssuer(nowMs, lifetimeMs);
    const spiffeId = externalSpiffeIdOf(name, this.trustDomain);
    const svid = await issueSvid(issuer, { spiffeId, nowMs, lifetimeMs });
    await this.#append({
      kind: "external",
      subject: spiffeId,
      serial: svid.serial,
      fingerprint: svid.fingerprint,
      notAfterMs: svid.notAfterMs,
    }, nowMs);
    return { svid, bundlePem: encodeCertificates(this.roots) };
  }

  /** The external issuer, renewed first when it is at half of its life or would end too soon. */
  async #externalIssuer(nowMs: number, lifetimeMs: number): Promise<Signer> {
    const current = await readSigner(this.directory, "external");
    const { notAfterMs } = current.certificate;
    const isDue = nowMs >= issuerRenewalMs(current.certificate);
    if (!isDue && nowMs + lifetimeMs <= notAfterMs) return current;
    const next = await issueIntermediate(this.#signer, {
      holder: "external",
      nowMs,
      lifetimeMs: EXTERNAL_ISSUER_LIFETIME_MS,
    });
    await this.#record("external-issuer", next.certificate, nowMs);
    await writeSigner(this.directory, "external", next);
    return next;
  }

  async #record(kind: string, certificate: Certificate, nowMs: number): Promise<void> {
    await this.#append({
      kind,
      subject: formatName(certificate.subject),
      serial: certificate.serial,
      fingerprint: await fingerprintOf(certificate),
      notAfterMs: certificate.notAfterMs,
    }, nowMs);
  }

  async #append(entry: Omit<IssuedEntry, "timeMs">, timeMs: number): Promise<void> {
    const path = join(this.directory, CA_FILES.log);
    const line = JSON.stringify({ timeMs, ...entry }) + "\n";
    try {
      await Deno.writeTextFile(path, line, { append: true, mode: 0o600 });
    } catch (error) {
      throw new CertificateError(`Cannot write "${path}"`, { subject: path }, { cause: error });
    }
  }
}

/** One line of `issued.jsonl`. */
export interface IssuedEntry {
  readonly timeMs: number;
  readonly kind: string;
  readonly subject: string;
  readonly serial: string;
  readonly fingerprint: string;
  readonly notAfterMs: number;
}

/** What was issued from a directory, oldest first; a line that a crash cut short is left out. */
export async function readIssued(directory: string): Promise<IssuedEntry[]> {
  let text: string;
  try {
    text = await Deno.readTextFile(join(directory, CA_FILES.log));
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw fileError(join(directory, CA_FILES.log), "it cannot be read", error);
  }
  return text.split("\n").flatMap((line) => {
    try {
      return [JSON.parse(line) as IssuedEntry];
    } catch {
      return [];
    }
  });
}

/** Renames over an empty directory or into nothing; the kernel refuses anything else. */
async function renameIntoPlace(source: string, target: string): Promise<void> {
  try {
    await Deno.rename(source, target);
  } catch (error) {
    const code = (error as { code?: unknown }).code;
    const isTaken = code === "ENOTEMPTY" || code === "EEXIST" || code === "ENOTDIR";
    if (isTaken) throw fileError(target, "it is not empty, and a root is never written over");
    throw fileError(target, "it cannot be made", error);
  }
}
