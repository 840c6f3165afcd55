/**
 * The socket that carries TLS: ciphertext in and out, plaintext to and from its user.
 *
 * In: a connected or connecting socket and a `TlsConnection`. Out: calls to a `TunnelUser`.
 * Invariant: when a call of this class returns to the loop, the worker's ring is empty: input has
 * been decrypted to the last byte, output has been sent or moved to this tunnel's backlog. One
 * `receive` a turn: the loop is level-triggered and comes back, and others get their turn.
 *
 * @module
 */

import { Errno, errnoName } from "../../../ffi/errno.ts";
import { EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT } from "../../../ffi/linux/epoll.ts";
import {
  abortOnClose,
  receiveInto,
  sendFrom,
  setOption,
  SocketOption,
} from "../../../ffi/linux/socket.ts";
import type { HandshakeChecks, TlsCallbacks } from "../../../ffi/tls/callbacks.ts";
import { TLS_AGAIN, TLS_CLOSED, type TlsConnection } from "../../../ffi/tls/connection.ts";
import { alertOf, describeFaults } from "../../../ffi/tls/errors.ts";
import { BARREN_BYTES_MAX } from "../../limits.ts";
import type { Handler, Loop } from "../io/loop.ts";
import { Watch } from "../io/watch.ts";
import { type Backlog, RECEIVE_BYTES, RECORD_BYTES, type Workspace } from "../io/workspace.ts";

/** What a tunnel tells its user. After a call the user may have closed the tunnel. */
export interface TunnelUser extends HandshakeChecks {
  /** The handshake is complete, for this side. */
  onHandshake(): void;
  /**
   * The handshake broke; an alert that says why has been sent, if it was this side that broke it.
   */
  onHandshakeFailed(): void;
  /** Decrypted bytes; only now. */
  onPlaintext(bytes: Uint8Array<ArrayBuffer>, size: number): void;
  /** The peer has ended its direction with close_notify. */
  onEnd(): void;
  /** The peer talks and says nothing: KeyUpdate after KeyUpdate, ticket after ticket. */
  onMalformed(detail: string): void;
  /** The socket or TLS is beyond use. */
  onBroken(detail: string, errno?: number): void;
  /** Everything that was written has been sent. */
  onDrained(): void;
}

/** What tunnels share in one worker. */
export interface TunnelShop {
  readonly loop: Loop;
  readonly space: Workspace;
  readonly callbacks: TlsCallbacks;
}

type Phase = "connecting" | "handshake" | "open" | "draining" | "closed";

export class Tunnel implements Handler {
  readonly fd: number;
  readonly tls: TlsConnection;
  readonly #shop: TunnelShop;
  readonly #user: TunnelUser;
  readonly #watch: Watch;
  #phase: Phase;
  #backlog: Backlog | null = null;
  #paused = false;
  /** Bytes received so far. */
  received = 0;
  #firstByte = -1;
  /** Bytes received since something was in them for the user. */
  #barren = 0;

  constructor(
    shop: TunnelShop,
    socket: { readonly fd: number; readonly connected: boolean },
    tls: TlsConnection,
    user: TunnelUser,
  ) {
    this.#shop = shop;
    this.fd = socket.fd;
    this.tls = tls;
    this.#user = user;
    this.#phase = socket.connected ? "handshake" : "connecting";
    this.#watch = new Watch(shop.loop, this.fd, this, socket.connected ? EPOLLIN : EPOLLOUT);
  }

  /** Whether written bytes are waiting to be sent: write no more until `onDrained`. */
  get stalled(): boolean {
    return this.#backlog !== null;
  }

  /** The first byte that came, or -1: 22 is a TLS handshake record. */
  get firstByte(): number {
    return this.#firstByte;
  }

  /** Why a handshake failed, as far as the peer has said it. */
  describeFailure(): string {
    if (this.#firstByte >= 0 && !isRecordType(this.#firstByte)) {
      return "the peer answered in plaintext: its node may have another mode for it";
    }
    const alert = alertOf(this.tls.faults);
    return alert === undefined ? describeFaults(this.tls.faults) : `the peer sent alert ${alert}`;
  }

