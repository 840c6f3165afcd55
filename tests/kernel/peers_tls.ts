/**
 * A TLS peer without manners: OpenSSL's handshake over a socket of ours, any certificate, and after
 * it any record, sealed by the connection's own keys.
 *
 * It verifies nobody and has no security level: whatever a test wants to show, it shows. Invariant:
 * `outcome` tells what the other side did in the end, so no test has to guess from silence.
 *
 * @module
 */

import { AssertionError } from "node:assert/strict";
import { Buffer } from "node:buffer";
import { createCipheriv, createHmac } from "node:crypto";
import type { Socket } from "node:net";
import { openLibrary } from "@/ffi/dlopen.ts";
import { cstring, fixedBytes } from "@/ffi/memory.ts";
import { TlsCallbacks } from "@/ffi/tls/callbacks.ts";
import { alertOf, checkTls, describeFaults, drainFaults } from "@/ffi/tls/errors.ts";
import { TlsRing } from "@/ffi/tls/ring.ts";
import { libcrypto, libssl } from "@/ffi/tls/symbols.ts";
import { readCertificates } from "@/ffi/tls/trust.ts";

/** What a peer shows and asks for. */
export interface PeerOptions {
  readonly side?: "client" | "server";
  /** None: it shows no certificate. */
  readonly identity?: { readonly chainPem: string; readonly keyPem: string };
  /** A client offers them, a server chooses from them. */
  readonly protocols?: readonly string[];
  /** Makes a client resume. */
  readonly session?: Deno.PointerValue;
  /** Two servers with one key take each other's tickets: 80 bytes. */
  readonly ticketKey?: Uint8Array<ArrayBuffer>;
}

/** How a connection ended, seen from the peer. */
export interface Outcome {
  /** Number of the TLS alert that the other side sent. */
  readonly alert: number | undefined;
  readonly end: "fin" | "reset";
  /** Decrypted, all of it. */
  readonly text: string;
  /** OpenSSL's words, for messages. */
  readonly detail: string;
}

export class TlsPeer implements Disposable {
  readonly socket: Socket;
  readonly outcome: Promise<Outcome>;
  /** Of the first flight, once `handshake` has sent it. */
  helloBytes = 0;
  readonly #done = Promise.withResolvers<void>();
  readonly #ended = Promise.withResolvers<Outcome>();
  readonly #callbacks: TlsCallbacks;
  readonly #ring = new TlsRing(1 << 18);
  readonly #ssl: Deno.PointerObject;
  readonly #ctx: Deno.PointerObject;
  readonly #target = fixedBytes(1 << 14);
  readonly #secrets = new Map<string, Buffer>();
  readonly #side: "client" | "server";
  #isOpen = false;
  #alert: number | undefined;
  #detail = "";
  #text = "";
  #sequence = 0n;
  #wanted: { readonly length: number; readonly resolve: () => void } | undefined;

