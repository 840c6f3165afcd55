/**
 * What a worker tells the main thread: counters in shared memory, events in batches.
 *
 * Invariant: telling never blocks and never grows without bound: beyond `BATCH_MAX` events a batch
 * only counts what it lost. A flood of refusals must not become a flood of messages.
 *
 * @module
 */

import { type Counter, COUNTERS, type RelayEvent } from "../messages.ts";

/** Events of one batch; at most one batch is made per turn of the loop. */
const BATCH_MAX = 256;

export class Reporter {
  readonly #counters: Float64Array;
  readonly #post: (events: readonly RelayEvent[], lost: number) => void;
  #events: RelayEvent[] = [];
  #lost = 0;

  constructor(
    counters: SharedArrayBuffer,
    post: (events: readonly RelayEvent[], lost: number) => void,
  ) {
    this.#counters = new Float64Array(counters);
    this.#post = post;
  }

  /**
   * Adds to a counter. This worker is its only writer, so a plain addition is enough; a double,
   * because it counts bytes exactly up to 2^53 without making BigInts.
   */
  count(counter: Counter, by = 1): void {
    const slot = SLOTS[counter];
    this.#counters[slot] = (this.#counters[slot] ?? 0) + by;
  }

  /** Tells of an event with the next batch. */
  report(event: RelayEvent): void {
    if (this.#events.length < BATCH_MAX) this.#events.push(event);
    else {
      this.#lost++;
      this.count("events_lost");
    }
  }

  /** Sends the batch, if there is something in it. */
  flush(): void {
    if (this.#events.length === 0) return;
    this.#post(this.#events, this.#lost);
    this.#events = [];
    this.#lost = 0;
  }
}

/** Bytes of the counters of one worker. */
export const COUNTERS_BYTES = COUNTERS.length * 8;

const SLOTS = Object.fromEntries(COUNTERS.map((name, slot) => [name, slot])) as Record<
  Counter,
  number
>;
