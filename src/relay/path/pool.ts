/**
 * Idle tunnels, waiting for the next connection of the same pod to the same destination and port.
 *
 * In: tunnels whose stream has ended cleanly. Out: the one used last, whose peer is most surely
 * still there. Invariant: at most `IDLE_MAX` in all and `IDLE_PER_POD_MAX` of one pod; beyond that
 * the oldest goes. One connection at a time in each: no head-of-line blocking, no stream numbers.
 *
 * @module
 */

/** Idle tunnels of one worker: 12 KiB each. */
const IDLE_MAX = 4096;
const IDLE_PER_POD_MAX = 512;

/** A tunnel that can wait here. */
export interface Idle {
  /** Pod, destination and port. */
  readonly poolKey: string;
  readonly pod: string;
  /** There is no room for it any more: it closes itself. */
  evict(): void;
}

export class TunnelPool<T extends Idle = Idle> {
  /** Per key, the last used one last. */
  readonly #byKey = new Map<string, T[]>();
  /** In the order in which they came. */
  readonly #all = new Set<T>();
  readonly #perPod = new Map<string, number>();
  readonly #onChange: (change: 1 | -1) => void;

  /** `onChange` counts those who come and go. */
  constructor(onChange: (change: 1 | -1) => void) {
    this.#onChange = onChange;
  }

  get size(): number {
    return this.#all.size;
  }

  /** Takes an idle tunnel for `key`. */
  take(key: string): T | undefined {
    const tunnel = this.#byKey.get(key)?.at(-1);
    if (tunnel !== undefined) this.remove(tunnel);
    return tunnel;
  }

  /** Lets a tunnel wait. */
  put(tunnel: T): void {
    const list = this.#byKey.get(tunnel.poolKey);
    if (list === undefined) this.#byKey.set(tunnel.poolKey, [tunnel]);
    else list.push(tunnel);
    this.#all.add(tunnel);
    this.#onChange(1);
    this.#perPod.set(tunnel.pod, (this.#perPod.get(tunnel.pod) ?? 0) + 1);
    if ((this.#perPod.get(tunnel.pod) ?? 0) > IDLE_PER_POD_MAX) this.#evictOldest(tunnel.pod);
    else if (this.#all.size > IDLE_MAX) this.#evictOldest(undefined);
  }

  /** Takes `tunnel` out; false when it does not wait here. */
  remove(tunnel: T): boolean {
    if (!this.#all.delete(tunnel)) return false;
    this.#onChange(-1);
    const list = this.#byKey.get(tunnel.poolKey) ?? [];
    const index = list.lastIndexOf(tunnel);
    if (index >= 0) list.splice(index, 1);
    if (list.length === 0) this.#byKey.delete(tunnel.poolKey);
    const left = (this.#perPod.get(tunnel.pod) ?? 1) - 1;
    if (left === 0) this.#perPod.delete(tunnel.pod);
    else this.#perPod.set(tunnel.pod, left);
    return true;
  }

  #evictOldest(pod: string | undefined): void {
    for (const tunnel of this.#all) {
      if (pod !== undefined && tunnel.pod !== pod) continue;
      this.remove(tunnel);
      tunnel.evict();
      return;
    }
  }
}
