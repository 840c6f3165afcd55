/**
 * The relay, seen from the agent: worker threads that carry steered connections.
 *
 * In: `startRelay`, then a snapshot after each change. Out: events, counters. Invariant: workers
 * share nothing but counters; each has the whole of every snapshot, and `update` returns before any
 * has applied it (`applied` tells). A worker that fails takes its connections and its listeners
 * with it; the other workers take its share of new ones until a new worker takes its place, and
 * only without any does the kernel refuse them. One that fails again and again stays dead: what
 * breaks it would break the next one, too; the others go on with its share.
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

/** One worker, as it is now. */
export interface RelayWorker {
  readonly index: number;
  readonly running: boolean;
  /** Of the last snapshot that it has applied. */
  readonly revision: number;
  readonly counters: Readonly<Record<Counter, number>>;
  /** How often it has failed. */
  readonly failures: number;
  /** What it said when it failed last. */
  readonly lastError?: string;
}

/** A running relay. */
export interface Relay extends AsyncDisposable {
  /** Hands a snapshot to all workers. */
  update(snapshot: RelaySnapshot): void;
  /** Resolves when all workers have applied `revision` or a later one. */
  applied(revision: number): Promise<void>;
  /** The kernel works by the last snapshot now. */
  settled(): void;
  /** Sums of all workers. */
  stats(): Readonly<Record<Counter, number>>;
  /** All workers, dead ones too. */
  workers(): readonly RelayWorker[];
  /** Ends; connections that live have `graceMs` to end before. */
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
  readonly #members: readonly Post[];

