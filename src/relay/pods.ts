/**
 * The pods of this node, as one worker serves them: their namespace and their two listeners.
 *
 * In: snapshots. Out: accepted connections, handed to `outbound` and `inbound`. Invariant: a pod
 * has listeners while it is in the snapshot with a certificate; without one nothing could be
 * authenticated, and with no listener the kernel refuses by itself. A pod that leaves keeps them
 * until the kernel has followed (`settle`) and its last connections are accepted: what was steered
 * by the old plan is carried as the new one says, not refused.
 *
 * @module
 */

import { Errno } from "../../ffi/errno.ts";
import { Fd } from "../../ffi/fd.ts";
import { EPOLLIN } from "../../ffi/linux/epoll.ts";
import { netnsCookie, withNetns } from "../../ffi/linux/netns.ts";
import { Resource, resourceLimit } from "../../ffi/linux/process.ts";
import {
  abortOnClose,
  accept,
  closeSocket,
  type Endpoint,
  openTcpListener,
  openTcpSocket,
  setOption,
  SocketOption,
} from "../../ffi/linux/socket.ts";
import { type Deadlines, Waiter } from "./io/deadlines.ts";
import type { Handler } from "./io/loop.ts";
import { DESCRIPTORS_RESERVED } from "../limits.ts";
import type { RelayPod } from "./messages.ts";
import { acceptInbound } from "./path/inbound.ts";
import { keepAlive } from "./path/keepalive.ts";
import { acceptOutbound } from "./path/outbound.ts";
import type { Shop } from "./shop.ts";

export class LocalPods implements Disposable {
  readonly #shop: Shop;
  readonly #worker: number;
  readonly #pods = new Map<string, LocalPod>();
  readonly #leaving = new Set<LocalPod>();

  constructor(shop: Shop, worker: number) {
    this.#shop = shop;
    this.#worker = worker;
  }

  /** Opens and closes listeners so that they agree with the World. */
  update(): void {
    const { pods } = this.#shop.world.snapshot;
    const wanted = new Map(pods.filter((pod) => pod.svid).map((pod) => [pod.key, pod]));
    for (const [key, local] of this.#pods) {
      const pod = wanted.get(key);
      if (pod?.netnsCookie === local.netnsCookie) continue;
      if (pod === undefined) {
        this.#leaving.add(local);
        local.yieldSlot();
      } else this.#forget(local);
    }
    for (const [key, pod] of wanted) {
      const known = this.#pods.get(key);
      if (known === undefined) this.#open(pod);
      else {
        this.#leaving.delete(known);
        known.stay();
        known.offer(pod.slot);
      }
    }
  }

