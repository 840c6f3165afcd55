/**
 * Deadlines that are all equally far away when they are set: a queue in order of time.
 *
 * In: who waits. Out: a call to each whose time is up. Invariant: the queue is sorted without
 * sorting, because the interval is one for all; setting and clearing are a few pointer writes. A
 * heap would serve any interval and cost a comparison chain for every connection.
 *
 * @module
 */

/** Somebody with a deadline. Belongs to one queue at most. */
export abstract class Waiter {
  /** @internal */
  deadlineMs = 0;
  /** @internal */
  before: Waiter | null = null;
  /** @internal */
  after: Waiter | null = null;
  /** @internal */
  queue: Deadlines | null = null;

  /** The time is up; the deadline is no longer set. */
  abstract onDeadline(): void;
}

export class Deadlines {
  readonly #intervalMs: number;
  #first: Waiter | null = null;
  #last: Waiter | null = null;

  constructor(intervalMs: number) {
    this.#intervalMs = intervalMs;
  }

  /** When the first deadline is; Infinity without one. */
  get nextMs(): number {
    return this.#first === null ? Infinity : this.#first.deadlineMs;
  }

  /** Sets or renews the deadline of `waiter`. */
  set(waiter: Waiter, nowMs: number): void {
    waiter.queue?.clear(waiter);
    waiter.deadlineMs = nowMs + this.#intervalMs;
    waiter.queue = this;
    waiter.before = this.#last;
    if (this.#last === null) this.#first = waiter;
    else this.#last.after = waiter;
    this.#last = waiter;
  }

  /** Clears the deadline of `waiter`, if it has one here. */
  clear(waiter: Waiter): void {
    if (waiter.queue !== this) return;
    if (waiter.before === null) this.#first = waiter.after;
    else waiter.before.after = waiter.after;
    if (waiter.after === null) this.#last = waiter.before;
    else waiter.after.before = waiter.before;
    waiter.before = waiter.after = waiter.queue = null;
  }

  /** Calls everyone whose time is up. */
  expire(nowMs: number): void {
    while (this.#first !== null && this.#first.deadlineMs <= nowMs) {
      const waiter = this.#first;
      this.clear(waiter);
      waiter.onDeadline();
    }
  }
}
