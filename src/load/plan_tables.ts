/**
 * The maps that hold a plan, and what becomes of a plan that does not fit into them.
 *
 * `put` writes what may stand beside the rows of the plan before, `settle` removes those and tries
 * again what had found no room. Invariant: what is missing is denied, or goes to the relay, which
 * knows the whole plan; never is it taken for something laxer. So overrides come before the address
 * that points to them, an address whose overrides are not all there is STRICT, and a flag in
 * `config` says whether an address without a row may be somebody's.
 *
 * @module
 */

import {
  WEFT_CONFIG_NO_SERVICE,
  WEFT_CONFIG_PARTIAL,
  WEFT_CONFIG_PODS_FULL,
} from "../../bpf/layout.gen.ts";
import type { BpfMap } from "../../ffi/bpf/map.ts";
import type { Plan } from "../compile/mod.ts";
import type { AttachedPod } from "./pods.ts";
import type { MapName } from "./programs.ts";
import { type PlanRows, planRows, portKeyBytes, type Room } from "./rows.ts";
import { type ServiceShortage, ServiceTables } from "./services.ts";
import { idOf, Table } from "./table.ts";

/** A map that is too small for the plan, and what that means for whom. */
export interface Shortage {
  readonly map: string;
  readonly entriesMax: number;
  readonly sentence: string;
}

/** All maps of a plan but `config` and `decisions`. */
export class PlanTables {
  readonly #tables: Readonly<Record<TableName, Table>>;
  readonly #services: ServiceTables;
  readonly #backends: BpfMap;
  readonly #serviceMap: BpfMap;
  #missing: Missing = NOTHING;

  constructor(map: (name: MapName) => BpfMap) {
    const table = (name: TableName) => new Table(map(name));
    this.#tables = {
      cidrs: table("cidrs"),
      ports: table("ports"),
      addresses: table("addresses"),
      veths: table("veths"),
      pods: table("pods"),
    };
    this.#serviceMap = map("services");
    this.#backends = map("backends");
    this.#services = new ServiceTables(this.#serviceMap, this.#backends);
  }

  /** Pods that have room for all of their rows. */
  get podsMax(): number {
    return Math.min(this.#tables.pods.capacity, this.#tables.veths.capacity);
  }

  /** Puts a plan's rows beside those of the one before. */
  put(plan: Plan, pods: ReadonlyMap<string, AttachedPod>): void {
    const services = this.#services.apply(plan.services);
    this.#missing = { services, ...this.#round(plan, pods) };
  }

  /** Removes the rows of the plan before, and puts what had no room beside them. */
  settle(plan: Plan, pods: ReadonlyMap<string, AttachedPod>): void {
    const rows = planRows(plan, pods, this.#room());
    for (const name of [...ORDER].reverse()) this.#tables[name].prune(rows[name]);
    if (this.#missing.rows) this.#missing = { ...this.#missing, ...this.#round(plan, pods) };
  }

  /** WEFT_CONFIG_* that must be in force while rows are missing. */
  get flags(): number {
    const { addresses, cidrs, pods, services } = this.#missing;
    return (addresses + cidrs > 0 ? WEFT_CONFIG_PARTIAL : 0) |
      (services.absent > 0 ? WEFT_CONFIG_NO_SERVICE : 0) |
      (pods > 0 ? WEFT_CONFIG_PODS_FULL : 0);
  }

  /** Which maps are full, and what that means. */
  get shortages(): Shortage[] {
    const { addresses, cidrs, closed, services } = this.#missing;
    const found: Shortage[] = [];
    const add = (map: string, { capacity }: { capacity: number }, sentence: string) =>
      found.push({ map, entriesMax: capacity, sentence });
    const strangers = "enrolled pods reach addresses without a row only through the relay";
    if (addresses > 0) {
      add("addresses", this.#tables.addresses, `${addresses} addresses have no row: ${strangers}`);
    }
    if (cidrs > 0) add("cidrs", this.#tables.cidrs, `${cidrs} have no row: ${strangers}`);
    if (closed.length > 0) {
      const names = closed.slice(0, NAMES_MAX).join(", ") +
        (closed.length > NAMES_MAX ? ", …" : "");
      const sentence = `${closed.length} addresses are STRICT on every port, because their port ` +
        `overrides do not fit (${names})`;
      add("ports", this.#tables.ports, sentence);
    }
    if (services.absent > 0) {
      const sentence = `${services.absent} Service ports have no row: enrolled pods reach no ` +
        "address that is not known";
      add("services", { capacity: this.#serviceMap.info.maxEntries }, sentence);
    }
    if (services.refused > 0) {
      const sentence = `${services.refused} Service ports are refused (map-full)`;
      add("backends", { capacity: this.#backends.info.maxEntries }, sentence);
    }
    return found;
  }

  /** How full the maps are, as far as that is known without counting. */
  usage(): { name: string; entries: number; entriesMax: number }[] {
    return ORDER.map((name) => {
      const { size, capacity } = this.#tables[name];
      return { name, entries: size, entriesMax: capacity };
    });
  }

  /** One attempt to put all rows; overrides before the addresses that rely on them. */
  #round(plan: Plan, pods: ReadonlyMap<string, AttachedPod>): Omit<Missing, "services"> {
    let rows = planRows(plan, pods, this.#room());
    const left = new Map<TableName, ReadonlySet<string>>();
    left.set("cidrs", this.#tables.cidrs.put(rows.cidrs));
    const ports = this.#tables.ports.put(rows.ports);
    if (ports.size > 0) rows = planRows(plan, pods, this.#room(), closedBy(plan, rows, ports));
    for (const name of ["addresses", "veths", "pods"] as const) {
      left.set(name, this.#tables[name].put(rows[name]));
    }
    const count = (name: TableName) => left.get(name)?.size ?? 0;
    return {
      rows: ports.size > 0 || [...left.values()].some(({ size }) => size > 0),
      addresses: rows.left.addresses.length + count("addresses"),
      cidrs: rows.left.cidrs.length + count("cidrs"),
      closed: [...rows.left.closed],
      pods: count("pods") + count("veths"),
    };
  }

  #room(): Room {
    const { addresses, ports, cidrs } = this.#tables;
    return { addresses: addresses.capacity, ports: ports.capacity, cidrs: cidrs.capacity };
  }
}

type TableName = "cidrs" | "ports" | "addresses" | "veths" | "pods";

/** In which rows are put; they are removed in the reverse. */
const ORDER: readonly TableName[] = ["cidrs", "ports", "addresses", "veths", "pods"];

interface Missing {
  /** Some rows that would fit found no room beside the old ones. */
  readonly rows: boolean;
  readonly addresses: number;
  readonly cidrs: number;
  /** Addresses that are STRICT for want of room. */
  readonly closed: readonly string[];
  readonly pods: number;
  readonly services: ServiceShortage;
}

const NOTHING: Missing = {
  rows: false,
  addresses: 0,
  cidrs: 0,
  closed: [],
  pods: 0,
  services: { absent: 0, refused: 0 },
};

/** Addresses named in `weft status`; the rest is in its count. */
const NAMES_MAX = 3;

/** Addresses some of whose overrides are not in the kernel. */
function closedBy(plan: Plan, rows: PlanRows, left: ReadonlySet<string>): Set<string> {
  const missing = [...plan.ports.values()].filter((entry) => left.has(idOf(portKeyBytes(entry))));
  return new Set([...rows.left.closed, ...missing.map(({ address }) => address)]);
}