  /** Takes a connected or connecting socket. */
  constructor(socket: Socket, options: PeerOptions = {}) {
    this.socket = socket;
    this.#side = options.side ?? "client";
    this.outcome = this.#ended.promise;
    this.#callbacks = new TlsCallbacks({
      protocols: options.protocols ?? [],
      keylog: (line) => this.#keep(line),
    });
    this.#callbacks.checks = { judge: () => 0 };
    this.#ctx = makeContext(this.#side, options, this.#callbacks);
    this.#ssl = this.#makeConnection(options.session ?? null);
    this.#done.promise.catch(() => {});
    socket.on("data", (bytes: Buffer) => this.#receive(bytes));
    socket.on("end", () => this.#end("fin"));
    socket.on("error", () => this.#end("reset"));
    socket.on("close", () => this.#end("fin"));
  }

  /** Shakes hands as far as this side is concerned: a server may still object. */
  async handshake(): Promise<void> {
    this.#step();
    await this.#done.promise;
  }

  /** The first flight, not sent. */
  hello(): Uint8Array {
    SSL.SSL_do_handshake(this.#ssl);
    drainFaults();
    return this.#takeOutput();
  }

  get resumed(): boolean {
    return SSL.SSL_session_reused(this.#ssl) === 1;
  }

  /** Encrypts and sends; resolves when the kernel has it, and so the relay's next turn. */
  write(bytes: Uint8Array | string): Promise<void> {
    const source = typeof bytes === "string" ? new TextEncoder().encode(bytes) : bytes;
    SSL.SSL_write(this.#ssl, new Uint8Array(source), source.length);
    return written(this.socket, this.#takeOutput());
  }

  /** Ends as TLS wants it, with close_notify. */
  end(): void {
    SSL.SSL_shutdown(this.#ssl);
    this.socket.end(this.#takeOutput());
  }

  /** Resolves when `length` decrypted bytes have come in all, or the connection has ended. */
  async received(length: number): Promise<string> {
    if (this.#text.length < length) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#wanted = { length, resolve };
      await Promise.race([promise, this.outcome]);
    }
    return this.#text;
  }

  /** A record of any type and content, sealed by this side's key; OpenSSL must not write beside. */
  seal(type: number, content: Uint8Array): Uint8Array {
    const inner = Buffer.concat([content, Buffer.of(type)]);
    const header = Buffer.of(23, 3, 3, 0, 0);
    header.writeUInt16BE(inner.length + 16, 3);
    const nonce = expand(this.#secret, "iv", 12);
    nonce.writeBigUInt64BE(nonce.readBigUInt64BE(4) ^ this.#sequence++, 4);
    const cipher = createCipheriv("aes-256-gcm", expand(this.#secret, "key", 32), nonce);
    cipher.setAAD(header);
    return Buffer.concat([header, cipher.update(inner), cipher.final(), cipher.getAuthTag()]);
  }

  /** Goes over to the next key, as after a KeyUpdate of this side. */
  renewKey(): void {
    this.#secret = expand(this.#secret, "traffic upd", 48);
    this.#sequence = 0n;
  }

  /** A session to resume, with leave to send early data that nobody gave. */
  session(): { readonly pointer: Deno.PointerObject; readonly earlyBytesMax: number } {
    const pointer = checkTls(SSL.SSL_get1_session(this.#ssl), "Cannot take a session");
    return { pointer, earlyBytesMax: MORE.SSL_SESSION_get_max_early_data(pointer) };
  }

  /** The first flight of a resumption with early data behind it, not sent. */
  helloWithEarlyData(text: string): Uint8Array {
    const bytes = new TextEncoder().encode(text);
    const written = fixedBytes(8);
    const result = MORE.SSL_write_early_data(this.#ssl, bytes, BigInt(bytes.length), written);
    if (result !== 1) throw new Error(`Early data: ${describeFaults(drainFaults())}`);
    return this.#takeOutput();
  }

  /** Whether the server took the early data: 0 not sent, 1 rejected, 2 accepted. */
  get earlyDataStatus(): number {
    return MORE.SSL_get_early_data_status(this.#ssl);
  }

  [Symbol.dispose](): void {
    this.socket.destroy();
    this.#end("fin");
    SSL.SSL_free(this.#ssl);
    SSL.SSL_CTX_free(this.#ctx);
    this.#ring[Symbol.dispose]();
    this.#callbacks[Symbol.dispose]();
  }

  get #secret(): Buffer {
    const secret = this.#secrets.get(this.#side);
    if (secret === undefined) throw new Error("Cannot seal before the handshake is complete");
    return secret;
  }

  set #secret(secret: Buffer) {
    this.#secrets.set(this.#side, secret);
  }

  #makeConnection(session: Deno.PointerValue): Deno.PointerObject {
    const pointer = checkTls(SSL.SSL_new(this.#ctx), "Cannot make a TLS connection");
    libcrypto().BIO_up_ref(this.#ring.engineBio);
    SSL.SSL_set_bio(pointer, this.#ring.engineBio, this.#ring.engineBio);
    if (this.#side === "client") SSL.SSL_set_connect_state(pointer);
    else SSL.SSL_set_accept_state(pointer);
    if (session !== null) SSL.SSL_set_session(pointer, session);
    return pointer;
  }

  /** Lines of the key log: label, client random, secret. */
  #keep(line: string): void {
    const [label, , secret] = line.split(" ");
    const side = label === "CLIENT_TRAFFIC_SECRET_0"
      ? "client"
      : label === "SERVER_TRAFFIC_SECRET_0"
      ? "server"
      : undefined;
    if (side !== undefined) this.#secrets.set(side, Buffer.from(secret ?? "", "hex"));
  }

  #receive(bytes: Buffer): void {
    if (this.#isEnded) return;
    this.#ring.feed(bytes);
    if (this.#isOpen) this.#read();
    else this.#step();
  }

  #step(): void {
    const result = SSL.SSL_do_handshake(this.#ssl);
    const error = result === 1 ? 0 : SSL.SSL_get_error(this.#ssl, result);
    if (result !== 1 && error !== SSL_ERROR_WANT_READ) this.#fail();
    const output = this.#takeOutput();
    this.helloBytes ||= output.length;
    if (output.length > 0) this.socket.write(output);
    if (result !== 1) return;
    this.#isOpen = true;
    this.#done.resolve();
    this.#read();
  }

  #read(): void {
    for (;;) {
      const count = SSL.SSL_read(this.#ssl, this.#target, this.#target.length);
      if (count <= 0) {
        const error = SSL.SSL_get_error(this.#ssl, count);
        if (error !== SSL_ERROR_WANT_READ && error !== SSL_ERROR_ZERO_RETURN) this.#fail();
        break;
      }
      this.#text += Buffer.from(this.#target.subarray(0, count)).toString("latin1");
    }
    if (this.#wanted && this.#text.length >= this.#wanted.length) this.#wanted.resolve();
  }

  #fail(): void {
    const faults = drainFaults();
    this.#alert ??= alertOf(faults);
    this.#detail ||= describeFaults(faults);
    this.#done.reject(new AssertionError({ message: this.#detail }));
  }

  #takeOutput(): Uint8Array {
    const size = this.#ring.produced();
    const bytes = fixedBytes(size);
    if (size > 0) this.#ring.drain(bytes, size);
    return bytes;
  }

  #isEnded = false;

  #end(end: "fin" | "reset"): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    const message = `the connection has ended in its handshake: ${end}`;
    this.#done.reject(new AssertionError({ message }));
    this.#ended.resolve({ alert: this.#alert, end, text: this.#text, detail: this.#detail });
  }
}

/** Writes; resolves when the kernel has taken it. */
export function written(socket: Socket, bytes: Uint8Array): Promise<void> {
  return new Promise((resolve) => socket.write(bytes, () => resolve()));
}

/** A session that says of itself that early data is welcome. */
export function allowEarlyData(session: Deno.PointerObject, bytes: number): void {
  MORE.SSL_SESSION_set_max_early_data(session, bytes);
}

function makeContext(
  side: "client" | "server",
  { identity, protocols = [], ticketKey }: PeerOptions,
  callbacks: TlsCallbacks,
): Deno.PointerObject {
  const method = side === "client" ? SSL.TLS_client_method() : SSL.TLS_server_method();
  const ctx = checkTls(SSL.SSL_CTX_new(method), "Cannot make a TLS context");
  MORE.SSL_CTX_set_security_level(ctx, 0);
  SSL.SSL_CTX_set_keylog_callback(ctx, callbacks.keylog);
  SSL.SSL_CTX_set_cert_verify_callback(ctx, callbacks.verify, null);
  if (identity !== undefined) useIdentity(ctx, identity);
  if (side === "server") {
    SSL.SSL_CTX_set_alpn_select_cb(ctx, callbacks.selectProtocol, null);
    SSL.SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, null);
    SSL.SSL_CTX_set_session_id_context(ctx, new TextEncoder().encode("peer"), 4);
    // A ticket is a record under the key that `seal` uses: only who wants to resume gets one.
    SSL.SSL_CTX_set_num_tickets(ctx, ticketKey === undefined ? 0n : 1n);
    if (ticketKey !== undefined) {
      SSL.SSL_CTX_ctrl(ctx, SSL_CTRL_SET_TICKET_KEYS, BigInt(ticketKey.length), ticketKey);
    }
  } else if (protocols.length > 0) {
    const list = protocols.flatMap((name) => [name.length, ...new TextEncoder().encode(name)]);
    SSL.SSL_CTX_set_alpn_protos(ctx, Uint8Array.from(list), list.length);
  }
  return ctx;
}

function useIdentity(
  ctx: Deno.PointerObject,
  { chainPem, keyPem }: { readonly chainPem: string; readonly keyPem: string },
): void {
  const crypto = libcrypto();
  const [leaf, ...issuers] = readCertificates(chainPem);
  if (leaf === undefined) throw new Error("Cannot use an empty chain");
  SSL.SSL_CTX_use_certificate(ctx, leaf);
  for (const issuer of issuers) SSL.SSL_CTX_ctrl_pointer(ctx, SSL_CTRL_CHAIN_CERT, 1n, issuer);
  for (const certificate of [leaf, ...issuers]) crypto.X509_free(certificate);
  const pem = cstring(keyPem);
  const source = checkTls(crypto.BIO_new_mem_buf(pem, pem.length - 1), "Cannot read a key");
  const key = checkTls(crypto.PEM_read_bio_PrivateKey(source, null, null, null), "Cannot read");
  crypto.BIO_free(source);
  const isUsed = SSL.SSL_CTX_use_PrivateKey(ctx, key) === 1;
  crypto.EVP_PKEY_free(key);
  if (!isUsed) throw new Error(`Cannot use a key: ${describeFaults(drainFaults())}`);
}

/** HKDF-Expand-Label of RFC 8446 for at most one block of SHA-384, without context. */
function expand(secret: Buffer, label: string, size: number): Buffer {
  const name = Buffer.from(`tls13 ${label}`);
  const info = Buffer.concat([Buffer.of(0, size, name.length), name, Buffer.of(0, 1)]);
  return createHmac("sha384", secret).update(info).digest().subarray(0, size);
}

/** What weft itself has no use for. */
const MORE = openLibrary("libssl.so.3", {
  // void SSL_CTX_set_security_level(SSL_CTX *ctx, int level);
  SSL_CTX_set_security_level: { parameters: ["pointer", "i32"], result: "void" },
  // int SSL_SESSION_set_max_early_data(SSL_SESSION *s, uint32_t max_early_data);
  SSL_SESSION_set_max_early_data: { parameters: ["pointer", "u32"], result: "i32" },
  // uint32_t SSL_SESSION_get_max_early_data(const SSL_SESSION *s);
  SSL_SESSION_get_max_early_data: { parameters: ["pointer"], result: "u32" },
  // int SSL_write_early_data(SSL *s, const void *buf, size_t num, size_t *written);
  SSL_write_early_data: { parameters: ["pointer", "buffer", "usize", "buffer"], result: "i32" },
  // int SSL_get_early_data_status(const SSL *s);
  SSL_get_early_data_status: { parameters: ["pointer"], result: "i32" },
});
const SSL = libssl();
const SSL_ERROR_WANT_READ = 2;
const SSL_ERROR_ZERO_RETURN = 6;
const SSL_VERIFY_PEER = 1;
const SSL_CTRL_SET_TICKET_KEYS = 59;
const SSL_CTRL_CHAIN_CERT = 89;
