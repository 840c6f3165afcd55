/**
 * The State: everything the sources have said, and everything that follows from it. In: a State and
 * a batch of changes. Out: a new State; the old one stays as it was.
 *
 * The model is the only place that joins objects. What follows is derived anew for each batch, but
 * a workload whose inputs are all the very same objects is taken over: one pod more among 10,000
 * costs one derivation and a few passes over maps.
 *
 * @module
 */

import { assert } from "../assert.ts";
import {
  type Change,
  keyOf,
  type Kind,
  type ObjectRef,
  type ObjectTable,
  type Rejection,
  type SourceStatus,
  type Stored,
} from "./change.ts";
import type { MeshConfig } from "./config.ts";
import { derive, type Derived } from "./derived/derive.ts";

export interface State extends Derived {
  readonly config: MeshConfig;
  readonly objects: ObjectTable;
  /** Sorted by file and line. */
  readonly rejections: readonly Rejection[];
  readonly source: SourceStatus;
}

/** The State before anything is known. */
export function emptyState(config: MeshConfig): State {
  const objects: ObjectTable = {
    Pod: new Map(),
    Namespace: new Map(),
    Node: new Map(),
    Service: new Map(),
    EndpointSlice: new Map(),
    ServiceAccount: new Map(),
    MeshPolicy: new Map(),
    WeftNode: new Map(),
  };
  const base = { config, objects, rejections: [], source: { ready: false } };
  return { ...base, ...derive(base) };
}

/** Folds one batch of changes. */
export function applyChanges(state: State, changes: readonly Change[]): State {
  const tables: Partial<Record<Kind, Map<string, Stored>>> = {};
  const draft = (kind: Kind): Map<string, Stored> =>
    tables[kind] ??= new Map<string, Stored>(state.objects[kind]);
  let { rejections, source } = state;
  for (const change of changes) {
    switch (change.type) {
      case "put":
        put(draft(change.object.kind), change);
        break;
      case "delete":
        remove(draft(change.ref.kind), change.ref);
        break;
      case "reject":
        rejections = [...rejections, change.rejection];
        break;
      case "accept":
        rejections = rejections.filter(({ file }) => file !== change.file);
        break;
      case "source":
        source = statusOf(change);
        break;
      default:
        change satisfies never;
    }
  }
  const base = {
    config: state.config,
    objects: { ...state.objects, ...tables } as ObjectTable,
    rejections: rejections === state.rejections ? rejections : [...rejections].sort(byPlace),
    source,
  };
  const derived = Object.keys(tables).length === 0 ? derivedOf(state) : derive(base, state);
  return { ...base, ...derived };
}

function statusOf({ type: _, ...status }: Extract<Change, { type: "source" }>): SourceStatus {
  return status;
}

function put(table: Map<string, Stored>, { object, origin }: Stored): void {
  table.set(keyOf(object), { object, origin });
}

function remove(table: Map<string, Stored>, ref: ObjectRef): void {
  assert(ref.name !== "", "an object has a name");
  table.delete(keyOf(ref));
}

function derivedOf({ workloads, owners, services, nodes, policies, warnings }: State): Derived {
  return { workloads, owners, services, nodes, policies, warnings };
}

function byPlace(a: Rejection, b: Rejection): number {
  if (a.file !== b.file) return a.file < b.file ? -1 : 1;
  return (a.document ?? 0) - (b.document ?? 0) || (a.line ?? 0) - (b.line ?? 0);
}
