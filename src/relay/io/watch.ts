/**
 * One descriptor's place in the loop: which events its owner wants, now.
 *
 * Invariant: a descriptor never spins. Epoll reports a hang-up whether it is wanted or not, and
 * goes on reporting it; an owner who cannot act on it yet (its other side is stalled) mutes the
 * descriptor, and it comes back with the next `want`.
 *
 * @module
 */

import type { Handler, Loop } from "./loop.ts";

export class Watch {
  readonly fd: number;
  readonly #loop: Loop;
  readonly #handler: Handler;
  #wanted: number;
  #muted = false;

  constructor(loop: Loop, fd: number, handler: Handler, wanted: number) {
    this.#loop = loop;
    this.fd = fd;
    this.#handler = handler;
    this.#wanted = wanted;
    loop.add(fd, wanted, handler);
  }

  /** From now on the owner wants `events`, and errors. */
  want(events: number): void {
    if (this.#muted) {
      if (events === 0) return;
      this.#muted = false;
      this.#loop.add(this.fd, events, this.#handler);
    } else if (events !== this.#wanted) {
      this.#loop.modify(this.fd, events);
    }
    this.#wanted = events;
  }

  /** Reports nothing more, until the owner wants something. */
  mute(): void {
    if (this.#muted) return;
    this.#muted = true;
    this.#loop.remove(this.fd);
  }

  /** Gives the descriptor up; it is closed after this batch. */
  close(): void {
    this.#loop.close(this.fd);
  }
}
