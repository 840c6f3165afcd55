/**
 * One TLS connection: an SSL object over the thread's `TlsRing`.
 *
 * In and out: ciphertext in the ring, plaintext in the caller's buffers; no descriptor, no waiting.
 * Invariant: whoever calls has put *this* connection's received bytes into the ring before, takes
 * what the call produced out of it after, and reads until nothing is left: a ring that keeps one
 * connection's bytes hands them to the next.
 *
 * @module
 */

import { fixedBytes } from "../memory.ts";
import type { HandshakeChecks, TlsCallbacks } from "./callbacks.ts";
import type { TlsContext } from "./context.ts";
import { checkTls, drainFaults, type TlsFault } from "./errors.ts";
import type { TlsRing } from "./ring.ts";
import { libcrypto, libssl } from "./symbols.ts";
import { certificateDer } from "./trust.ts";

/** What a handshake step came to. */
export type HandshakeStep = "done" | "again" | "failed";

/** Negative results of `read`. */
export const TLS_AGAIN = -1;
export const TLS_CLOSED = -2;
export const TLS_FAILED = -3;

export class TlsConnection implements Disposable {
  /** Why it failed first, once it has. */
  faults: readonly TlsFault[] = [];
  #ssl: Deno.PointerValue;

  constructor(context: TlsContext, ring: TlsRing, session?: TlsSession) {
    const ssl = libssl();
    const pointer = checkTls(ssl.SSL_new(context.pointer), "Cannot make a TLS connection");
    libcrypto().BIO_up_ref(ring.engineBio);
    ssl.SSL_set_bio(pointer, ring.engineBio, ring.engineBio);
    if (context.side === "client") ssl.SSL_set_connect_state(pointer);
    else ssl.SSL_set_accept_state(pointer);
    if (session && ssl.SSL_set_session(pointer, session.pointer) !== 1) drainFaults();
    this.#ssl = pointer;
  }

  /** Takes the handshake as far as the ring's input allows. */
  handshake(callbacks: TlsCallbacks, checks: HandshakeChecks): HandshakeStep {
    callbacks.checks = checks;
    const result = SSL.SSL_do_handshake(this.#ssl);
    callbacks.checks = null;
    if (result === 1) {
      this.#forgetKeyExchange();
      return "done";
    }
    if (SSL.SSL_get_error(this.#ssl, result) === SSL_ERROR_WANT_READ) return "again";
    this.#keepFaults();
    return "failed";
  }

  /**
   * Decrypts one record into `target`; bytes, or one of `TLS_AGAIN`, `TLS_CLOSED`, `TLS_FAILED`.
   */
  read(target: Uint8Array<ArrayBuffer>, size: number): number {
    const count = SSL.SSL_read(this.#ssl, target, size);
    if (count > 0) return count;
    const error = SSL.SSL_get_error(this.#ssl, count);
    if (error === SSL_ERROR_WANT_READ) return TLS_AGAIN;
    if (error === SSL_ERROR_ZERO_RETURN) return TLS_CLOSED;
    this.#keepFaults();
    return TLS_FAILED;
  }

  /** Encrypts `size` bytes into the ring, in as many records as it takes; false when it failed. */
  write(source: Uint8Array<ArrayBuffer>, size: number): boolean {
    if (SSL.SSL_write(this.#ssl, source, size) === size) return true;
    this.#keepFaults();
    return false;
  }

  /** Writes close_notify into the ring. */
  shutdown(): void {
    if (SSL.SSL_shutdown(this.#ssl) < 0) this.#keepFaults();
  }

  /** Whether a ClientHello has been read, or anything later of a handshake. */
  get helloSeen(): boolean {
    return SSL.SSL_get_state(this.#ssl) !== TLS_ST_BEFORE;
  }

  /** The ALPN protocol agreed on; "" without one. */
  get protocol(): string {
    const data = fixedBytes(8);
    const length = fixedBytes(4);
    SSL.SSL_get0_alpn_selected(this.#ssl, data, length);
    const size = new DataView(length.buffer).getUint32(0, true);
    const pointer = Deno.UnsafePointer.create(new DataView(data.buffer).getBigUint64(0, true));
    if (pointer === null || size === 0) return "";
    return decoder.decode(Deno.UnsafePointerView.getArrayBuffer(pointer, size));
  }

  /** Whether the handshake resumed an earlier session, and so asked nobody about a certificate. */
  get resumed(): boolean {
    return SSL.SSL_session_reused(this.#ssl) === 1;
  }

  /** The peer's leaf certificate: from the handshake, or from the session that was resumed. */
  get peerCertificate(): Uint8Array<ArrayBuffer> | undefined {
    const certificate = SSL.SSL_get0_peer_certificate(this.#ssl);
    return certificate === null ? undefined : certificateDer(certificate);
  }

  /** X509 pointers of the peer's leaf and chain, to be verified again; valid while this is. */
  get peerChain(): { leaf: Deno.PointerValue; chain: Deno.PointerValue } {
    return {
      leaf: SSL.SSL_get0_peer_certificate(this.#ssl),
      chain: SSL.SSL_get_peer_cert_chain(this.#ssl),
    };
  }

  /** Client: a session to resume, once the server has sent its ticket. */
  takeSession(): TlsSession | undefined {
    const pointer = SSL.SSL_get1_session(this.#ssl);
    if (pointer === null) return undefined;
    const session = new TlsSession(pointer);
    if (SSL.SSL_SESSION_is_resumable(pointer) === 1) return session;
    session[Symbol.dispose]();
    return undefined;
  }

  [Symbol.dispose](): void {
    if (this.#ssl === null) return;
    SSL.SSL_free(this.#ssl);
    this.#ssl = null;
  }

  /**
   * The ephemeral keys have done their work, and OpenSSL would keep them as long as the connection:
   * 8 KiB of ML-KEM for a client, 6 KiB for a server. Giving a key another type frees what is in
   * it.
   */
  #forgetKeyExchange(): void {
    for (const command of [SSL_CTRL_GET_TMP_KEY, SSL_CTRL_GET_PEER_TMP_KEY]) {
      if (SSL.SSL_ctrl(this.#ssl, command, 0n, keySlot) !== 1n) continue;
      const key = Deno.UnsafePointer.create(keySlotView.getBigUint64(0, true));
      libcrypto().EVP_PKEY_set_type(key, EVP_PKEY_X25519);
      libcrypto().EVP_PKEY_free(key);
    }
  }

  /** Empties the queue; what comes after the first failure only repeats it. */
  #keepFaults(): void {
    const faults = drainFaults();
    if (this.faults.length === 0) this.faults = faults;
  }
}

/** What a client needs to resume. */
export class TlsSession implements Disposable {
  readonly pointer: Deno.PointerObject;

  constructor(pointer: Deno.PointerObject) {
    this.pointer = pointer;
  }

  [Symbol.dispose](): void {
    libssl().SSL_SESSION_free(this.pointer);
  }
}

/** Bound once: the hot path calls them for every record. */
const SSL = libssl();
const keySlot = fixedBytes(8);
const keySlotView = new DataView(keySlot.buffer);
const SSL_CTRL_GET_TMP_KEY = 133;
const SSL_CTRL_GET_PEER_TMP_KEY = 109;
const EVP_PKEY_X25519 = 1034;
const SSL_ERROR_WANT_READ = 2;
const SSL_ERROR_ZERO_RETURN = 6;
const TLS_ST_BEFORE = 0;
const decoder = new TextDecoder();
