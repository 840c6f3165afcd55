/**
 * Service addresses in the kernel: `services` names a set of backends by number, `backends` holds
 * it.
 *
 * A changed set gets a new number, is written whole, and is then put into force by the one update
 * of its `services` row: a connect() meets the old set or the new one, never a mixture. Sets are
 * shared by nothing, and their rows are removed after the switch. A Service whose backends find no
 * room has a row that refuses; one that has no row itself is reported, for nothing can tell its
 * address from a stranger's.
 *
 * @module
 */

import {
  WeftBackendKey,
  WeftBackendRow,
  WeftPortKey,
  WeftServiceRow,
} from "../../bpf/layout.gen.ts";
import type { BpfMap } from "../../ffi/bpf/map.ts";
import type { ServiceEntry } from "../compile/mod.ts";
import { addressBytes, PROTO } from "./rows.ts";
import { fits, idOf } from "./table.ts";

/** The two maps, kept equal to a plan's Services. */
export class ServiceTables {
  readonly #services: BpfMap;
  readonly #backends: BpfMap;
  /** Fingerprint of what is in force, by key. */
  readonly #known = new Map<string, Known>();
  #nextId = 1;

  constructor(services: BpfMap, backends: BpfMap) {
    this.#services = services;
    this.#backends = backends;
    for (const [key, value] of services.entries()) {
      const row = WeftServiceRow.decode(value);
      this.#known.set(idOf(key), { key: key.slice(), ...row, print: "" });
      this.#nextId = Math.max(this.#nextId, row.id + 1);
    }
  }

  /** Brings both maps to `entries`; says how many found no room. */
  apply(entries: readonly ServiceEntry[]): ServiceShortage {
    const wanted = new Map(entries.map((entry) => [idOf(keyOf(entry)), entry]));
    const missing = entries.filter((entry) => this.#put(keyOf(entry), entry) !== "whole");
    for (const [id, known] of this.#known) {
      if (wanted.has(id)) continue;
      this.#services.delete(known.key);
      this.#removeBackends(known);
      this.#known.delete(id);
    }
    // What was removed may have made the room.
    const results = missing.map((entry) => this.#put(keyOf(entry), entry));
    const count = (fit: Fit) => results.filter((result) => result === fit).length;
    return { absent: count("absent"), refused: count("refused") };
  }

  #put(key: Uint8Array, entry: ServiceEntry): Fit {
    const known = this.#known.get(idOf(key));
    const print = JSON.stringify(entry.backends);
    if (known?.print === print) return "whole";
    const next = { key, id: this.#nextId++, count: entry.backends.length, print };
    const isWhole = fits(() => this.#putBackends(next.id, entry));
    if (!isWhole) this.#removeBackends(next);
    const row = isWhole ? next : { key, id: 0, count: 0, print: "" };
    if (!fits(() => this.#services.update(key, WeftServiceRow.encode(row)))) {
      this.#removeBackends(row);
      this.#services.delete(key);
      this.#known.delete(idOf(key));
      if (known) this.#removeBackends(known);
      return "absent";
    }
    this.#known.set(idOf(key), row);
    if (known) this.#removeBackends(known);
    return isWhole ? "whole" : "refused";
  }

  #putBackends(service: number, { backends }: ServiceEntry): void {
    for (const [index, { address, port }] of backends.entries()) {
      this.#backends.update(
        WeftBackendKey.encode({ service, index }),
        WeftBackendRow.encode({ addr: addressBytes(address), port }),
      );
    }
  }

  #removeBackends({ id, count }: Known): void {
    for (let index = 0; index < count; index++) {
      this.#backends.delete(WeftBackendKey.encode({ service: id, index }));
    }
  }
}

/** Services that found no room. */
export interface ServiceShortage {
  /** without a row: their addresses look like a stranger's */
  readonly absent: number;
  /** whose backends did not fit: refused */
  readonly refused: number;
}

type Fit = "whole" | "refused" | "absent";

interface Known {
  readonly key: Uint8Array;
  readonly id: number;
  readonly count: number;
  /** JSON of the backends; empty for what an earlier agent wrote */
  readonly print: string;
}

function keyOf({ address, port, proto }: ServiceEntry): Uint8Array {
  return WeftPortKey.encode({ addr: addressBytes(address), port, proto: PROTO[proto] });
}
