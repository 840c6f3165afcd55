/**
 * The event loop of one worker: who is ready, whose time is up, what to do next.
 *
 * In: descriptors with handlers, deadlines, deferred actions. Out: calls. Invariant: a descriptor
 * is closed only when the batch of events in which it was given up is worked off, so a number
 * never means two sockets within one batch. The loop gives the thread back to JavaScript (and so
 * to messages) only when its eventfd says that one has come: a turn of Deno's own loop for every
 * batch would cost more than the work in it.
 *
 * @module
 */

import { Epoll, EPOLLIN } from "../../../ffi/linux/epoll.ts";
import { clearEventfd } from "../../../ffi/linux/eventfd.ts";
import { abortOnClose, closeSocket } from "../../../ffi/linux/socket.ts";
import type { Deadlines } from "./deadlines.ts";

/** Whoever has a descriptor in the loop. */
export interface Handler {
  /** `events` is what epoll reported, never empty. Must not throw for what a peer can cause. */
  onReady(events: number): void;
  /**
   * It has thrown: gives up the connection, whatever else belongs to it. Who only closed the
   * descriptor would leave others with a number that is soon somebody else's.
   */
  onFault?(): void;
}

export class Loop implements Disposable {
  /** Takes what a handler has thrown; its connection is given up, and all others go on. */
  onFault: (error: unknown) => void = () => {};
  /** Milliseconds of a steady clock, as of this batch. */
  nowMs = performance.now();
  readonly #epoll = new Epoll();
  readonly #handlers: (Handler | undefined)[] = [];
  readonly #deadlines: Deadlines[] = [];
  #closing: number[] = [];
  #deferred: (() => void)[] = [];
  #running = true;
  #wakeFd = -1;

  /** Watches `fd` for `events`, on behalf of `handler`. */
  add(fd: number, events: number, handler: Handler): void {
    this.#handlers[fd] = handler;
    this.#epoll.add(fd, events);
  }

  /** Changes what is watched. */
  modify(fd: number, events: number): void {
    this.#epoll.modify(fd, events);
  }

  /** Lets another handler have `fd`. */
  hand(fd: number, handler: Handler): void {
    this.#handlers[fd] = handler;
  }

  /** Watches `fd` no longer, not even for errors. */
  remove(fd: number): void {
    this.#handlers[fd] = undefined;
    this.#epoll.remove(fd);
  }

  /** Forgets `fd` now and closes it after this batch. */
  close(fd: number): void {
    this.#handlers[fd] = undefined;
    this.#closing.push(fd);
  }

  /** A defect of ours has met `fd`: whoever has it gives it up, and all others go on. */
  fail(fd: number, error: unknown): void {
    this.onFault(error);
    const handler = this.#handlers[fd];
    handler?.onFault?.(); // throws: then the worker is wrong about itself, and ends
    if (this.#handlers[fd] === handler) this.close(fd);
  }

  /** Runs `action` after this batch, when no connection is being worked on. */
  defer(action: () => void): void {
    this.#deferred.push(action);
  }

  /** Looks after a queue of deadlines from now on. */
  watch(deadlines: Deadlines): void {
    this.#deadlines.push(deadlines);
  }

  stop(): void {
    this.#running = false;
  }

  /**
   * Works until `stop`. `afterBatch` runs before each wait. `wakeFd` is raised once a message;
   * while the inbox misses one, the loop yields after every batch and hardly waits.
   */
  async run(wakeFd: number, inbox: Inbox, afterBatch: () => void): Promise<void> {
    let announced = 0;
    this.#wakeFd = wakeFd;
    this.add(wakeFd, EPOLLIN, { onReady: () => (announced += clearEventfd(wakeFd)) });
    while (this.#running) {
      const missing = inbox.received < announced;
      this.turn(missing ? INBOX_WAIT_MS : this.#timeoutMs());
      afterBatch();
      if (inbox.received >= announced) continue;
      // deno-lint-ignore no-await-in-loop -- messages arrive only when this thread yields
      await nextTurn();
      this.#settle(); // what a message has ended must not wait for the next event,
      afterBatch(); // nor what it has to tell
    }
    this.remove(wakeFd);
  }

  /** One batch: waits, at most until the next deadline, and works off what is ready. */
  turn(timeoutMs = this.#timeoutMs()): void {
    const count = this.#epoll.wait(timeoutMs);
    this.nowMs = performance.now();
    for (let i = 0; i < count; i++) {
      this.#serve(this.#epoll.ready(i), this.#epoll.events(i));
    }
    for (const deadlines of this.#deadlines) this.#guard(() => deadlines.expire(this.nowMs));
    this.#settle();
  }

  /** Whatever is still watched, and nobody has closed, is reset: it must not look complete. */
  [Symbol.dispose](): void {
    this.#settle();
    this.#handlers.forEach((handler, fd) => {
      if (handler === undefined || fd === this.#wakeFd) return;
      abortOnClose(fd);
      closeSocket(fd);
    });
    this.#handlers.length = 0;
    this.#epoll[Symbol.dispose]();
  }

  #serve(fd: number, events: number): void {
    const handler = this.#handlers[fd];
    if (handler === undefined) return;
    try {
      handler.onReady(events);
    } catch (error) {
      this.fail(fd, error);
    }
  }

  #guard(action: () => void): void {
    try {
      action();
    } catch (error) {
      this.onFault(error);
    }
  }

  #settle(): void {
    while (this.#deferred.length > 0) {
      const actions = this.#deferred;
      this.#deferred = [];
      for (const action of actions) this.#guard(action);
    }
    if (this.#closing.length === 0) return;
    for (const fd of this.#closing) closeSocket(fd);
    this.#closing = [];
  }

  #timeoutMs(): number {
    let next = Infinity;
    for (const deadlines of this.#deadlines) next = Math.min(next, deadlines.nextMs);
    return next === Infinity ? -1 : Math.max(0, Math.ceil(next - performance.now()));
  }
}

/** Counts the messages that this thread has been given. */
export interface Inbox {
  readonly received: number;
}

/** A message that was announced is on its way: longest wait before looking again. */
const INBOX_WAIT_MS = 1;

/** One turn of Deno's own loop, in which messages are delivered. */
function nextTurn(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 0));
}
