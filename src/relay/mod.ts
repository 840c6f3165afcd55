/**
 * The relay, seen from the agent: worker threads that carry steered connections.
 *
 * In: `startRelay`, then a snapshot after each change. Out: events, counters. Invariant: workers
 * share nothing but counters; each has the whole of every snapshot, and `update` returns before any
 * has applied it (`applied` tells). A worker that fails takes its connections with it, is reported,
 * and is not replaced: its listeners are gone, so the kernel refuses what it would have got.
 *
 * @module
 */

import type { Fd } from "../../ffi/fd.ts";
import { openEventfd, raiseEventfd } from "../../ffi/linux/eventfd.ts";
import { workerUrl } from "../assets.ts";
import type { Log } from "../log.ts";
import { COUNTERS_BYTES } from "./io/reporter.ts";
import {
  type Counter,
  COUNTERS,
  type FromWorker,
  type RelayConfig,
  type RelayDoor,
  type RelayEvent,
  type RelaySnapshot,
  type ToWorker,
} from "./messages.ts";

export type {
  Counter,
  RelayConfig,
  RelayDoor,
  RelayEvent,
  RelayPeer,
  RelayPod,
  RelayPort,
  RelaySnapshot,
  RelaySvid,
} from "./messages.ts";

/** A running relay. */
export interface Relay extends AsyncDisposable {
  /** Hands a snapshot to all workers. */
  update(snapshot: RelaySnapshot): void;
  /** Resolves when all workers have applied `revision` or a later one. */
  applied(revision: number): Promise<void>;
  /** Sums of all workers. */
  stats(): Readonly<Record<Counter, number>>;
  /** Takes no more connections; those that live have `graceMs` to end. */
  stop(graceMs: number): Promise<void>;
}

export interface RelayOptions {
  readonly door: RelayDoor;
  readonly log: Log;
  readonly onEvent: (event: RelayEvent) => void;
  /** The worker's module, where it is bundled elsewhere. */
  readonly workerUrl?: string | URL;
}

/** Starts the workers; resolves when all run. */
export async function startRelay(config: RelayConfig, options: RelayOptions): Promise<Relay> {
  const relay = new WorkerSet(config, options);
  await relay.started();
  return relay;
}

class WorkerSet implements Relay {
  readonly #members: readonly Member[];

  constructor(config: RelayConfig, options: RelayOptions) {
    const ticketSecret = crypto.getRandomValues(new Uint8Array(32));
    this.#members = Array.from(
      { length: config.workers },
      (_, index) => new Member(index, config, options, ticketSecret),
    );
  }

  async started(): Promise<void> {
    await Promise.all(this.#members.map((member) => member.started));
  }

  update(snapshot: RelaySnapshot): void {
    for (const member of this.#members) member.tell({ type: "snapshot", snapshot });
  }

  async applied(revision: number): Promise<void> {
    await Promise.all(this.#members.map((member) => member.applied(revision)));
  }

  stats(): Record<Counter, number> {
    const counters = this.#members.map(({ counters }) => new Float64Array(counters));
    return Object.fromEntries(
      COUNTERS.map((name, slot) => [
        name,
        counters.reduce((sum, values) => sum + (values[slot] ?? 0), 0),
      ]),
    ) as Record<Counter, number>;
  }

  async stop(graceMs: number): Promise<void> {
    await Promise.all(this.#members.map((member) => member.stop(graceMs)));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop(0);
  }
}

/** One worker, seen from the main thread. */
class Member {
  readonly counters = new SharedArrayBuffer(COUNTERS_BYTES);
  readonly started: Promise<void>;
  readonly #worker: Worker;
  readonly #wake: Fd;
  readonly #options: RelayOptions;
  readonly #index: number;
  readonly #stopped = Promise.withResolvers<void>();
  readonly #start = Promise.withResolvers<void>();
  #waiting: { readonly revision: number; readonly resolve: () => void }[] = [];
  #applied = 0;
  #isStopping = false;

  constructor(
    index: number,
    config: RelayConfig,
    options: RelayOptions,
    ticketSecret: Uint8Array,
  ) {
    this.#index = index;
    this.#options = options;
    this.#wake = openEventfd(`wake relay-${index}`);
    this.started = this.#start.promise;
    const url = options.workerUrl ?? workerUrl("relay/worker");
    this.#worker = new Worker(url, { type: "module", name: `relay-${index}` });
    this.#worker.onmessage = ({ data }: MessageEvent<FromWorker>) => this.#receive(data);
    this.#worker.onerror = (event) => {
      event.preventDefault();
      this.#fail(event.message);
    };
    const { counters } = this;
    const wakeFd = this.#wake.raw;
    this.#post({
      type: "start",
      index,
      config,
      door: options.door,
      wakeFd,
      counters,
      ticketSecret,
    });
  }

  /** Posts, then wakes: the worker finds the message when it looks. */
  tell(message: ToWorker): void {
    if (this.#wake.closed) return;
    this.#post(message);
    raiseEventfd(this.#wake.raw);
  }

  async applied(revision: number): Promise<void> {
    if (this.#applied >= revision || this.#wake.closed) return;
    await new Promise<void>((resolve) => this.#waiting.push({ revision, resolve }));
  }

  async stop(graceMs: number): Promise<void> {
    this.#isStopping = true;
    this.tell({ type: "stop", graceMs });
    if (!this.#wake.closed) await this.#stopped.promise;
  }

  #post(message: ToWorker): void {
    this.#worker.postMessage(message);
  }

  #receive(message: FromWorker): void {
    switch (message.type) {
      case "started":
        return this.#start.resolve();
      case "applied":
        return this.#onApplied(message.revision);
      case "events":
        return message.events.forEach(this.#options.onEvent);
      case "fault": {
        const { log } = this.#options;
        return log.error("relay-connection-fault", { worker: this.#index, fault: message.message });
      }
      case "stopped":
        return this.#end();
      case "failed":
        return this.#fail(message.message);
      default:
        message satisfies never;
    }
  }

  #onApplied(revision: number): void {
    this.#applied = Math.max(this.#applied, revision);
    const [ready, waiting] = [
      this.#waiting.filter((one) => one.revision <= this.#applied),
      this.#waiting.filter((one) => one.revision > this.#applied),
    ];
    this.#waiting = waiting;
    for (const { resolve } of ready) resolve();
  }

  #fail(message: string): void {
    const { log } = this.#options;
    if (!this.#isStopping) log.error("relay-worker-failed", { worker: this.#index, message });
    this.#start.reject(new Error(`Cannot run relay worker ${this.#index}: ${message}`));
    this.#end();
  }

  #end(): void {
    this.#worker.terminate();
    this.#wake.close();
    for (const { resolve } of this.#waiting) resolve();
    this.#waiting = [];
    this.#stopped.resolve();
  }
}
