/**
 * Gathers what is seen: events of the kernel and the relay, counters over time. In come records,
 * out go the feed and sums. Invariant: totals come from counters, which lose nothing; events only
 * illustrate them.
 *
 * @module
 */
import type { WeftEvent } from "../../bpf/layout.gen.ts";
import { monotonicNs } from "../../ffi/linux/process.ts";
import type { State } from "../model/mod.ts";
import { REFUSAL_REASONS, type RefusalReason } from "../reasons.ts";
import type { RelayEvent } from "../relay/mod.ts";
import { fromKernel, fromRelay } from "./event.ts";
import { Feed } from "./feed.ts";
import { counterOf, lostByReason, refusedByKernel } from "./counters.ts";

/** Every so often the counters are looked at, so that "in the last minute" has a past. */
const SAMPLE_INTERVAL_MS = 5000;
const SAMPLES_MAX = 60_000 / SAMPLE_INTERVAL_MS;
/** A shortage is the agent's state, not its history: it is told of for five to ten seconds. */
const SHORTAGE_SAMPLES_MAX = 2;

export interface ObserverOptions {
  /** who has which address, now */
  readonly state: () => State;
  /** the kernel's counters, summed over CPUs */
  readonly counters: () => readonly number[];
  /** connections that were refused for want of a descriptor */
  readonly acceptsRefused?: () => number;
  /** the clock of the kernel's events @default CLOCK_MONOTONIC */
  readonly monotonicNs?: () => bigint;
}

/** Refusals of one reason. */
export interface Refusals {
  readonly reason: RefusalReason;
  readonly kernel: number;
  readonly relay: number;
  readonly lastMinute: number;
}

/** Events that nobody could see. */
export interface EventsLost {
  readonly kernel: number;
  readonly relay: number;
  /** only reasons that have lost any */
  readonly kernelByReason: Readonly<Partial<Record<RefusalReason, number>>>;
}

/** What has been seen since the agent started. */
export class Observer implements Disposable {
  readonly feed = new Feed();
  readonly #options: ObserverOptions;
  readonly #monotonicNs: () => bigint;
  readonly #relayRefusals = new Map<string, number>();
  readonly #samples: ReadonlyMap<RefusalReason, number>[] = [];
  readonly #acceptsRefused: number[] = [];
  readonly #timer: ReturnType<typeof setInterval>;
  #relayLost = 0;
  #kernelLost: number;

  constructor(options: ObserverOptions) {
    this.#options = options;
    this.#monotonicNs = options.monotonicNs ?? monotonicNs;
    this.#kernelLost = counterOf(options.counters(), "EVENTS_LOST");
    this.#samples.push(this.#totals());
    this.#timer = setInterval(() => this.#sample(), SAMPLE_INTERVAL_MS);
  }

  /** A record of the kernel's ring. */
  onKernelEvent(record: WeftEvent): void {
    // The kernel's clock stands still while the machine sleeps: the age is told from it, no more.
    const ageMs = Number(this.#monotonicNs() - record.timeNs) / 1e6;
    this.feed.publish(fromKernel(record, Date.now() - ageMs, this.#options.state()));
  }

  /** A batch of the relay's, and how many it had to drop. */
  onRelayEvents(records: readonly RelayEvent[], lost = 0): void {
    for (const record of records) {
      if (record.verdict === "refuse" || record.verdict === "cut") {
        const count = this.#relayRefusals.get(record.reason) ?? 0;
        this.#relayRefusals.set(record.reason, count + 1);
      }
      this.feed.publish(fromRelay(record, this.#options.state()));
    }
    this.#relayLost += lost;
    this.feed.lose(lost, "relay");
  }

  /** Every reason, also those that never happened. */
  refusals(): Refusals[] {
    const counters = this.#options.counters();
    const past = this.#samples[0];
    return REFUSAL_REASONS.map((reason) => {
      const kernel = refusedByKernel(counters, reason);
      const relay = this.#relayRefusals.get(reason) ?? 0;
      return { reason, kernel, relay, lastMinute: kernel + relay - (past?.get(reason) ?? 0) };
    });
  }

  /** Connections refused for want of a descriptor in the last seconds. */
  acceptsRefused(): number {
    const [before = 0] = this.#acceptsRefused;
    return (this.#options.acceptsRefused?.() ?? 0) - before;
  }

  /** Events that nobody could see. */
  lost(): EventsLost {
    const counters = this.#options.counters();
    return {
      kernel: counterOf(counters, "EVENTS_LOST"),
      relay: this.#relayLost,
      kernelByReason: lostByReason(counters),
    };
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    this.feed.close();
  }

  #sample(): void {
    this.#samples.push(this.#totals());
    if (this.#samples.length > SAMPLES_MAX) this.#samples.shift();
    this.#acceptsRefused.push(this.#options.acceptsRefused?.() ?? 0);
    if (this.#acceptsRefused.length > SHORTAGE_SAMPLES_MAX) this.#acceptsRefused.shift();
    const lost = counterOf(this.#options.counters(), "EVENTS_LOST");
    this.feed.lose(lost - this.#kernelLost, "kernel");
    this.#kernelLost = lost;
  }

  #totals(): ReadonlyMap<RefusalReason, number> {
    const counters = this.#options.counters();
    return new Map(REFUSAL_REASONS.map((reason) => [
      reason,
      refusedByKernel(counters, reason) + (this.#relayRefusals.get(reason) ?? 0),
    ]));
  }
}
