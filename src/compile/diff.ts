/**
 * What has to change in the kernel to get from one Plan to the next. In: two Plans. Out: per table
 * what to write and what to delete, in sorted order.
 *
 * A table is small text and numbers, so entries are compared by value: a State derived anew gives
 * new objects for the same rows.
 *
 * @module
 */

import {
  type AddressEntry,
  type LocalPod,
  type Plan,
  type PortEntry,
  type ServiceEntry,
  serviceKey,
} from "./plan.ts";

export interface PlanDiff {
  readonly addresses: TableDiff<AddressEntry>;
  readonly ports: TableDiff<PortEntry>;
  readonly cidrs: { readonly put: readonly string[]; readonly delete: readonly string[] };
  readonly services: TableDiff<ServiceEntry>;
  readonly localPods: TableDiff<LocalPod>;
  /** Present when the decisions differ. */
  readonly decisions?: Uint8Array;
  /** Nothing is to be done. */
  readonly empty: boolean;
}

export interface TableDiff<Entry> {
  /** New or changed entries. */
  readonly put: ReadonlyMap<string, Entry>;
  /** Keys of entries that are gone. */
  readonly delete: readonly string[];
}

/** Compares two Plans. */
export function diffPlans(from: Plan, to: Plan): PlanDiff {
  const tables = {
    addresses: diffTables(from.addresses, to.addresses),
    ports: diffTables(from.ports, to.ports),
    services: diffTables(byServiceKey(from), byServiceKey(to)),
    localPods: diffTables(from.localPods, to.localPods),
  };
  const [fromCidrs, toCidrs] = [new Set(from.cidrs), new Set(to.cidrs)];
  const cidrs = {
    put: to.cidrs.filter((cidr) => !fromCidrs.has(cidr)),
    delete: from.cidrs.filter((cidr) => !toCidrs.has(cidr)),
  };
  const sameDecisions = sameBytes(from.decisions, to.decisions);
  const empty = sameDecisions && cidrs.put.length + cidrs.delete.length === 0 &&
    Object.values(tables).every((table) => table.put.size + table.delete.length === 0);
  return { ...tables, cidrs, ...(!sameDecisions && { decisions: to.decisions }), empty };
}

function byServiceKey(plan: Plan): ReadonlyMap<string, ServiceEntry> {
  return new Map(plan.services.map((entry) => [serviceKey(entry), entry]));
}

function diffTables<Entry>(
  from: ReadonlyMap<string, Entry>,
  to: ReadonlyMap<string, Entry>,
): TableDiff<Entry> {
  const put = new Map<string, Entry>();
  for (const [key, entry] of to) {
    const old = from.get(key);
    if (old === undefined || JSON.stringify(old) !== JSON.stringify(entry)) put.set(key, entry);
  }
  return { put, delete: [...from.keys()].filter((key) => !to.has(key)) };
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, index) => byte === b[index]);
}
