/**
 * Two plain sockets, joined: where the decision is "directly", but the relay has the connection.
 *
 * In: an accepted socket and one that is connecting. Out: nothing but their bytes, half-closes and
 * resets. Invariant: as in a stream, a side that does not take its bytes stops the other's reading.
 *
 * @module
 */

import { Errno } from "../../../ffi/errno.ts";
import { connect, type Endpoint } from "../../../ffi/linux/socket.ts";
import { READ_BYTES } from "../io/workspace.ts";
import type { Live, Shop } from "../shop.ts";
import { type InboundFacts, plaintextFault, refuseInbound } from "./inbound.ts";
import { PlainSocket, type PlainUser } from "./plain_socket.ts";

/**
 * Joins `accepted` with a connection from `fd` to `target`; `facts` of one that comes to a pod, and
 * what has been read from `accepted` before.
 */
export function passThrough(
  shop: Shop,
  accepted: PlainSocket,
  fd: number,
  target: Endpoint,
  { facts, said = null }: {
    readonly facts?: InboundFacts;
    readonly said?: Uint8Array<ArrayBuffer> | null;
  },
): void {
  const pair = new Pair(shop, facts);
  connect(fd, target);
  const opened = new PlainSocket(shop, fd, pair.first, target);
  pair.join(opened, accepted);
  if (said !== null && said.length > 0) opened.deliver(said, 0, said.length);
  opened.checkConnected();
}

/** Both directions. */
export class Pair implements Live {
  readonly first: Half;
  readonly second: Half;
  readonly #shop: Shop;
  readonly #facts: InboundFacts | undefined;
  #over = false;

  constructor(shop: Shop, facts: InboundFacts | undefined) {
    this.#shop = shop;
    this.#facts = facts;
    this.first = new Half(this, shop);
    this.second = new Half(this, shop);
    shop.live.add(this);
  }

  join(first: PlainSocket, second: PlainSocket): void {
    this.first.attach(first, second);
    this.second.attach(second, first);
  }

  /** Both sockets read from now on. */
  start(): void {
    this.first.socket?.resume();
    this.second.socket?.resume();
  }

  finish(): void {
    if (this.first.ended && this.second.ended) this.#close("close");
  }

  abort(): void {
    this.#close("abort");
  }

  /**
   * The guard knows only that a relay has the connection, so a plan that takes plaintext back must
   * be obeyed here. What a local pod opens is judged where it goes.
   */
  recheck(): void {
    if (this.#facts === undefined || this.#over) return;
    const fault = plaintextFault(this.#shop, this.#facts);
    if (fault === undefined) return;
    refuseInbound(this.#shop, this.#facts, "cut", fault);
    this.abort();
  }

  stop(): void {
    this.#close("abort");
  }

  #close(how: "close" | "abort"): void {
    if (this.#over) return;
    this.#over = true;
    this.first.socket?.close(how);
    this.second.socket?.close(how);
    this.#shop.live.delete(this);
    this.#shop.reporter.count("connections_open", -1);
  }
}

/** From one socket to the other. */
class Half implements PlainUser {
  socket: PlainSocket | null = null;
  ended = false;
  readonly #pair: Pair;
  readonly #shop: Shop;
  #other: PlainSocket | null = null;
  #received = false;

  constructor(pair: Pair, shop: Shop) {
    this.#pair = pair;
    this.#shop = shop;
  }

  attach(socket: PlainSocket, other: PlainSocket): void {
    this.socket = socket;
    this.#other = other;
    socket.user = this;
  }

  onConnected(errno: number): void {
    if (errno === 0) this.#pair.start();
    else this.#pair.abort();
  }

  onReadable(): void {
    const [socket, other] = [this.socket, this.#other];
    if (socket === null || other === null || this.#received) return;
    const { down } = this.#shop.space;
    const count = socket.receive(down, READ_BYTES);
    if (count > 0) {
      other.deliver(down, 0, count);
      if (other.stalled) socket.pause();
    } else if (count === 0) this.#end(socket, other);
    else if (count !== -Errno.EAGAIN) this.#pair.abort();
  }

  /** This socket has sent its backlog: the other may read again. */
  onDrained(): void {
    const other = this.#other;
    if (other === null) return;
    const half = this.#pair.first === this ? this.#pair.second : this.#pair.first;
    half.onOtherDrained();
  }

  onOtherDrained(): void {
    if (this.#received) {
      this.ended = true;
      this.#pair.finish();
    } else this.socket?.resume();
  }

  onBroken(): void {
    this.#pair.abort();
  }

  #end(socket: PlainSocket, other: PlainSocket): void {
    this.#received = true;
    socket.pause();
    other.end();
    if (other.stalled) return; // ended by onOtherDrained
    this.ended = true;
    this.#pair.finish();
  }
}
