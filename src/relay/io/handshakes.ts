/**
 * How many handshakes may be under way in one worker: in all, of strangers, and from one source.
 *
 * In: who begins, and who is done. Out: whether there is room. Invariant: what strangers begin and
 * never finish costs a bounded amount of memory and of descriptors, and never the room that is kept
 * for pods. A source may have no more than half of what is free beside it, so whoever has many open
 * is refused first, before anybody else; a fixed share for each would be used up by a few of them.
 *
 * @module
 */

import { HANDSHAKES_MAX, HANDSHAKES_OF_STRANGERS_MAX } from "../../limits.ts";
import { familyOf } from "../../model/mod.ts";
import type { Place } from "../world.ts";

/** Who pays for a handshake. */
export interface HandshakeSource {
  /** Of its network, or of its address where that is known. */
  readonly key: string;
  readonly isPod: boolean;
}

/**
 * Who pays for those from an address: as in bpf/budget.h a network, for who is there could have
 * many addresses, and an address that is known, for its neighbours are others. What comes from a
 * node may be anybody's whom it has masqueraded.
 */
export function handshakeSource({ address, owner }: Place, bytes: Uint8Array): HandshakeSource {
  switch (owner.kind) {
    case "pod":
    case "conflict":
      return { key: address, isPod: true };
    case "node":
      return { key: address, isPod: false };
    case "unknown":
    case "outside":
      return { key: networkOf(address, bytes), isPod: false };
  }
}

export class Handshakes {
  readonly #bySource = new Map<string, number>();
  #total = 0;
  #strangers = 0;

  /** Whether one more may begin. */
  hasRoom({ key, isPod }: HandshakeSource): boolean {
    const free = HANDSHAKES_MAX - this.#total;
    const left = isPod ? free : Math.min(free, HANDSHAKES_OF_STRANGERS_MAX - this.#strangers);
    return (this.#bySource.get(key) ?? 0) < left / 2;
  }

  /** Counts one, until it is disposed of; more than once does no harm. */
  enter(source: HandshakeSource): Disposable {
    this.#count(source, 1);
    let isCounted = true;
    return {
      [Symbol.dispose]: () => {
        if (!isCounted) return;
        isCounted = false;
        this.#count(source, -1);
      },
    };
  }

  #count({ key, isPod }: HandshakeSource, change: 1 | -1): void {
    this.#total += change;
    if (!isPod) this.#strangers += change;
    const count = (this.#bySource.get(key) ?? 0) + change;
    if (count === 0) this.#bySource.delete(key);
    else this.#bySource.set(key, count);
  }
}

/** A /24, or a /64. */
function networkOf(address: string, bytes: Uint8Array): string {
  return familyOf(address) === "IPv4"
    ? `${address.slice(0, address.lastIndexOf("."))}.0/24`
    : `${bytes.subarray(0, 8).toHex()}/64`;
}
