/**
 * Service addresses in the kernel: `services` names a set of backends by number, `backends` holds
 * it.
 *
 * A changed set gets a new number, is written whole, and is then put into force by the one update
 * of its `services` row: a connect() meets the old set or the new one, never a mixture. Sets are
 * shared by nothing, and their rows are removed after the switch.
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

  /** Brings both maps to `entries`. */
  apply(entries: readonly ServiceEntry[]): void {
    const wanted = new Set<string>();
    for (const entry of entries) {
      const { address, port, proto } = entry;
      const key = WeftPortKey.encode({ addr: addressBytes(address), port, proto: PROTO[proto] });
      wanted.add(idOf(key));
      this.#put(key, entry);
    }
    for (const [id, known] of this.#known) {
      if (wanted.has(id)) continue;
      this.#services.delete(known.key);
      this.#removeBackends(known);
      this.#known.delete(id);
    }
  }

  #put(key: Uint8Array, entry: ServiceEntry): void {
    const known = this.#known.get(idOf(key));
    const print = JSON.stringify(entry.backends);
    if (known && known.print === print) return;
    const next = { key, id: this.#nextId++, count: entry.backends.length, print };
    for (const [index, backend] of entry.backends.entries()) {
      this.#backends.update(
        WeftBackendKey.encode({ service: next.id, index }),
        WeftBackendRow.encode({ addr: addressBytes(backend.address), port: backend.port }),
      );
    }
    this.#services.update(key, WeftServiceRow.encode({ id: next.id, count: next.count }));
    this.#known.set(idOf(key), next);
    if (known) this.#removeBackends(known);
  }

  #removeBackends({ id, count }: Known): void {
    for (let index = 0; index < count; index++) {
      this.#backends.delete(WeftBackendKey.encode({ service: id, index }));
    }
  }
}

interface Known {
  readonly key: Uint8Array;
  readonly id: number;
  readonly count: number;
  /** JSON of the backends; empty for what an earlier agent wrote */
  readonly print: string;
}

function idOf(key: Uint8Array): string {
  return String.fromCharCode(...key);
}