  constructor(config: RelayConfig, options: RelayOptions) {
    const ticketSecret = crypto.getRandomValues(new Uint8Array(32));
    this.#members = Array.from(
      { length: config.workers },
      (_, index) => new Post(index, config, options, ticketSecret),
    );
  }

  async started(): Promise<void> {
    await Promise.all(this.#members.map((member) => member.started));
  }

  update(snapshot: RelaySnapshot): void {
    for (const member of this.#members) member.update(snapshot);
  }

  settled(): void {
    for (const member of this.#members) member.settled();
  }

  async applied(revision: number): Promise<void> {
    await Promise.all(this.#members.map((member) => member.applied(revision)));
  }

  stats(): Record<Counter, number> {
    return countersOf((slot) => this.#members.reduce((sum, member) => sum + member.count(slot), 0));
  }

  workers(): readonly RelayWorker[] {
    return this.#members.map((member) => member.view());
  }

  async stop(graceMs: number): Promise<void> {
    await Promise.all(this.#members.map((member) => member.stop(graceMs)));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop(0);
  }
}

/** A worker's place, whoever holds it. */
class Post {
  readonly started: Promise<void>;
  readonly #make: (counters: SharedArrayBuffer) => Member;
  /** Outlives a worker that fails: its successor counts on. */
  readonly #counters = new SharedArrayBuffer(COUNTERS_BYTES);
  readonly #options: RelayOptions;
  readonly #index: number;
  #member: Member;
  #snapshot: RelaySnapshot | undefined;
  #failedMs: number[] = [];
  #failures = 0;
  #lastError: string | undefined;
  #isStopping = false;

  constructor(
    index: number,
    config: RelayConfig,
    options: RelayOptions,
    ticketSecret: Uint8Array,
  ) {
    this.#index = index;
    this.#options = options;
    const onFailed = (message: string) => this.#onFailed(message);
    this.#make = (counters) =>
      new Member({ index, config, options, ticketSecret, counters, onFailed });
    this.#member = this.#make(this.#counters);
    this.started = this.#member.started;
  }

  count(slot: number): number {
    return new Float64Array(this.#counters)[slot] ?? 0;
  }

  view(): RelayWorker {
    return {
      index: this.#index,
      running: this.#member.running,
      revision: this.#member.revision,
      counters: countersOf((slot) => this.count(slot)),
      failures: this.#failures,
      ...(this.#lastError !== undefined && { lastError: this.#lastError }),
    };
  }

  update(snapshot: RelaySnapshot): void {
    this.#snapshot = snapshot;
    this.#member.tell({ type: "snapshot", snapshot });
  }

  settled(): void {
    this.#member.tell({ type: "settled" });
  }

  applied(revision: number): Promise<void> {
    return this.#member.applied(revision);
  }

  stop(graceMs: number): Promise<void> {
    this.#isStopping = true;
    return this.#member.stop(graceMs);
  }

  #onFailed(message: string): void {
    if (this.#isStopping) return;
    const [nowMs, { log }] = [performance.now(), this.#options];
    const isFirst = this.#snapshot === undefined; // then nobody has ever been served
    this.#failures++;
    this.#lastError = message.split("\n", 1)[0] ?? message;
    this.#failedMs = [...this.#failedMs.filter((ms) => nowMs - ms < FAILURES_WITHIN_MS), nowMs];
    const replaced = !isFirst && this.#failedMs.length <= FAILURES_MAX;
    log.error("relay-worker-failed", { worker: this.#index, message, replaced });
    for (const gauge of GAUGES) new Float64Array(this.#counters)[COUNTERS.indexOf(gauge)] = 0;
    if (!replaced || this.#snapshot === undefined) return;
    this.#member = this.#make(this.#counters);
    this.#member.started.catch(() => {}); // told already
    this.#member.tell({ type: "snapshot", snapshot: this.#snapshot });
  }
}

/** A worker that failed is replaced so often within so long, then not any more. */
const FAILURES_MAX = 5;
const FAILURES_WITHIN_MS = 60_000;
/** What a worker that ends leaves behind as if it were still open. */
const GAUGES = ["tunnels_open", "tunnels_idle", "connections_open"] as const;

function countersOf(value: (slot: number) => number): Record<Counter, number> {
  const entries = COUNTERS.map((name, slot) => [name, value(slot)]);
  return Object.fromEntries(entries) as Record<Counter, number>;
}

interface MemberParts {
  readonly index: number;
  readonly config: RelayConfig;
  readonly options: RelayOptions;
  readonly ticketSecret: Uint8Array;
  readonly counters: SharedArrayBuffer;
  readonly onFailed: (message: string) => void;
}

/** One worker, seen from the main thread. */
class Member {
  readonly started: Promise<void>;
  readonly #worker: Worker;
  readonly #wake: Fd;
  readonly #options: RelayOptions;
  readonly #index: number;
  readonly #onFailed: (message: string) => void;
  readonly #stopped = Promise.withResolvers<void>();
  readonly #start = Promise.withResolvers<void>();
  #waiting: { readonly revision: number; readonly resolve: () => void }[] = [];
  #applied = 0;
  #running = true;

  constructor({ index, config, options, ticketSecret, counters, onFailed }: MemberParts) {
    this.#index = index;
    this.#options = options;
    this.#onFailed = onFailed;
    this.#wake = openEventfd(`wake relay-${index}`);
    this.started = this.#start.promise;
    const url = options.workerUrl ?? workerUrl("relay/worker");
    this.#worker = new Worker(url, { type: "module", name: `relay-${index}` });
    this.#worker.onmessage = ({ data }: MessageEvent<FromWorker>) => this.#receive(data);
    this.#worker.onerror = (event) => {
      event.preventDefault();
      this.#fail(event.message);
    };
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

  get running(): boolean {
    return this.#running;
  }

  /** Of the last snapshot that it has applied. */
  get revision(): number {
    return this.#applied;
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
    if (!this.#running) return;
    this.#end();
    this.#start.reject(new Error(`Cannot run relay worker ${this.#index}: ${message}`));
    this.#onFailed(message);
  }

  #end(): void {
    this.#running = false;
    this.#worker.terminate();
    this.#wake.close();
    for (const { resolve } of this.#waiting) resolve();
    this.#waiting = [];
    this.#stopped.resolve();
  }
}
