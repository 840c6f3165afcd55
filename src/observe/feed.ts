/**
 * Recent events and those who watch them live. In come events, out go a bounded past and, for each
 * subscriber, an ordered stream with gaps declared. Invariant: nobody slows the agent down: a
 * subscriber that does not read loses its oldest events and is told how many; memory is bounded by
 * two constants. (A shared queue with back-pressure would let one idle terminal stop the rest.)
 *
 * @module
 */
import type { Event, EventBody } from "./event.ts";

/** Events kept for those who come late. 4,096 of about 400 bytes: 1.6 MiB. */
export const RECENT_MAX = 4096;
/** Events that wait for one slow subscriber. */
export const WAITING_MAX = 1024;
/** Watchers at one time; each costs memory of the agent. */
export const SUBSCRIBERS_MAX = 32;

/** What a subscriber reads. */
export type FeedItem =
  | { readonly type: "event"; readonly event: Event }
  | { readonly type: "lost"; readonly count: number; readonly where: LostWhere };

/** Who lost events: the kernel's ring, the relay's messages, or this reader. */
export type LostWhere = "kernel" | "relay" | "reader";

/** Events of this agent. */
export class Feed {
  #next = 1;
  readonly #recent: Event[] = [];
  #oldest = 0;
  readonly #subscribers = new Set<Subscription>();

  /** Numbers an event and hands it to everybody. */
  publish(body: EventBody): Event {
    const event: Event = { id: this.#next++, ...body };
    if (this.#recent.length < RECENT_MAX) this.#recent.push(event);
    else {
      this.#recent[this.#oldest] = event;
      this.#oldest = (this.#oldest + 1) % RECENT_MAX;
    }
    for (const subscriber of this.#subscribers) subscriber.push({ type: "event", event });
    return event;
  }

  /** Tells everybody that events are missing here. */
  lose(count: number, where: LostWhere): void {
    if (count <= 0) return;
    for (const subscriber of this.#subscribers) subscriber.push({ type: "lost", count, where });
  }

  /** The past, oldest first: what came after the event `since`. */
  recent(since = 0): Event[] {
    const ordered = [...this.#recent.slice(this.#oldest), ...this.#recent.slice(0, this.#oldest)];
    return ordered.filter((event) => event.id > since);
  }

  /** From now on, or undefined when there are too many already. */
  subscribe(): Subscription | undefined {
    if (this.#subscribers.size >= SUBSCRIBERS_MAX) return undefined;
    const subscription = new Subscription(() => this.#subscribers.delete(subscription));
    this.#subscribers.add(subscription);
    return subscription;
  }

  /** Whether somebody reads now. */
  get isHeard(): boolean {
    return this.#subscribers.size > 0;
  }

  /** Ends all streams. */
  close(): void {
    for (const subscriber of [...this.#subscribers]) subscriber.close();
  }
}

/** One reader's queue. */
export class Subscription implements AsyncIterable<FeedItem>, Disposable {
  #waiting: FeedItem[] = [];
  #lost = 0;
  #wake: (() => void) | undefined;
  #closed = false;
  readonly #leave: () => void;

  constructor(leave: () => void) {
    this.#leave = leave;
  }

  push(item: FeedItem): void {
    if (this.#closed) return;
    if (this.#waiting.length >= WAITING_MAX) {
      this.#waiting.shift();
      this.#lost++;
    }
    this.#waiting.push(item);
    this.#wake?.();
  }

  close(): void {
    this.#closed = true;
    this.#leave();
    this.#wake?.();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<FeedItem> {
    while (true) {
      if (this.#lost > 0) {
        const count = this.#lost;
        this.#lost = 0;
        yield { type: "lost", count, where: "reader" };
      }
      const item = this.#waiting.shift();
      if (item !== undefined) yield item;
      else if (this.#closed) return;
      // deno-lint-ignore no-await-in-loop -- a stream waits for its next item
      else await new Promise<void>((resolve) => this.#wake = resolve);
    }
  }
}
