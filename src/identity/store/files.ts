/**
 * Certificates, bundles and keys as files.
 *
 * In: paths. Out: parsed contents, or a `CertificateError` that names the file and what is wrong
 * with it. Invariants: nothing is repaired or made anew here, because a CA that is replaced
 * silently cuts a node off from its mesh; a key that others may read is refused; and a file is
 * replaced by rename, so that a reader sees the old one or the new one, whole.
 *
 * A certificate and its key are two files and cannot be renamed as one. So the new key is written
 * beside the old (`issuer.key.next`), then the certificate replaced, then the key renamed over the
 * old; whoever reads in between, or after a crash in between, finds the key in `.next`.
 *
 * @module
 */

import { dirname, join } from "node:path";
import { CertificateError } from "../../errors.ts";
import { type Certificate, encodeCertificates, parseCertificate } from "../x509/certificate.ts";
import { DerError } from "../x509/der.ts";
import { decodePem, type PemBlock, PemError } from "../x509/pem.ts";
import { KEY_ALGORITHM, type Signer } from "../x509/sign.ts";
import { isKeyOf } from "../x509/signature.ts";

/** A bundle of a dozen roots has some 10 KiB; more than this is not PEM. */
const FILE_BYTES_MAX = 1 << 20;

/** Certificates in one file. */
export const CHAIN_CERTIFICATES_MAX = 16;

/** Reads the certificates of a file, at least one. */
export async function readCertificates(path: string): Promise<Certificate[]> {
  return parseCertificates(await readFile(path, "public"), path);
}

/** Reads certificates from text that came from `path`, at least one. */
export function parseCertificates(text: string, path: string): Certificate[] {
  const blocks = inFile(path, () => decodePem(text))
    .filter((block) => block.label === "CERTIFICATE");
  if (blocks.length === 0) throw fileError(path, "it holds no certificate");
  if (blocks.length > CHAIN_CERTIFICATES_MAX) {
    throw fileError(path, `it holds more than ${CHAIN_CERTIFICATES_MAX} certificates`);
  }
  return blocks.map((block) => inFile(path, () => parseCertificate(block.der)));
}

/** Reads a signing certificate and its key, which must belong together. */
export async function readSigner(directory: string, name: string): Promise<Signer> {
  const paths = signerPaths(directory, name);
  const [certificate] = await readCertificates(paths.certificate);
  if (certificate === undefined) throw fileError(paths.certificate, "it holds no certificate");
  // A replacement that was interrupted between its last two renames left the right key here.
  if (await exists(paths.nextKey)) {
    const next = await readKey(paths.nextKey);
    if (await isKeyOf(next, certificate)) return { certificate, key: next };
  }
  const key = await readKey(paths.key);
  if (!(await isKeyOf(key, certificate))) {
    throw fileError(paths.key, `it is not the key of "${paths.certificate}"`);
  }
  return { certificate, key };
}

/** Writes a signing certificate and its key, also over existing ones. */
export async function writeSigner(
  directory: string,
  name: string,
  signer: { readonly certificate: Certificate; readonly keyPem: string },
): Promise<void> {
  const paths = signerPaths(directory, name);
  await writeFile(paths.nextKey, signer.keyPem, "secret");
  await writeFile(paths.certificate, encodeCertificates([signer.certificate]), "public");
  await Deno.rename(paths.nextKey, paths.key);
  await syncDirectory(directory);
}

/** Writes what a TLS endpoint is configured with: `tls.crt`, `tls.key` and `ca.crt`. */
export async function writeEndpoint(
  directory: string,
  parts: { readonly chainPem: string; readonly keyPem: string; readonly bundlePem: string },
): Promise<void> {
  await makePrivateDirectory(directory);
  await writeFile(join(directory, "tls.key"), parts.keyPem, "secret");
  await writeFile(join(directory, "tls.crt"), parts.chainPem, "public");
  await writeFile(join(directory, "ca.crt"), parts.bundlePem, "public");
}

/**
 * Reads a text file of ours; a secret one must be closed to everybody else, and a public one to
 * everybody else's writing.
 */
export async function readFile(path: string, secrecy: "public" | "secret"): Promise<string> {
  using file = await openFile(path);
  const { size, mode, uid, isFile } = await file.stat();
  if (!isFile) throw fileError(path, "it is not a file");
  if (size > FILE_BYTES_MAX) throw fileError(path, `it is larger than ${FILE_BYTES_MAX} bytes`);
  expectOurs(path, { mode: mode ?? 0, uid: uid ?? 0, secrecy });
  const text = await new Response(file.readable).text();
  if (text.trim() === "") throw fileError(path, "it is empty");
  return text;
}

