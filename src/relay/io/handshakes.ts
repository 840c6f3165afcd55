/**
 * How many handshakes may be under way in one worker: in all, and from one address.
 *
 * In: who begins, and who is done. Out: whether there is room. Invariant: what strangers begin and
 * never finish costs a bounded amount of memory and of descriptors, and one of them cannot take all
 * of it: whoever has many open is refused first, before anybody else.
 *
 * @module
 */

/**
 * Some 40 KiB each while they last, and a descriptor; two where the port is PERMISSIVE, and what is
 * not known to be a handshake yet counts as one.
 */
export const HANDSHAKES_MAX = 4096;
/** A client of the mesh finishes within milliseconds; a thousand at once is a load test. */
export const HANDSHAKES_PER_SOURCE_MAX = 1024;

export class Handshakes {
  readonly #bySource = new Map<string, number>();
  #total = 0;

  /** Whether one more may begin. */
  hasRoom(source: string): boolean {
    return this.#total < HANDSHAKES_MAX &&
      (this.#bySource.get(source) ?? 0) < HANDSHAKES_PER_SOURCE_MAX;
  }

  /** Counts one, until it is disposed of; more than once does no harm. */
  enter(source: string): Disposable {
    this.#total++;
    this.#bySource.set(source, (this.#bySource.get(source) ?? 0) + 1);
    let isCounted = true;
    return {
      [Symbol.dispose]: () => {
        if (!isCounted) return;
        isCounted = false;
        this.#leave(source);
      },
    };
  }

  #leave(source: string): void {
    this.#total--;
    const left = (this.#bySource.get(source) ?? 1) - 1;
    if (left === 0) this.#bySource.delete(source);
    else this.#bySource.set(source, left);
  }
}
