/**
 * A kernel map whose rows weft alone writes, brought to a wanted content.
 *
 * In: the rows that should be there, the most important ones first. Out: the fewest updates and
 * deletes, and which rows found no room. What the kernel holds is the truth: the first use reads
 * it, so an agent that starts again changes only what has changed. Rows are put before others are
 * removed, in two steps, because a caller with several tables must put all before it removes any:
 * no moment may lack a row that both the old and the new plan have. A row that can be neither
 * replaced nor kept as it is goes: no row means deny, an old one might not.
 *
 * @module
 */

import type { BpfMap } from "../../ffi/bpf/map.ts";
import { Errno } from "../../ffi/errno.ts";
import { SyscallError } from "../../ffi/errors.ts";

/** A map under reconciliation. */
export class Table {
  readonly #map: BpfMap;
  #rows: Map<string, Row> | undefined;

  constructor(map: BpfMap) {
    this.#map = map;
  }

  /** Number of rows that weft knows to be there. */
  get size(): number {
    return this.#current().size;
  }

  /** Rows that it can hold. */
  get capacity(): number {
    return this.#map.info.maxEntries;
  }

  /** Updates what differs from `wanted`; returns the ids of rows that found no room. */
  put(wanted: Rows): ReadonlySet<string> {
    const current = this.#current();
    const left = new Set<string>();
    for (const [id, row] of wanted.byId) {
      const known = current.get(id);
      if (known && equalBytes(known.value, row.value)) continue;
      // After the first new row without room there is none for others either.
      if ((left.size > 0 && !known) || !fits(() => this.#map.update(row.key, row.value))) {
        left.add(id);
        if (known) this.#remove(id, known);
      } else current.set(id, row);
    }
    return left;
  }

  /** Deletes what is not in `wanted`. */
  prune(wanted: Rows): void {
    for (const [id, row] of this.#current()) if (!wanted.byId.has(id)) this.#remove(id, row);
  }

  #remove(id: string, row: Row): void {
    this.#map.delete(row.key);
    this.#current().delete(id);
  }

  #current(): Map<string, Row> {
    this.#rows ??= new Map(
      this.#map.entries().map((
        [key, value],
      ) => [idOf(key), { key: key.slice(), value: value.slice() }]),
    );
    return this.#rows;
  }
}

/** Rows by key, in the order in which they are put. */
export class Rows {
  readonly byId = new Map<string, Row>();

  set(key: Uint8Array, value: Uint8Array): void {
    this.byId.set(idOf(key), { key, value });
  }
}

/** Runs an update; false if the map is full. */
export function fits(update: () => void): boolean {
  try {
    update();
    return true;
  } catch (error) {
    if (error instanceof SyscallError && FULL.has(error.errno)) return false;
    throw error;
  }
}

/** The id of a key in `Rows`. */
export function idOf(key: Uint8Array): string {
  return String.fromCharCode(...key);
}

interface Row {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
}

/** What a full map says, a hash or a trie, and one for which there is no memory. */
const FULL: ReadonlySet<number> = new Set([Errno.E2BIG, Errno.ENOMEM, Errno.ENOSPC]);

function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, index) => byte === b[index]);
}
