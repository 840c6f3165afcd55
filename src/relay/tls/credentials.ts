/**
 * What each pod shows in a handshake: a pair of TLS contexts per pod, and sessions to resume.
 *
 * In: snapshots. Out: `TlsContext`s, made when first needed. Invariant: a context, and with it
 * every ticket that it made or will accept, belongs to one certificate, one bundle and one policy
 * of its pod; when any of them changes, a new pair takes its place and no older session resumes.
 * Live connections keep the old context alive by themselves.
 *
 * @module
 */

import { createHmac } from "node:crypto";
import type { TlsCallbacks } from "../../../ffi/tls/callbacks.ts";
import type { TlsSession } from "../../../ffi/tls/connection.ts";
import { TlsContext } from "../../../ffi/tls/context.ts";
import { TrustStore } from "../../../ffi/tls/trust.ts";
import { parseAddress } from "../../model/mod.ts";
import type { RelayPod, RelaySvid } from "../messages.ts";
import { digest, type World } from "../world.ts";

/** How long a session may be resumed; a certificate that expires before ends it earlier. */
const SESSION_SECONDS = 600;
/** Sessions kept per worker. */
const SESSIONS_MAX = 4096;

export const PROTOCOL = "weft/1";
/** What a server chooses from; clients that bring their own certificate speak HTTP. */
export const SERVER_PROTOCOLS = [PROTOCOL, "http/1.1"] as const;

/** The contexts of one pod. */
export interface Credential {
  readonly fingerprint: string;
  readonly client: TlsContext;
  readonly server: TlsContext;
}

export class Credentials implements Disposable {
  readonly #callbacks: TlsCallbacks;
  readonly #ticketSecret: Uint8Array;
  readonly #pods = new Map<string, Credential>();
  readonly #sessions = new Map<string, TlsSession>();
  #roots: TrustStore = new TrustStore("");
  #bundlePem = "";

  constructor(callbacks: TlsCallbacks, ticketSecret: Uint8Array) {
    this.#callbacks = callbacks;
    this.#ticketSecret = ticketSecret;
  }

  /** The roots that are trusted now. */
  get roots(): TrustStore {
    return this.#roots;
  }

  /** Forgets what a new World has made stale. */
  update(world: World): void {
    if (world.snapshot.bundlePem !== this.#bundlePem) {
      const roots = new TrustStore(world.snapshot.bundlePem);
      this.#roots[Symbol.dispose](); // not before there are others
      this.#roots = roots;
      this.#bundlePem = world.snapshot.bundlePem;
    }
    for (const [key, credential] of this.#pods) {
      const pod = world.pod(key);
      if (pod && fingerprintOf(world, pod) === credential.fingerprint) continue;
      this.#pods.delete(key);
      credential.client[Symbol.dispose]();
      credential.server[Symbol.dispose]();
    }
  }

  /** The contexts of a pod that has a certificate. */
  of(world: World, pod: RelayPod): Credential | undefined {
    if (pod.svid === undefined) return undefined;
    const known = this.#pods.get(pod.key);
    if (known !== undefined) return known;
    const credential = this.#make(pod.svid, fingerprintOf(world, pod));
    this.#pods.set(pod.key, credential);
    return credential;
  }

  /** Takes a session for `key`: each ticket is used once, as RFC 8446 advises. */
  takeSession(key: string): TlsSession | undefined {
    const session = this.#sessions.get(key);
    this.#sessions.delete(key);
    return session;
  }

  /** Keeps a session for the next handshake with the same `key`. */
  keepSession(key: string, session: TlsSession): void {
    this.takeSession(key)?.[Symbol.dispose]();
    this.#sessions.set(key, session);
    if (this.#sessions.size <= SESSIONS_MAX) return;
    for (const oldest of this.#sessions.keys()) {
      this.takeSession(oldest)?.[Symbol.dispose]();
      break;
    }
  }

  [Symbol.dispose](): void {
    for (const { client, server } of this.#pods.values()) {
      client[Symbol.dispose]();
      server[Symbol.dispose]();
    }
    for (const session of this.#sessions.values()) session[Symbol.dispose]();
    this.#pods.clear();
    this.#sessions.clear();
    this.#roots[Symbol.dispose]();
  }

  #make(svid: RelaySvid, fingerprint: string): Credential {
    const common = {
      chainPem: svid.chainPem,
      keyPem: svid.keyPem,
      roots: this.#roots,
      sessionSeconds: SESSION_SECONDS,
    };
    const client = new TlsContext(
      { ...common, side: "client", protocols: [PROTOCOL] },
      this.#callbacks,
    );
    const ticketKey = deriveTicketKey(this.#ticketSecret, fingerprint);
    const server = new TlsContext({ ...common, side: "server", ticketKey }, this.#callbacks);
    return { fingerprint, client, server };
  }
}

/** Everything that a session of this pod depends on. */
function fingerprintOf(world: World, pod: RelayPod): string {
  const policy = pod.addresses.map((address) => {
    const bytes = parseAddress(address);
    return bytes === undefined ? "" : world.place(bytes).fingerprint;
  });
  const { trustDomain, bundlePem } = world.snapshot;
  return digest(JSON.stringify([pod.key, pod.svid?.chainPem, trustDomain, bundlePem, policy]));
}

/** 80 bytes, the same in every worker, of no use for anything but this fingerprint. */
function deriveTicketKey(secret: Uint8Array, fingerprint: string): Uint8Array<ArrayBuffer> {
  const key = new Uint8Array(128);
  for (const half of [0, 1]) {
    const digest = createHmac("sha512", secret).update(`${half} ${fingerprint}`).digest();
    key.set(digest, half * 64);
  }
  return key.slice(0, 80);
}
