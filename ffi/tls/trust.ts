/**
 * Trust anchors: the roots that a chain must end in.
 *
 * In: PEM with any number of certificates. Out: an X509_STORE that several contexts may share.
 * Invariant: a bundle without a certificate makes a store that trusts nobody; the system's own
 * store is never consulted.
 *
 * @module
 */

import { cstring, fixedBytes, readCstring } from "../memory.ts";
import { checkTls, drainFaults, TlsError } from "./errors.ts";
import { libcrypto } from "./symbols.ts";

export class TrustStore implements Disposable {
  readonly pointer: Deno.PointerObject;

  constructor(bundlePem: string) {
    const crypto = libcrypto();
    this.pointer = checkTls(crypto.X509_STORE_new(), "Cannot make a trust store");
    for (const certificate of readCertificates(bundlePem)) {
      const added = crypto.X509_STORE_add_cert(this.pointer, certificate);
      crypto.X509_free(certificate);
      if (added !== 1) throw new TlsError("Cannot add a root to the trust store");
    }
  }

  /** Whether a leaf and its chain (pointers of OpenSSL's) end in one of the roots, at any time. */
  verifies(leaf: Deno.PointerObject, chain: Deno.PointerObject): boolean {
    const crypto = libcrypto();
    const context = checkTls(crypto.X509_STORE_CTX_new(), "Cannot verify a chain");
    const isReady = crypto.X509_STORE_CTX_init(context, this.pointer, leaf, chain) === 1;
    crypto.X509_STORE_CTX_set_flags(context, X509_V_FLAG_NO_CHECK_TIME);
    const isGood = isReady && crypto.X509_verify_cert(context) === 1;
    crypto.X509_STORE_CTX_free(context);
    drainFaults();
    return isGood;
  }

  [Symbol.dispose](): void {
    libcrypto().X509_STORE_free(this.pointer);
  }
}

const X509_V_FLAG_NO_CHECK_TIME = 0x200000n;

/** Certificates of a PEM text, in its order; the caller frees each. */
export function readCertificates(pem: string): Deno.PointerObject[] {
  const crypto = libcrypto();
  const bytes = cstring(pem);
  const source = checkTls(crypto.BIO_new_mem_buf(bytes, bytes.length - 1), "Cannot read PEM");
  const certificates: Deno.PointerObject[] = [];
  for (;;) {
    const certificate = crypto.PEM_read_bio_X509(source, null, null, null);
    if (certificate === null) break;
    certificates.push(certificate);
  }
  crypto.BIO_free(source);
  drainFaults(); // the end of the text is reported as a fault
  return certificates;
}

/** The DER of a certificate that OpenSSL holds. */
export function certificateDer(certificate: Deno.PointerObject): Uint8Array<ArrayBuffer> {
  const crypto = libcrypto();
  const size = crypto.i2d_X509(certificate, null);
  if (size <= 0) throw new TlsError("Cannot encode a certificate");
  const der = fixedBytes(size);
  const cursor = fixedBytes(8);
  const address = Deno.UnsafePointer.value(Deno.UnsafePointer.of(der));
  new DataView(cursor.buffer).setBigUint64(0, BigInt(address), true);
  crypto.i2d_X509(certificate, cursor);
  return der;
}

/** OpenSSL's sentence for an X509_V_* number. */
export function verifyErrorText(error: number): string {
  return readCstring(libcrypto().X509_verify_cert_error_string(BigInt(error)));
}

/**
 * Numbers of X509_V_*: those that weft reads, and those that it sets so that OpenSSL sends a
 * certain alert (ssl_x509err2alert in ssl/statem/statem_lib.c).
 */
export const X509Error = {
  OK: 0,
  /** alert 42, bad_certificate */
  CERT_NOT_YET_VALID: 9,
  /** alert 45, certificate_expired */
  CERT_HAS_EXPIRED: 10,
  /** alert 48, unknown_ca */
  SELF_SIGNED_CERT_IN_CHAIN: 19,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 20,
  /** alert 44, certificate_revoked */
  CERT_REVOKED: 23,
  /** alert 43, unsupported_certificate */
  INVALID_PURPOSE: 26,
  /** alert 42, bad_certificate */
  CERT_REJECTED: 28,
  UNHANDLED_CRITICAL_EXTENSION: 34,
  /** alert 40, handshake_failure */
  APPLICATION_VERIFICATION: 50,
  /** not in the table of OpenSSL: alert 46, certificate_unknown */
  SUBJECT_ISSUER_MISMATCH: 29,
} as const;
