/**
 * Chance that can be had again: numbers, choices and damage to bytes, all from one seed.
 *
 * In: a seed and the number of a case. Out: always the same sequence for the same two, so that a
 * failure is repeated by them alone, without the cases before it.
 *
 * @module
 */

/** What a fuzzer is told. */
export interface FuzzOptions {
  readonly seed: number;
  readonly cases: number;
}

/** Runs `body` for each case; what it throws is thrown on with the seed and the case. */
export async function forEachCase(
  { seed, cases }: FuzzOptions,
  body: (random: Random, index: number) => Promise<void> | void,
): Promise<void> {
  for (let index = 0; index < cases; index++) {
    try {
      // deno-lint-ignore no-await-in-loop -- a case must not see the traces of another
      await body(new Random(seed, index), index);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      throw new Error(`Seed ${seed}, case ${index}: ${reason}`, { cause: error });
    }
  }
}

/** One sequence (xorshift: cheap, and nobody has to be surprised by it). */
export class Random {
  #state: number;

  constructor(seed: number, index: number) {
    this.#state = (Math.imul(seed ^ 0x9e3779b9, 0x85ebca6b) ^ Math.imul(index + 1, 0xc2b2ae35)) | 1;
    for (let round = 0; round < 8; round++) this.#next();
  }

  /** From zero to below `limit`. */
  below(limit: number): number {
    return Math.floor(this.#next() / 0x1_0000_0000 * limit);
  }

  /** Small numbers often, large ones now and then, at most `max`. */
  size(max: number): number {
    return this.below(2 ** (1 + this.below(Math.max(1, Math.ceil(Math.log2(max)))))) % (max + 1);
  }

  chance(one: number): boolean {
    return this.below(one) === 0;
  }

  pick<T>(from: readonly T[]): T {
    const chosen = from[this.below(from.length)];
    if (chosen === undefined) throw new RangeError("Cannot pick from nothing");
    return chosen;
  }

  bytes(length: number): Uint8Array<ArrayBuffer> {
    return Uint8Array.from({ length }, () => this.below(256));
  }

  /** The same bytes with a few things wrong. */
  damage(bytes: Uint8Array, times = 1 + this.size(8)): Uint8Array<ArrayBuffer> {
    let result: Uint8Array<ArrayBuffer> = Uint8Array.from(bytes);
    for (let round = 0; round < times; round++) result = this.#damageOnce(result);
    return result;
  }

  #damageOnce(bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
    const at = this.below(bytes.length + 1);
    const end = Math.min(bytes.length, at + 1 + this.size(64));
    const [head, part, tail] = [bytes.slice(0, at), bytes.slice(at, end), bytes.slice(end)];
    switch (this.below(6)) {
      case 0:
        return join(head, tail);
      case 1:
        return join(head, part, part, tail);
      case 2:
        return join(head, this.bytes(part.length), tail);
      case 3:
        return join(head, this.bytes(1 + this.size(64)), part, tail);
      case 4:
        return this.chance(4)
          ? head
          : join(head, part.map((byte) => byte ^ 1 << this.below(8)), tail);
      default:
        return join(head, part.fill(this.pick([0, 0x7f, 0x80, 0xff])), tail);
    }
  }

  #next(): number {
    let x = this.#state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#state = x;
    return x >>> 0;
  }
}

/** Bytes after each other. */
export function join(...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const result = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    result.set(part, at);
    at += part.length;
  }
  return result;
}