/** Replaces a file in one step. */
export async function writeFile(
  path: string,
  text: string,
  secrecy: "public" | "secret",
): Promise<void> {
  const temporary = `${path}.tmp-${crypto.randomUUID()}`;
  try {
    const mode = secrecy === "secret" ? 0o600 : 0o644;
    await using cleanup = new AsyncDisposableStack();
    const file = await Deno.open(temporary, { write: true, createNew: true, mode });
    cleanup.use(file);
    cleanup.defer(() => Deno.remove(temporary).catch(() => {}));
    await writeAll(file, new TextEncoder().encode(text));
    await file.sync();
    await Deno.rename(temporary, path);
    await syncDirectory(dirname(path));
  } catch (error) {
    throw new CertificateError(`Cannot write "${path}"`, { subject: path }, { cause: error });
  }
}

/** Makes a directory that only its owner may enter, where there is none. */
export async function makePrivateDirectory(path: string): Promise<void> {
  try {
    await Deno.mkdir(path, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw new CertificateError(`Cannot make the directory "${path}"`, { subject: path }, {
      cause: error,
    });
  }
}

/** Whether something is there. */
export async function exists(path: string): Promise<boolean> {
  try {
    await Deno.stat(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw fileError(path, describeIo(error), error);
  }
}

/** "Cannot use FILE: REASON". */
export function fileError(path: string, reason: string, cause?: unknown): CertificateError {
  const options = cause === undefined ? undefined : { cause };
  return new CertificateError(`Cannot use "${path}": ${reason}`, { subject: path }, options);
}

/** Where a signer of this name keeps its files. */
export function signerPaths(
  directory: string,
  name: string,
): { readonly certificate: string; readonly key: string; readonly nextKey: string } {
  return {
    certificate: join(directory, `${name}.crt`),
    key: join(directory, `${name}.key`),
    nextKey: join(directory, `${name}.key.next`),
  };
}

async function readKey(path: string): Promise<CryptoKey> {
  const text = await readFile(path, "secret");
  const blocks = inFile(path, () => decodePem(text));
  const block = soleKeyBlock(path, blocks);
  const der = new Uint8Array(block.der);
  try {
    return await crypto.subtle.importKey("pkcs8", der, KEY_ALGORITHM, false, ["sign"]);
  } catch (error) {
    throw fileError(path, "it is not an ECDSA P-256 key", error);
  }
}

function soleKeyBlock(path: string, blocks: readonly PemBlock[]): PemBlock {
  const block = blocks.find(({ label }) => label === "PRIVATE KEY");
  if (block !== undefined) return block;
  const found = blocks[0]?.label;
  throw fileError(
    path,
    found === undefined
      ? "it holds no private key"
      : `it holds "${found}": wanted "PRIVATE KEY" (PKCS #8, as "openssl pkcs8 -topk8" writes it)`,
  );
}

/** Who can write a root can be anybody, and who can read a key can be its holder. */
function expectOurs(
  path: string,
  { mode, uid, secrecy }: { mode: number; uid: number; secrecy: "public" | "secret" },
): void {
  const own = Deno.uid() ?? 0;
  if (uid !== 0 && uid !== own) {
    throw fileError(path, `it belongs to user ${uid}: wanted ${own}, as "chown" makes it`);
  }
  const [open, wanted] = secrecy === "secret" ? [0o077, "0600"] : [0o022, "0644"];
  if ((mode & open) === 0) return;
  const octal = (mode & 0o777).toString(8).padStart(4, "0");
  throw fileError(path, `it is open to others: its mode is ${octal}, wanted ${wanted}`);
}

async function openFile(path: string): Promise<Deno.FsFile> {
  try {
    return await Deno.open(path);
  } catch (error) {
    throw fileError(path, describeIo(error));
  }
}

function describeIo(error: unknown): string {
  if (error instanceof Deno.errors.NotFound) return "it does not exist";
  if (error instanceof Deno.errors.PermissionDenied) return "permission denied";
  if (error instanceof Deno.errors.NotADirectory) return "a part of the path is no directory";
  return error instanceof Error ? error.message : String(error);
}

/** Runs a parser; what it throws becomes an error about the file. */
function inFile<T>(path: string, parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    if (!(error instanceof PemError) && !(error instanceof DerError)) throw error;
    throw fileError(path, error.message);
  }
}

async function writeAll(file: Deno.FsFile, bytes: Uint8Array): Promise<void> {
  for (let sent = 0; sent < bytes.length;) {
    // deno-lint-ignore no-await-in-loop -- the rest follows where this left off
    sent += await file.write(bytes.subarray(sent));
  }
}

/** Makes a rename survive a power cut. */
async function syncDirectory(path: string): Promise<void> {
  using directory = await Deno.open(path);
  await directory.sync();
}