  /** Whether its user is done with it. */
  get closed(): boolean {
    return this.#phase === "closed" || this.#phase === "draining";
  }

  onReady(events: number): void {
    if (this.#phase === "connecting") return this.#onConnected();
    if (this.#phase === "draining") return this.#drain(events);
    if ((events & EPOLLOUT) !== 0) this.#sendBacklog();
    if (this.closed) return;
    if ((events & EPOLLIN) !== 0 && !this.#paused) return this.#receive();
    if ((events & EPOLLERR) !== 0) return this.#user.onBroken("connection error");
    if ((events & EPOLLHUP) !== 0) {
      if (this.#paused) this.#watch.mute();
      else this.#receive();
    }
  }

  onFault(): void {
    if (!this.closed) this.#user.onBroken("a defect of weft, see its log");
    else if (this.#phase === "draining") this.#release();
  }

  /** Takes bytes that somebody else has received on this socket before. */
  begin(bytes: Uint8Array): void {
    this.#shop.space.ring.feed(bytes);
    this.#onReceived(bytes.length);
  }

  /** Encrypts; `flush` sends. */
  write(bytes: Uint8Array<ArrayBuffer>, size: number): void {
    if (!this.tls.write(bytes, size)) this.#breakLater(describeFaults(this.tls.faults));
  }

  /** Ends this side's direction with close_notify; `flush` sends it. */
  end(): void {
    this.tls.shutdown();
  }

  /** Sends what was written; what the socket does not take becomes the backlog. */
  flush(): void {
    if (this.closed) return;
    const { ring, space } = { ring: this.#shop.space.ring, space: this.#shop.space };
    const size = ring.produced();
    if (size === 0) return;
    let sent = 0;
    if (this.#backlog === null) {
      sent = sendFrom(this.fd, ring.output, size);
      if (sent === size) return ring.consume(size);
      if (sent < 0 && sent !== -Errno.EAGAIN) {
        ring.consume(size);
        return this.#breakLater(`send failed with ${errnoName(-sent)}`, -sent);
      }
      if (sent > 0) ring.consume(sent);
      sent = Math.max(sent, 0);
      this.#backlog = space.lend();
    }
    const room = this.#backlog.extend(size - sent);
    if (room === undefined) {
      ring.discardOutput();
      return this.#breakLater("more control records than the peer reads");
    }
    ring.drain(room, size - sent);
    this.#updateInterest();
  }

  /** Receives nothing more until `resume`. */
  pause(): void {
    if (this.#paused || this.closed) return;
    this.#paused = true;
    this.#updateInterest();
  }

  resume(): void {
    if (!this.#paused || this.closed) return;
    this.#paused = false;
    this.#updateInterest();
  }

  /**
   * Gives the tunnel up. With `close` all that was written still arrives, at the peer's pace; with
   * `abort` the peer gets a RST now. The user is not called again.
   */
  close(how: "close" | "abort"): void {
    if (this.closed) return;
    if (how === "close") this.flush();
    else {
      this.#shop.space.ring.discardOutput();
      abortOnClose(this.fd);
    }
    this.tls[Symbol.dispose]();
    this.#shop.space.ring.discardInput();
    if (how === "close" && this.#backlog !== null) {
      this.#phase = "draining";
      setOption(this.fd, SocketOption.USER_TIMEOUT, DRAIN_MS);
      this.#watch.want(EPOLLOUT);
    } else this.#release();
  }

  /** Gives the tunnel up, but not its socket: that is the caller's from now on. */
  surrender(): number {
    this.flush();
    this.tls[Symbol.dispose]();
    this.#shop.space.ring.discardInput();
    this.#giveBacklog();
    this.#watch.mute();
    this.#phase = "closed";
    return this.fd;
  }

  #onConnected(): void {
    this.#phase = "handshake";
    this.#updateInterest();
    this.#step();
  }

  #receive(): void {
    const count = receiveInto(this.fd, this.#shop.space.ring.input, RECEIVE_BYTES);
    if (count > 0) {
      this.#shop.space.ring.commit(count);
      this.#onReceived(count);
    } else if (count === 0) this.#user.onBroken("the peer closed the connection");
    else if (count !== -Errno.EAGAIN) {
      this.#user.onBroken(`receive failed with ${errnoName(-count)}`, -count);
    }
  }

  #onReceived(count: number): void {
    if (this.received === 0) this.#firstByte = this.#shop.space.ring.inputBytes[0] ?? -1;
    this.received += count;
    if (this.#phase === "open") {
      this.#barren += count;
      this.#decrypt();
    } else if (this.#firstByte === TLS_HANDSHAKE_RECORD) this.#step();
    else {
      this.#shop.space.ring.discardInput();
      this.#user.onHandshakeFailed();
    }
    if (this.closed) this.#shop.space.ring.discardInput();
    else this.flush();
  }

  /** Takes the handshake a step further, and reads on where it is complete. */
  #step(): void {
    const step = this.tls.handshake(this.#shop.callbacks, this.#user);
    if (step === "again") return this.flush();
    if (step === "failed") {
      this.#shop.space.ring.discardInput();
      this.flush(); // the alert
      return this.#user.onHandshakeFailed();
    }
    this.#phase = "open";
    this.#updateInterest();
    this.#user.onHandshake();
    if (!this.closed) this.#decrypt();
    this.flush();
  }

  #decrypt(): void {
    const { space } = this.#shop;
    let size = 0;
    let status = TLS_AGAIN;
    while (this.#phase === "open") {
      if (size + RECORD_BYTES > space.down.length) {
        this.#user.onPlaintext(space.down, size);
        size = 0;
        continue;
      }
      status = this.tls.read(viewAt(space, size), RECORD_BYTES);
      if (status <= 0) break;
      size += status;
      this.#barren = 0;
      if (space.ring.unread() === 0) break;
    }
    if (size > 0) this.#user.onPlaintext(space.down, size);
    if (this.closed) return;
    if (this.#barren > BARREN_BYTES_MAX) return this.#user.onMalformed("control records alone");
    if (status > 0 || status === TLS_AGAIN) return;
    if (status === TLS_CLOSED) this.#user.onEnd();
    else this.#user.onBroken(describeFaults(this.tls.faults));
  }

  #drain(events: number): void {
    const sent = (events & EPOLLERR) !== 0 ? -Errno.EIO : this.#backlog?.sendTo(this.fd) ?? 0;
    if (sent < 0 && sent !== -Errno.EAGAIN) this.#release();
    else if (this.#backlog?.size === 0) this.#release();
  }

  #release(): void {
    this.#phase = "closed";
    this.#giveBacklog();
    this.#watch.close();
  }

  #giveBacklog(): void {
    if (this.#backlog !== null) this.#shop.space.giveBack(this.#backlog);
    this.#backlog = null;
  }

  #sendBacklog(): void {
    const backlog = this.#backlog;
    if (backlog === null) return;
    const sent = backlog.sendTo(this.fd);
    if (sent < 0 && sent !== -Errno.EAGAIN) {
      return this.#user.onBroken(`send failed with ${errnoName(-sent)}`, -sent);
    }
    if (backlog.size > 0) return;
    this.#giveBacklog();
    this.#updateInterest();
    this.#user.onDrained();
    this.flush();
  }

  /** The user must not be called while it is calling. */
  #breakLater(detail: string, errno?: number): void {
    this.#shop.loop.defer(() => {
      if (!this.closed) this.#user.onBroken(detail, errno);
    });
  }

  #updateInterest(): void {
    this.#watch.want((this.#paused ? 0 : EPOLLIN) | (this.#backlog === null ? 0 : EPOLLOUT));
  }
}

const TLS_HANDSHAKE_RECORD = 22;

/** ChangeCipherSpec, alert, handshake, application data. */
function isRecordType(byte: number): boolean {
  return byte >= 20 && byte <= 23;
}

/** How long a peer may take none of what is left to send. */
const DRAIN_MS = 30_000;

/** Where the next record goes; full records need no new view. */
function viewAt(space: Workspace, size: number): Uint8Array<ArrayBuffer> {
  const ready = size % RECORD_BYTES === 0 ? space.downAt[size / RECORD_BYTES] : undefined;
  return ready ?? space.down.subarray(size);
}
