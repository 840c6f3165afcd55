/**
 * The last second of a refused connection: long enough for the peer to read its alert.
 *
 * Closing a socket with unread bytes sends a RST, and a RST makes the peer throw away the alert
 * that it has not read yet. So the stream is ended, what still comes is thrown away, and only then
 * is the socket closed.
 *
 * @module
 */

import { EPOLLIN } from "../../../ffi/linux/epoll.ts";
import { receive, shutdownWrite } from "../../../ffi/linux/socket.ts";
import { Waiter } from "../io/deadlines.ts";
import type { Handler } from "../io/loop.ts";
import { READ_BYTES } from "../io/workspace.ts";
import type { Live, Shop } from "../shop.ts";

export class Lingering extends Waiter implements Handler, Live {
  readonly #shop: Shop;
  readonly #fd: number;
  /** Bytes that are thrown away at most. */
  #budget = 4 * READ_BYTES;

  /** Takes a socket that is in no loop. */
  constructor(shop: Shop, fd: number) {
    super();
    this.#shop = shop;
    this.#fd = fd;
    shutdownWrite(fd);
    shop.loop.add(fd, EPOLLIN, this);
    shop.live.add(this);
    shop.deadlines.linger.set(this, shop.loop.nowMs);
  }

  onReady(): void {
    const count = receive(this.#fd, this.#shop.space.down, READ_BYTES);
    this.#budget -= count;
    if (count <= 0 || this.#budget <= 0) this.stop();
  }

  onFault(): void {
    this.stop();
  }

  onDeadline(): void {
    this.stop();
  }

  recheck(): void {}

  stop(): void {
    this.queue?.clear(this);
    this.#shop.live.delete(this);
    this.#shop.loop.close(this.#fd);
  }
}
