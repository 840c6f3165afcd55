/**
 * A socket that carries plain bytes: the application's side of a connection.
 *
 * In: a connected or connecting socket. Out: calls to a `PlainUser`. Invariant: bytes leave in the
 * order in which they were delivered, and `end` is seen only after all of them; while a backlog is
 * left, its user must deliver no more than what it has in hand; and a reset is told as one, never
 * as an end, behind what came before it (a user that does not read is told at once).
 *
 * @module
 */

import { Errno } from "../../../ffi/errno.ts";
import { EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT } from "../../../ffi/linux/epoll.ts";
import {
  abortOnClose,
  connect,
  type Endpoint,
  receive,
  send,
  shutdownWrite,
} from "../../../ffi/linux/socket.ts";
import type { Handler, Loop } from "../io/loop.ts";
import { Watch } from "../io/watch.ts";
import type { Backlog, Workspace } from "../io/workspace.ts";

/** What a socket tells its user. After a call the user may have closed it. */
export interface PlainUser {
  /** A connect has succeeded (zero) or failed (a positive error number). */
  onConnected(errno: number): void;
  /** There may be something to read. */
  onReadable(): void;
  /** The backlog is gone. */
  onDrained(): void;
  /** The connection is beyond use. */
  onBroken(): void;
}

/** For a socket that nobody uses yet. */
export const NOBODY: PlainUser = {
  onConnected: () => {},
  onReadable: () => {},
  onDrained: () => {},
  onBroken: () => {},
};

export class PlainSocket implements Handler {
  readonly fd: number;
  readonly #loop: Loop;
  readonly #space: Workspace;
  readonly #watch: Watch;
  user: PlainUser;
  #target: Endpoint | null;
  #backlog: Backlog | null = null;
  #reading: boolean;
  #ending = false;
  #closed = false;
  #broken = false;
  /** Of a connect that failed, else zero. */
  connectErrno = 0;

  /** With `target` the socket is connecting there. It does not read before `resume`. */
  constructor(
    shop: { readonly loop: Loop; readonly space: Workspace },
    fd: number,
    user: PlainUser,
    target: Endpoint | null = null,
  ) {
    this.fd = fd;
    this.#loop = shop.loop;
    this.#space = shop.space;
    this.user = user;
    this.#target = target;
    this.#reading = false;
    this.#watch = new Watch(shop.loop, fd, this, target === null ? 0 : EPOLLOUT);
  }

  /** Whether delivered bytes are waiting to be sent. */
  get stalled(): boolean {
    return this.#backlog !== null;
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Whether a connect has come to its end, good or bad. */
  get connected(): boolean {
    return this.#target === null;
  }

  onReady(events: number): void {
    if (this.#target !== null) return this.checkConnected();
    if (this.#broken) return;
    if ((events & EPOLLOUT) !== 0) this.#sendBacklog();
    if (this.#closed) return;
    if (this.#reading && (events & (EPOLLIN | EPOLLHUP)) !== 0) this.user.onReadable();
    else if ((events & (EPOLLERR | EPOLLHUP)) !== 0) {
      if ((events & EPOLLERR) !== 0) this.user.onBroken();
      if (!this.#closed) this.#watch.mute(); // nobody acts on it yet: who reads meets it
    }
  }

  onFault(): void {
    this.user.onBroken();
  }

  /**
   * Starts to connect, or asks how far it is. Over loopback it is complete when `connect` returns,
   * although that says EINPROGRESS: asking again at once saves a turn of the loop.
   */
  checkConnected(): void {
    if (this.#target === null) return;
    let result = connect(this.fd, this.#target);
    if (result === -Errno.EINPROGRESS) result = connect(this.fd, this.#target);
    if (result === -Errno.EALREADY || result === -Errno.EINPROGRESS) return;
    this.#target = null;
    const errno = result === -Errno.EISCONN ? 0 : -result;
    this.connectErrno = errno;
    if (errno === 0) this.#sendBacklog();
    if (this.#closed) return;
    this.#updateInterest();
    this.user.onConnected(errno);
  }

  /** Takes bytes: how many, zero at the end of the stream, or a negative error number. */
  receive(target: Uint8Array<ArrayBuffer>, size: number): number {
    return receive(this.fd, target, size);
  }

  /** Sends `bytes[start..end)`; what the socket does not take joins the backlog. */
  deliver(bytes: Uint8Array<ArrayBuffer>, start: number, end: number): void {
    let from = start;
    if (this.#backlog === null && this.#target === null) {
      const sent = send(this.fd, this.#view(bytes, start), end - start);
      if (sent === end - start) return;
      if (sent < 0 && sent !== -Errno.EAGAIN) return this.#breakLater();
      from += Math.max(sent, 0);
    }
    this.#backlog ??= this.#space.lend();
    const room = this.#backlog.extend(end - from);
    if (room === undefined) throw new RangeError("Cannot deliver more than a backlog holds");
    room.set(bytes.subarray(from, end));
    this.#updateInterest();
  }

  /** Ends this direction once the backlog is sent. */
  end(): void {
    this.#ending = true;
    if (this.#backlog === null && this.#target === null) shutdownWrite(this.fd);
  }

  /** Reads from now on. */
  resume(): void {
    if (this.#reading || this.#closed) return;
    this.#reading = true;
    this.#updateInterest();
  }

  /** Reads no more, until `resume`. */
  pause(): void {
    if (!this.#reading || this.#closed) return;
    this.#reading = false;
    this.#updateInterest();
  }

  /** Closes; with `abort` the other end gets a RST. */
  close(how: "close" | "abort"): void {
    if (this.#closed) return;
    this.#closed = true;
    if (how === "abort") abortOnClose(this.fd);
    if (this.#backlog !== null) this.#space.giveBack(this.#backlog);
    this.#backlog = null;
    this.#watch.close();
  }

  /** Gives the socket up without closing it: it is the caller's, and in no loop. */
  surrender(): number {
    this.#closed = true;
    this.#watch.mute();
    return this.fd;
  }

  /**
   * A send that fails takes the socket's error with it: what is read from now on looks like an end.
   * The user must not be called while it is calling.
   */
  #breakLater(): void {
    this.#broken = true;
    this.#loop.defer(() => {
      if (!this.#closed) this.user.onBroken();
    });
  }

  #sendBacklog(): void {
    const backlog = this.#backlog;
    if (backlog !== null) {
      const sent = backlog.sendTo(this.fd);
      if (sent < 0 && sent !== -Errno.EAGAIN) return this.user.onBroken();
      if (backlog.size > 0) return this.#updateInterest();
      this.#space.giveBack(backlog);
      this.#backlog = null;
      this.#updateInterest();
    }
    if (this.#ending) shutdownWrite(this.fd);
    if (backlog !== null) this.user.onDrained();
  }

  #updateInterest(): void {
    if (this.#target !== null) return;
    this.#watch.want((this.#reading ? EPOLLIN : 0) | (this.#backlog === null ? 0 : EPOLLOUT));
  }

  /** A view that starts at `start`, ready-made for the two places where bytes usually start. */
  #view(bytes: Uint8Array<ArrayBuffer>, start: number): Uint8Array<ArrayBuffer> {
    if (start === 0) return bytes;
    if (bytes === this.#space.down && start === this.#space.downBody.byteOffset) {
      return this.#space.downBody;
    }
    return bytes.subarray(start);
  }
}