  /** Nothing new is steered to those who have left: they go when their last ones are accepted. */
  settle(): void {
    for (const local of this.#leaving) local.leave(() => this.#forget(local));
    this.#leaving.clear();
  }

  /** Accepts nothing more. */
  closeListeners(): void {
    for (const local of this.#pods.values()) local.closeListeners();
  }

  #forget(local: LocalPod): void {
    this.#leaving.delete(local);
    if (this.#pods.get(local.key) === local) this.#pods.delete(local.key);
    local[Symbol.dispose]();
  }

  /** A pod whose namespace has just vanished is no reason to fail the others. */
  #open(pod: RelayPod): void {
    try {
      const local = new LocalPod(this.#shop, pod, this.#worker);
      this.#pods.set(pod.key, local); // before the kernel is told: whatever fails, it is closed
      local.offer(pod.slot);
    } catch (error) {
      this.#pods.get(pod.key)?.[Symbol.dispose]();
      this.#pods.delete(pod.key);
      this.#shop.loop.onFault(error); // the next snapshot tries again
    }
  }

  [Symbol.dispose](): void {
    for (const local of this.#pods.values()) local[Symbol.dispose]();
    this.#pods.clear();
  }
}

/** One pod's namespace, for whoever needs a socket in it. */
export class LocalPod extends Waiter implements Disposable {
  readonly key: string;
  readonly netnsCookie: bigint;
  readonly #shop: Shop;
  readonly #netns: Fd;
  readonly #listeners: readonly Listener[];
  #slot = -1;
  #onLeft: () => void = () => {};

  constructor(shop: Shop, pod: RelayPod, worker: number) {
    super();
    this.#shop = shop;
    this.key = pod.key;
    this.netnsCookie = pod.netnsCookie;
    using parts = new DisposableStack(); // what is there already, when the rest fails
    this.#netns = parts.use(duplicate(pod.netnsFd, `netns of ${pod.key}`));
    if (netnsCookie(this.#netns) !== pod.netnsCookie) { // an old snapshot, an old number
      throw new TypeError(`Cannot serve pod "${pod.key}": its namespace is gone`);
    }
    const listen = (direction: Direction, take: typeof acceptInbound) => {
      const fd = withNetns(this.#netns, openListener);
      return parts.use(new Listener(shop, fd, direction, worker, (raw) => take(shop, this, raw)));
    };
    this.#listeners = [listen("outbound", acceptOutbound), listen("inbound", acceptInbound)];
    parts.move();
  }

  /** Tells the kernel where the listeners are. */
  offer(slot: number): void {
    if (slot === this.#slot) return;
    this.#slot = slot;
    for (const listener of this.#listeners) listener.offer(slot);
  }

  /** Others may have its slot from now on; should it come back, the kernel must be told again. */
  yieldSlot(): void {
    this.#slot = -1;
  }

  /** Goes in a moment, but for `stay`. */
  leave(onLeft: () => void): void {
    this.#onLeft = onLeft;
    this.#shop.deadlines.linger.set(this, this.#shop.loop.nowMs);
  }

  stay(): void {
    this.queue?.clear(this);
  }

  onDeadline(): void {
    this.#onLeft();
  }

  closeListeners(): void {
    for (const listener of this.#listeners) listener[Symbol.dispose]();
  }

  /**
   * A socket in the pod's namespace, of the family of `target`, that `mark` has told the kernel of;
   * a negative error number without one.
   */
  openSocket(target: Endpoint, mark: (fd: number) => void): number {
    let fd = -1;
    try {
      fd = withNetns(this.#netns, () => openTcpSocket(target.address));
      if (fd >= spareDescriptor()) {
        this.#shop.reporter.count("accept_refused");
        closeSocket(fd);
        return -Errno.EMFILE;
      }
      setOption(fd, SocketOption.NODELAY, 1);
      mark(fd);
      return fd;
    } catch {
      if (fd >= 0) closeSocket(fd);
      return -Errno.EMFILE;
    }
  }

  [Symbol.dispose](): void {
    this.stay();
    this.closeListeners();
    this.#netns.close();
  }
}

type Direction = "outbound" | "inbound";

class Listener extends Waiter implements Handler, Disposable {
  readonly #shop: Shop;
  readonly #fd: number;
  readonly #direction: Direction;
  readonly #worker: number;
  readonly #take: (fd: number) => void;
  #closed = false;

  constructor(
    shop: Shop,
    fd: number,
    direction: Direction,
    worker: number,
    take: (fd: number) => void,
  ) {
    super();
    this.#shop = shop;
    this.#fd = fd;
    this.#direction = direction;
    this.#worker = worker;
    this.#take = take;
    shop.loop.add(fd, EPOLLIN, this);
  }

  offer(slot: number): void {
    if (this.#closed) return;
    this.#shop.door.offerListener(slot, this.#direction, this.#worker, this.#fd);
  }

  onReady(): void {
    const spare = spareDescriptor();
    for (let left = ACCEPTS_PER_TURN; left > 0; left--) {
      const fd = accept(this.#fd);
      if (fd >= spare) {
        // Refused at once: who is left in the queue waits for nobody knows how long.
        this.#shop.reporter.count("accept_refused");
        abortOnClose(fd);
        closeSocket(fd);
      } else if (fd >= 0) {
        this.#shop.reporter.count(`accepted_${this.#direction}`);
        this.#give(fd);
      } else if (fd === -Errno.EMFILE || fd === -Errno.ENFILE || fd === -Errno.ENOMEM) {
        return this.#rest();
      } else if (fd !== -Errno.ECONNABORTED && fd !== -Errno.EINTR) return;
    }
  }

  /** What goes wrong with one connection is not the listener's business. */
  #give(fd: number): void {
    try {
      this.#take(fd);
    } catch (error) {
      this.#shop.loop.fail(fd, error);
    }
  }

  onFault(): void {
    this[Symbol.dispose]();
  }

  /** Accepts again, after a while in which descriptors may have become free. */
  onDeadline(): void {
    this.#shop.loop.modify(this.#fd, EPOLLIN);
  }

  [Symbol.dispose](): void {
    if (this.#closed) return;
    this.#closed = true;
    this.queue?.clear(this);
    this.#shop.loop.close(this.#fd);
  }

  /** Out of descriptors: level-triggered readiness would spin. */
  #rest(): void {
    const { loop, reporter } = this.#shop;
    reporter.count("accept_paused");
    loop.modify(this.#fd, 0);
    const rest: Deadlines = this.#shop.deadlines.linger;
    rest.set(this, loop.nowMs);
  }
}

/** Connections that the kernel keeps for a worker that is busy. */
const BACKLOG = 4096;
const ACCEPTS_PER_TURN = 64;

/**
 * The first descriptor that connections may not have. The kernel gives the lowest that is free, so
 * a number as high says how many are in use; the rest is for the agent to answer, and to mend.
 */
function spareDescriptor(): number {
  return Number(resourceLimit(Resource.OPEN_FILES).current) - DESCRIPTORS_RESERVED;
}

/** What it accepts inherits the options. */
function openListener(): number {
  const fd = openTcpListener(BACKLOG);
  setOption(fd, SocketOption.NODELAY, 1);
  keepAlive(fd);
  return fd;
}

/** A descriptor of this thread's own; the one given stays its owner's. */
function duplicate(raw: number, label: string): Fd {
  const owner = Fd.adopt(raw, label);
  const own = owner.duplicate();
  owner.take();
  return own;
}
