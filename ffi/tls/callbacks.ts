/**
 * The functions that OpenSSL calls back: whose certificate is this, which protocol, here is a
 * secret.
 *
 * In: TypeScript functions. Out: C function pointers for `TlsContext`s of this thread. Invariant:
 * they run inside `TlsConnection.handshake`, on the same thread, so "the handshake in progress" is
 * one variable; and nothing thrown by TypeScript crosses C: an exception refuses the certificate.
 *
 * @module
 */

import { readCstring } from "../memory.ts";
import { libcrypto } from "./symbols.ts";
import { certificateDer, X509Error } from "./trust.ts";

/** What is asked about the peer of the handshake in progress. */
export interface HandshakeChecks {
  /**
   * Judges the leaf that the peer showed. `chainError` is OpenSSL's own opinion of its chain, an
   * X509_V_* number; where it is zero, `issuers` are the certificates between leaf and root.
   * Returns the number that decides, and that chooses the alert: zero accepts.
   */
  judge(
    leafDer: Uint8Array<ArrayBuffer>,
    chainError: number,
    issuers: readonly Uint8Array<ArrayBuffer>[],
  ): number;
}

export interface TlsCallbackOptions {
  /** What a server chooses from, best first; without overlap a connection has no protocol. */
  readonly protocols: readonly string[];
  /** Takes one line of the key log. For debugging: its reader reads the traffic. */
  readonly keylog?: (line: string) => void;
}

export class TlsCallbacks implements Disposable {
  /** Of the handshake in progress; without one every certificate is refused. */
  checks: HandshakeChecks | null = null;
  readonly #verify: Deno.UnsafeCallback<typeof VERIFY>;
  readonly #select: Deno.UnsafeCallback<typeof SELECT>;
  readonly #keylog: Deno.UnsafeCallback<typeof KEYLOG> | undefined;

  constructor(options: TlsCallbackOptions) {
    const encoder = new TextEncoder();
    const wanted = options.protocols.map((name) => encoder.encode(name));
    this.#verify = new Deno.UnsafeCallback(VERIFY, (context) => this.#judge(context));
    this.#select = new Deno.UnsafeCallback(
      SELECT,
      (_ssl, out, outLength, list, length) => selectProtocol(wanted, out, outLength, list, length),
    );
    const keylog = options.keylog;
    if (keylog) {
      this.#keylog = new Deno.UnsafeCallback(KEYLOG, (_ssl, line) => keylog(readCstring(line)));
    }
  }

  get verify(): Deno.PointerObject {
    return this.#verify.pointer;
  }

  get selectProtocol(): Deno.PointerObject {
    return this.#select.pointer;
  }

  get keylog(): Deno.PointerObject | null {
    return this.#keylog?.pointer ?? null;
  }

  [Symbol.dispose](): void {
    this.#verify.close();
    this.#select.close();
    this.#keylog?.close();
  }

  #judge(context: Deno.PointerValue): number {
    const crypto = libcrypto();
    let error: number = X509Error.APPLICATION_VERIFICATION;
    try {
      const chainOk = crypto.X509_verify_cert(context) === 1;
      const chainError = chainOk ? X509Error.OK : crypto.X509_STORE_CTX_get_error(context);
      const leaf = crypto.X509_STORE_CTX_get0_cert(context);
      if (leaf !== null && this.checks !== null) {
        const issuers = chainOk ? intermediatesOf(context) : [];
        error = this.checks.judge(certificateDer(leaf), chainError, issuers);
      }
    } catch {
      error = X509Error.APPLICATION_VERIFICATION;
    }
    crypto.X509_STORE_CTX_set_error(context, error);
    return error === X509Error.OK ? 1 : 0;
  }
}

/** What stands between the leaf and the root, of a chain that was found good. */
function intermediatesOf(context: Deno.PointerValue): Uint8Array<ArrayBuffer>[] {
  const crypto = libcrypto();
  const chain = crypto.X509_STORE_CTX_get0_chain(context);
  const ders: Uint8Array<ArrayBuffer>[] = [];
  for (let i = 1; i < crypto.OPENSSL_sk_num(chain) - 1; i++) {
    const issuer = crypto.OPENSSL_sk_value(chain, i);
    if (issuer !== null) ders.push(certificateDer(issuer));
  }
  return ders;
}

const VERIFY = { parameters: ["pointer", "pointer"], result: "i32" } as const;
const SELECT = {
  parameters: ["pointer", "pointer", "pointer", "pointer", "u32", "pointer"],
  result: "i32",
} as const;
const KEYLOG = { parameters: ["pointer", "pointer"], result: "void" } as const;

const SSL_TLSEXT_ERR_OK = 0;
const SSL_TLSEXT_ERR_NOACK = 3;

/** Writes the client's own copy of the name to `out`: it outlives the call, ours may not. */
function selectProtocol(
  wanted: readonly Uint8Array[],
  out: Deno.PointerValue,
  outLength: Deno.PointerValue,
  list: Deno.PointerValue,
  length: number,
): number {
  if (out === null || outLength === null || list === null) return SSL_TLSEXT_ERR_NOACK;
  const offered = new Uint8Array(Deno.UnsafePointerView.getArrayBuffer(list, length));
  for (const name of wanted) {
    for (let at = 0; at < length; at += 1 + (offered[at] ?? 0)) {
      const size = offered[at] ?? 0;
      if (size !== name.length || !name.every((byte, i) => offered[at + 1 + i] === byte)) continue;
      const address = BigInt(Deno.UnsafePointer.value(list)) + BigInt(at + 1);
      new DataView(Deno.UnsafePointerView.getArrayBuffer(out, 8)).setBigUint64(0, address, true);
      new Uint8Array(Deno.UnsafePointerView.getArrayBuffer(outLength, 1))[0] = size;
      return SSL_TLSEXT_ERR_OK;
    }
  }
  return SSL_TLSEXT_ERR_NOACK;
}
