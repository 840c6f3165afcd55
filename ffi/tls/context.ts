/**
 * One side's TLS settings: an SSL_CTX with the certificate that it shows and the checks that it
 * makes.
 *
 * In: chain and key as PEM, the roots, and two functions that OpenSSL calls during a handshake.
 * Out: a context for any number of `TlsConnection`s. Invariant: TLS 1.3 only, the peer must show a
 * certificate, and a handshake succeeds only if OpenSSL accepted the chain *and* `judge` returned
 * zero. The judgement is made inside the handshake, not after it, because only there does OpenSSL
 * still send the alert that names what was wrong.
 *
 * @module
 */

import { cstring } from "../memory.ts";
import type { TlsCallbacks } from "./callbacks.ts";
import { checkTls, TlsError } from "./errors.ts";
import { libcrypto, libssl } from "./symbols.ts";
import { readCertificates, type TrustStore } from "./trust.ts";

export interface TlsContextOptions {
  readonly side: "client" | "server";
  readonly chainPem: string;
  readonly keyPem: string;
  readonly roots: TrustStore;
  /** Client: what is offered. (A server chooses in `TlsCallbacks`.) */
  readonly protocols?: readonly string[];
  /** Server: 80 bytes from which tickets are made; those of another key are no use here. */
  readonly ticketKey?: Uint8Array<ArrayBuffer>;
  readonly sessionSeconds: number;
}

export class TlsContext implements Disposable {
  readonly side: "client" | "server";
  #pointer: Deno.PointerObject | null;

  /** `callbacks` must live at least as long as any connection of the context. */
  constructor(options: TlsContextOptions, callbacks: TlsCallbacks) {
    const ssl = libssl();
    const method = options.side === "client" ? ssl.TLS_client_method() : ssl.TLS_server_method();
    this.#pointer = checkTls(ssl.SSL_CTX_new(method), "Cannot make a TLS context");
    this.side = options.side;
    try {
      this.#configure(options, callbacks);
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  /** For OpenSSL. Whoever kept the context too long gets an error, never freed memory. */
  get pointer(): Deno.PointerObject {
    if (this.#pointer === null) throw new TlsError("Cannot use a TLS context: it is disposed of");
    return this.#pointer;
  }

  /** Connections that exist go on: each holds a reference of its own. */
  [Symbol.dispose](): void {
    if (this.#pointer === null) return;
    libssl().SSL_CTX_free(this.#pointer);
    this.#pointer = null;
  }

  #configure(options: TlsContextOptions, callbacks: TlsCallbacks): void {
    const ssl = libssl();
    this.#control(SSL_CTRL_SET_MIN_PROTO_VERSION, TLS1_3_VERSION);
    this.#control(SSL_CTRL_MODE, MODES);
    ssl.SSL_CTX_set_options(this.pointer, OPTIONS);
    // The relay keeps sessions itself, and tickets carry the server's state.
    this.#control(SSL_CTRL_SET_SESS_CACHE_MODE, SESS_CACHE_OFF);
    if (this.#control(SSL_CTRL_SET_GROUPS_LIST, 0, cstring(GROUPS)) !== 1) {
      throw new TlsError(`Cannot use the key exchange groups "${GROUPS}"`);
    }
    this.#useCertificate(options.chainPem, options.keyPem);
    ssl.SSL_CTX_set1_cert_store(this.pointer, options.roots.pointer);
    ssl.SSL_CTX_set_verify(this.pointer, VERIFY_PEER_OR_FAIL, null);
    ssl.SSL_CTX_set_verify_depth(this.pointer, CHAIN_DEPTH_MAX);
    ssl.SSL_CTX_set_cert_verify_callback(this.pointer, callbacks.verify, null);
    ssl.SSL_CTX_set_timeout(this.pointer, BigInt(options.sessionSeconds));
    if (callbacks.keylog !== null) ssl.SSL_CTX_set_keylog_callback(this.pointer, callbacks.keylog);
    if (options.side === "client") this.#offer(options.protocols ?? []);
    else this.#serve(options, callbacks);
  }

  #offer(protocols: readonly string[]): void {
    const ssl = libssl();
    const list = protocolList(protocols);
    if (ssl.SSL_CTX_set_alpn_protos(this.pointer, list, list.length) !== 0) {
      throw new TlsError("Cannot offer protocols");
    }
  }

  #serve(options: TlsContextOptions, callbacks: TlsCallbacks): void {
    const ssl = libssl();
    ssl.SSL_CTX_set_num_tickets(this.pointer, 1n);
    ssl.SSL_CTX_set_session_id_context(this.pointer, SESSION_CONTEXT, SESSION_CONTEXT.length);
    ssl.SSL_CTX_set_alpn_select_cb(this.pointer, callbacks.selectProtocol, null);
    const key = options.ticketKey;
    if (key !== undefined && this.#control(SSL_CTRL_SET_TICKET_KEYS, key.length, key) !== 1) {
      throw new TlsError("Cannot set the ticket key");
    }
  }

  #useCertificate(chainPem: string, keyPem: string): void {
    const ssl = libssl();
    const crypto = libcrypto();
    const [leaf, ...issuers] = readCertificates(chainPem);
    if (leaf === undefined) throw new TlsError("Cannot use a certificate chain: it is empty", []);
    let ok = ssl.SSL_CTX_use_certificate(this.pointer, leaf) === 1;
    for (const issuer of issuers) {
      ok &&= ssl.SSL_CTX_ctrl_pointer(this.pointer, SSL_CTRL_CHAIN_CERT, 1n, issuer) === 1n;
    }
    for (const certificate of [leaf, ...issuers]) crypto.X509_free(certificate);
    if (!ok) throw new TlsError("Cannot use a certificate chain");
    const key = readPrivateKey(keyPem);
    ok = ssl.SSL_CTX_use_PrivateKey(this.pointer, key) === 1;
    crypto.EVP_PKEY_free(key);
    if (!ok || ssl.SSL_CTX_check_private_key(this.pointer) !== 1) {
      throw new TlsError("Cannot use a private key with its certificate");
    }
  }

  #control(
    command: number,
    number: number,
    argument: Uint8Array<ArrayBuffer> | null = null,
  ): number {
    return Number(libssl().SSL_CTX_ctrl(this.pointer, command, BigInt(number), argument));
  }
}

