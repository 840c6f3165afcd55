/**
 * A kernel map whose rows weft alone writes, brought to a wanted content.
 *
 * In: the rows that should be there. Out: the fewest updates and deletes. What the kernel holds is
 * the truth: the first use reads it, so an agent that starts again changes only what has changed.
 * Rows are put before others are removed, in two steps, because a caller with several tables must
 * put all before it removes any: no moment may lack a row that both the old and the new plan have.
 *
 * @module
 */

import type { BpfMap } from "../../ffi/bpf/map.ts";

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

  get map(): BpfMap {
    return this.#map;
  }

  /** Updates what differs from `wanted`. A full map throws; what was put until then stays. */
  put(wanted: Rows): void {
    const current = this.#current();
    for (const [id, row] of wanted.byId) {
      const known = current.get(id);
      if (known && equalBytes(known.value, row.value)) continue;
      this.#map.update(row.key, row.value);
      current.set(id, row);
    }
  }

  /** Deletes what is not in `wanted`. */
  prune(wanted: Rows): void {
    const current = this.#current();
    for (const [id, row] of current) {
      if (wanted.byId.has(id)) continue;
      this.#map.delete(row.key);
      current.delete(id);
    }
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

/** Rows by key. */
export class Rows {
  readonly byId = new Map<string, Row>();

  set(key: Uint8Array, value: Uint8Array): void {
    this.byId.set(idOf(key), { key, value });
  }
}

interface Row {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
}

function idOf(key: Uint8Array): string {
  return String.fromCharCode(...key);
}

function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, index) => byte === b[index]);
}
