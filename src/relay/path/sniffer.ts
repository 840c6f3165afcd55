/**
 * A connection to a PERMISSIVE port, until it is clear what it is.
 *
 * In: an accepted connection. Out: a `ServerTunnel` if it begins with a relay's ClientHello, else a
 * `Pair` of plain sockets, with every byte that has come. Invariant: the application's connection
 * is opened at once and nobody waits for the other to speak: once the application has, or when the
 * client's first bytes are not a relay's, or after ten seconds, it is plaintext for good. Only
 * from a pod in the mesh, whose relay is about to begin its handshake, an application's greeting
 * is held back for two seconds: sent before, it would be in clear, and break that handshake.
 *
 * @module
 */

import { Errno } from "../../../ffi/errno.ts";
import { Waiter } from "../io/deadlines.ts";
import type { Live, Shop } from "../shop.ts";
import { CLIENT_HELLO_BYTES_MAX, guessClient } from "./client_hello.ts";
import {
  type InboundFacts,
  openApplication,
  plaintextFault,
  refuseInbound,
  sourceOf,
} from "./inbound.ts";
import { Pair } from "./pass_through.ts";
import { PlainSocket, type PlainUser } from "./plain_socket.ts";
import { ServerTunnel } from "./server_tunnel.ts";

export class Sniffer extends Waiter implements Live {
  readonly #shop: Shop;
  readonly #facts: InboundFacts;
  readonly #client: PlainSocket;
  readonly #app: PlainSocket | null;
  /** Among those of whom nothing is known yet. */
  readonly #place: Disposable;
  #seen = new Uint8Array(0);
  #done = false;

  constructor(shop: Shop, facts: InboundFacts, fd: number) {
    super();
    this.#shop = shop;
    this.#facts = facts;
    this.#place = shop.handshakes.enter(sourceOf(shop, facts));
    this.#client = new PlainSocket(shop, fd, this.#clientUser());
    this.#app = openApplication(shop, facts, facts.remote.port, this.#appUser()) ?? null;
    shop.live.add(this);
    if (this.#app === null || this.#app.connectErrno !== 0) this.#fail();
    else this.#begin(this.#app);
  }

  onDeadline(): void {
    this.#becomePlain();
  }

  /** A port that has become STRICT meanwhile may still be reached, by a relay. */
  recheck(): void {
    if (this.#shop.world.pod(this.#facts.home.key) === undefined) this.#fail();
  }

  stop(): void {
    this.#fail();
  }

  #begin(app: PlainSocket): void {
    this.#client.resume();
    app.resume();
    this.#shop.deadlines.sniff.set(this, this.#shop.loop.nowMs);
  }

  #clientUser(): PlainUser {
    return {
      onReadable: () => this.#onClient(),
      onBroken: () => this.#fail(),
      onConnected: () => {},
      onDrained: () => {},
    };
  }

  #appUser(): PlainUser {
    return {
      onReadable: () => this.#onApplication(),
      onBroken: () => this.#fail(),
      onConnected: (errno) => errno !== 0 && this.#fail(),
      onDrained: () => {},
    };
  }

  #onClient(): void {
    const { down } = this.#shop.space;
    const count = this.#client.receive(down, CLIENT_HELLO_BYTES_MAX - this.#seen.length);
    if (count === -Errno.EAGAIN) return;
    if (count < 0) return this.#fail();
    if (count === 0) return this.#becomePlain(); // the pair reads the end once more
    const seen = new Uint8Array(this.#seen.length + count);
    seen.set(this.#seen);
    seen.set(down.subarray(0, count), this.#seen.length);
    this.#seen = seen;
    const guess = guessClient(seen);
    if (guess === "other") this.#becomePlain();
    else if (guess === "relay") this.#becomeTunnel();
  }

  /** The application has spoken first, or has ended: no handshake of ours, unless one is due. */
  #onApplication(): void {
    if (!this.#isFromMesh) return this.#becomePlain();
    this.#app?.pause();
    this.#shop.deadlines.greeting.set(this, this.#shop.loop.nowMs);
  }

  get #isFromMesh(): boolean {
    return this.#shop.world.place(this.#facts.remote.address).source === "mesh";
  }

  /** The credential is the one of now: that of the beginning may be gone with its certificate. */
  #becomeTunnel(): void {
    const app = this.#app;
    if (app === null || this.#done) return;
    const { world, credentials } = this.#shop;
    const pod = world.pod(this.#facts.home.key);
    const credential = pod && credentials.of(world, pod);
    if (credential === undefined) {
      refuseInbound(this.#shop, this.#facts, "refuse", "agent-down");
      return this.#fail();
    }
    this.#leave();
    app.pause();
    const fd = this.#client.surrender();
    new ServerTunnel(this.#shop, this.#facts, fd, credential, app).begin(this.#seen);
  }

  #becomePlain(): void {
    const app = this.#app;
    if (app === null || this.#done) return;
    const fault = plaintextFault(this.#shop, this.#facts);
    if (fault !== undefined) {
      refuseInbound(this.#shop, this.#facts, "refuse", fault);
      return this.#fail();
    }
    this.#leave();
    this.#shop.reporter.count("connections_open");
    if (this.#isFromMesh) this.#shop.reporter.count("plaintext_from_mesh");
    const pair = new Pair(this.#shop, this.#facts);
    pair.join(this.#client, app);
    if (this.#seen.length > 0) app.deliver(this.#seen, 0, this.#seen.length);
    pair.start();
  }

  #fail(): void {
    if (this.#done) return;
    this.#leave();
    this.#client.close("abort");
    this.#app?.close("abort");
  }

  #leave(): void {
    this.#done = true;
    this.#place[Symbol.dispose]();
    this.queue?.clear(this);
    this.#shop.live.delete(this);
  }
}
