/**
 * The relay of one worker, put together: what `worker.ts` wraps into a thread.
 *
 * In: start parameters, a door, snapshots. Out: carried connections, events. Invariant: a snapshot
 * is applied between two batches of the loop, so every connection meets either all of it or
 * nothing.
 *
 * @module
 */

import { TlsCallbacks } from "../../ffi/tls/callbacks.ts";
import { BEAT_INTERVAL_MS } from "../limits.ts";
import { Waiter } from "./io/deadlines.ts";
import { Deadlines } from "./io/deadlines.ts";
import type { Door } from "./io/door.ts";
import type { Inbox } from "./io/loop.ts";
import { Reporter } from "./io/reporter.ts";
import type { FromWorker, RelayConfig, RelaySnapshot } from "./messages.ts";
import { LocalPods } from "./pods.ts";
import { Shop } from "./shop.ts";
import { Credentials, SERVER_PROTOCOLS } from "./tls/credentials.ts";
import { openKeylog } from "./tls/keylog.ts";
import { World } from "./world.ts";

/** What a worker is told once. */
export interface WorkerStart {
  readonly index: number;
  readonly config: RelayConfig;
  readonly counters: SharedArrayBuffer;
  readonly ticketSecret: Uint8Array;
}

export class WorkerRelay implements Disposable {
  readonly shop: Shop;
  readonly #pods: LocalPods;
  readonly #callbacks: TlsCallbacks;
  readonly #post: (message: FromWorker) => void;

  constructor(start: WorkerStart, door: Door, post: (message: FromWorker) => void) {
    const { keylogFile } = start.config;
    this.#post = post;
    this.#callbacks = new TlsCallbacks({
      protocols: SERVER_PROTOCOLS,
      ...(keylogFile !== undefined && { keylog: openKeylog(keylogFile) }),
    });
    this.shop = new Shop({
      callbacks: this.#callbacks,
      credentials: new Credentials(this.#callbacks, start.ticketSecret),
      reporter: new Reporter(
        start.counters,
        (events, lost) => post({ type: "events", events, lost }),
      ),
      door,
    });
    this.shop.loop.onFault = (error) => this.#tellFault(error);
    this.#pods = new LocalPods(this.shop, start.index);
    this.#beat(door, start.index);
  }

  /** Goes over to a snapshot: listeners first, so that who waits for them finds them. */
  apply(snapshot: RelaySnapshot): void {
    this.shop.update(new World(snapshot));
    this.#pods.update();
    this.#post({ type: "applied", revision: snapshot.revision });
  }

  /** The kernel has followed: who left the snapshot gets no new connection any more. */
  settle(): void {
    this.#pods.settle();
  }

  /** Works until `stop`. Messages are received while `run` yields. */
  run(wakeFd: number, inbox: Inbox): Promise<void> {
    const { loop, reporter } = this.shop;
    return loop.run(wakeFd, inbox, () => reporter.flush());
  }

  /**
   * Ends after `graceMs`, or when nothing is carried any more. Who has dialled already is taken;
   * that others do not dial is the kernel's business.
   */
  stop(graceMs: number): void {
    const { loop } = this.shop;
    if (graceMs <= 0) return loop.stop();
    const grace = new Deadlines(Math.min(graceMs, DRAIN_CHECK_MS));
    const end = loop.nowMs + graceMs;
    const close = loop.nowMs + Math.min(graceMs, LAST_ACCEPT_MS);
    const waiter = new Alarm(() => {
      if (loop.nowMs >= close) this.#pods.closeListeners();
      const isDone = loop.nowMs >= close && this.shop.live.size === this.shop.pool.size;
      if (isDone || loop.nowMs >= end) loop.stop();
      else grace.set(waiter, loop.nowMs);
    });
    loop.watch(grace);
    grace.set(waiter, loop.nowMs);
  }

  /** Tells the kernel again and again that this worker comes round to its work. */
  #beat(door: Door, worker: number): void {
    const { loop } = this.shop;
    const beats = new Deadlines(BEAT_INTERVAL_MS);
    const heart = new Alarm(() => {
      beats.set(heart, loop.nowMs);
      door.beat(worker);
    });
    loop.watch(beats);
    heart.onDeadline();
  }

  /** A connection has met a defect of ours: it is closed, its ring is emptied, the others go on. */
  #tellFault(error: unknown): void {
    this.shop.space.ring.discardInput();
    this.shop.space.ring.discardOutput();
    const message = error instanceof Error ? error.stack ?? error.message : String(error);
    this.#post({ type: "fault", message });
  }

  [Symbol.dispose](): void {
    using parts = new DisposableStack(); // the last one first, whatever the others throw
    parts.use(this.#callbacks);
    parts.use(this.shop);
    parts.defer(() => this.shop.reporter.flush());
    parts.use(this.#pods);
  }
}

/** How often a worker that drains looks whether it is done. */
const DRAIN_CHECK_MS = 50;
/** Handshakes of TCP that had begun when it was asked to stop are complete by then. */
const LAST_ACCEPT_MS = 200;

class Alarm extends Waiter {
  readonly onDeadline: () => void;

  constructor(action: () => void) {
    super();
    this.onDeadline = action;
  }
}
