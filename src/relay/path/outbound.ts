/**
 * A connection that a pod of this node opens: from its acceptance to the stream that carries it.
 *
 * In: what the outbound listener accepted. Out: a stream over a tunnel, plain bytes where that is
 * the decision, or a RST to the application and an event that names the reason. Invariant: the
 * kernel has decided already, and the relay decides again by the same function from its own World;
 * what the kernel could not know yet (a peer that is not ready) waits here, for the patience
 * interval.
 *
 * @module
 */

import {
  abortOnClose,
  closeSocket,
  type Endpoint,
  peerName,
  socketName,
} from "../../../ffi/linux/socket.ts";
import { decide } from "../../compile/mod.ts";
import type { Reason } from "../../reasons.ts";
import { Waiter } from "../io/deadlines.ts";
import type { RelayPod } from "../messages.ts";
import type { LocalPod } from "../pods.ts";
import type { Live, Shop } from "../shop.ts";
import type { Credential } from "../tls/credentials.ts";
import type { Place } from "../world.ts";
import { ClientTunnel } from "./client_tunnel.ts";
import { passThrough } from "./pass_through.ts";
import { PlainSocket, type PlainUser } from "./plain_socket.ts";

/** Takes a connection from a pod's outbound listener. */
export function acceptOutbound(shop: Shop, home: LocalPod, fd: number): void {
  const source = peerName(fd);
  const own = socketName(fd);
  const row = source && own && shop.door.takeSteered(home.netnsCookie, source, own.port);
  if (source === undefined || row === undefined) {
    abortOnClose(fd);
    return closeSocket(fd); // somebody dialled the listener itself
  }
  new OutboundConnection(shop, { home, fd, source, target: row.target }).proceed();
}

/** What is fixed about one. */
export interface OutboundFacts {
  readonly home: LocalPod;
  readonly fd: number;
  readonly source: Endpoint;
  /** The backend, not the Service. */
  readonly target: Endpoint;
}

/** Where it goes, as judged by one World. */
export interface OutboundRoute {
  readonly pod: RelayPod;
  readonly place: Place;
  readonly credential: Credential;
}

/** One that has no stream yet. */
export class OutboundConnection extends Waiter implements Live, PlainUser {
  readonly facts: OutboundFacts;
  readonly app: PlainSocket;
  readonly #shop: Shop;
  #waitsFor: Reason = "peer-not-ready";
  #done = false;
  #said: Uint8Array<ArrayBuffer> | null = null;

  constructor(shop: Shop, facts: OutboundFacts) {
    super();
    this.facts = facts;
    this.#shop = shop;
    this.app = new PlainSocket(shop, facts.fd, this);
    shop.live.add(this);
    shop.reporter.count("connections_open");
  }

  /** Whether somebody else has it now, or nobody. */
  get done(): boolean {
    return this.#done;
  }

  /** What its application said into a tunnel that was at its end. Only a new one may carry it. */
  get said(): Uint8Array<ArrayBuffer> | null {
    return this.#said;
  }

  /** Judges, and goes on accordingly. */
  proceed(): void {
    const { world, credentials } = this.#shop;
    const { home, target } = this.facts;
    const pod = world.pod(home.key);
    if (pod === undefined) return this.refuse("agent-down", "the pod is not known any more");
    const place = world.place(target.address);
    const port = place.port(target.port);
    const decision = decide({ stage: "outbound", source: pod.source, ...port });
    switch (decision.verdict) {
      case "refuse":
        return this.refuse(decision.reason);
      case "wait":
        return this.#wait(decision.reason);
      case "direct":
        return this.#goDirect();
      case "relay": {
        const credential = credentials.of(world, pod);
        if (decision.reason === "peer-not-ready" || credential === undefined) {
          return this.#wait("peer-not-ready");
        }
        this.queue?.clear(this);
        ClientTunnel.carry(this.#shop, this, { pod, place, credential });
      }
    }
  }

  /** The application gets a RST, the operator an event. */
  refuse(reason: Reason, detail?: string, peerId?: string): void {
    if (this.#done) return;
    const { home, source, target } = this.facts;
    this.#shop.tell({
      stage: "outbound",
      verdict: "refuse",
      reason,
      source,
      target,
      pod: home.key,
      peerId,
      detail,
    });
    this.#close();
  }

  /** Gives the application's socket to a stream. */
  release(): PlainSocket {
    this.#leave();
    return this.app;
  }

  /** Takes the application's socket back, with what it has said, and begins again. */
  again(said: Uint8Array<ArrayBuffer>): void {
    this.#said = said;
    this.#done = false;
    this.app.user = this;
    this.#shop.live.add(this);
    this.proceed();
  }

  recheck(): void {
    if (this.queue === this.#shop.deadlines.patience) this.proceed();
  }

  stop(): void {
    this.#close();
  }

  onDeadline(): void {
    this.refuse(this.#waitsFor);
  }

  onBroken(): void {
    this.#close(); // the application has given up
  }

  onReadable(): void {}
  onDrained(): void {}
  onConnected(): void {}

  /** Until the next World, or the end of patience. */
  #wait(reason: Reason): void {
    this.#waitsFor = reason;
    const { patience } = this.#shop.deadlines;
    if (this.queue !== patience) patience.set(this, this.#shop.loop.nowMs);
  }

  #goDirect(): void {
    const { home, target } = this.facts;
    const fd = home.openSocket(target, (raw) => this.#shop.door.markOutbound(raw));
    if (fd < 0) return this.refuse("peer-not-ready", "no socket left");
    passThrough(this.#shop, this.release(), fd, target, { said: this.#said });
  }

  #close(): void {
    if (this.#done) return;
    this.#leave();
    this.app.close("abort");
    this.#shop.reporter.count("connections_open", -1);
  }

  #leave(): void {
    this.#done = true;
    this.queue?.clear(this);
    this.#shop.live.delete(this);
  }
}