/** X25519 alone for those who lack the hybrid with ML-KEM. */
const GROUPS = "X25519MLKEM768:X25519";
/** Intermediates between leaf and root: one node issuer, and one above it at most. */
const CHAIN_DEPTH_MAX = 3;
const SESSION_CONTEXT = new TextEncoder().encode("weft");

const TLS1_3_VERSION = 0x0304;
/** SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT */
const VERIFY_PEER_OR_FAIL = 3;
/** SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS */
const MODES = 0x2 | 0x10;
/**
 * SSL_OP_NO_TX_CERTIFICATE_COMPRESSION | SSL_OP_NO_RX_CERTIFICATE_COMPRESSION: a chain of ours is
 * a kilobyte, and whoever inflates what strangers send does their work.
 */
const OPTIONS = 1n << 32n | 1n << 33n;
const SESS_CACHE_OFF = 0;
const SSL_CTRL_MODE = 33;
const SSL_CTRL_SET_SESS_CACHE_MODE = 44;
const SSL_CTRL_SET_TICKET_KEYS = 59;
const SSL_CTRL_CHAIN_CERT = 89;
const SSL_CTRL_SET_GROUPS_LIST = 92;
const SSL_CTRL_SET_MIN_PROTO_VERSION = 123;

/** ALPN's wire form: each name behind its length. */
function protocolList(protocols: readonly string[]): Uint8Array<ArrayBuffer> {
  const encoder = new TextEncoder();
  return Uint8Array.from(protocols.flatMap((name) => [name.length, ...encoder.encode(name)]));
}

function readPrivateKey(pem: string): Deno.PointerObject {
  const crypto = libcrypto();
  const bytes = cstring(pem);
  const source = checkTls(crypto.BIO_new_mem_buf(bytes, bytes.length - 1), "Cannot read a key");
  const key = crypto.PEM_read_bio_PrivateKey(source, null, null, null);
  crypto.BIO_free(source);
  bytes.fill(0);
  return checkTls(key, "Cannot read a private key");
}
