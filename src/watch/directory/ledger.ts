/**
 * What a set of files says together, and what has changed since it was told last. In: the record of
 * every file. Out: changes.
 *
 * An object that two files define stands by the first in path order; the other is rejected and
 * takes over when the first is gone. Invariant: the result depends on the records alone, not on the
 * order in which the files were read.
 *
 * @module
 */

import type { Change, ModelObject, ObjectRef, Rejection } from "../../model/mod.ts";
import type { Entry, FileRecord } from "./record.ts";

export class Ledger {
  #inForce = new Map<string, Entry>();
  /** File -> its rejections as JSON, as told last. */
  #told = new Map<string, string>();

  /** Tells what has changed. `records` in path order. */
  update(records: ReadonlyMap<string, FileRecord>): Change[] {
    const { inForce, duplicates } = resolve(records);
    const changes: Change[] = [];
    for (const [id, { object }] of this.#inForce) {
      if (!inForce.has(id)) changes.push({ type: "delete", ref: refOf(object) });
    }
    for (const [id, entry] of inForce) {
      if (this.#inForce.get(id) === entry) continue;
      changes.push({ type: "put", object: entry.object, origin: entry.origin });
    }
    this.#inForce = inForce;
    changes.push(...this.#tellRejections(records, duplicates));
    return changes;
  }

  #tellRejections(
    records: ReadonlyMap<string, FileRecord>,
    duplicates: ReadonlyMap<string, readonly Rejection[]>,
  ): Change[] {
    const changes: Change[] = [];
    const told = new Map<string, string>();
    for (const [file, record] of records) {
      const rejections = [...record.rejections, ...duplicates.get(file) ?? []];
      if (rejections.length === 0) continue;
      const text = JSON.stringify(rejections);
      told.set(file, text);
      if (this.#told.get(file) === text) continue;
      if (this.#told.has(file)) changes.push({ type: "accept", file });
      for (const rejection of rejections) changes.push({ type: "reject", rejection });
    }
    for (const file of this.#told.keys()) {
      if (!told.has(file)) changes.push({ type: "accept", file });
    }
    this.#told = told;
    return changes;
  }
}

interface Resolution {
  readonly inForce: Map<string, Entry>;
  /** By the file whose object does not count. */
  readonly duplicates: Map<string, Rejection[]>;
}

function resolve(records: ReadonlyMap<string, FileRecord>): Resolution {
  const inForce = new Map<string, Entry>();
  const duplicates = new Map<string, Rejection[]>();
  for (const [file, { entries }] of records) {
    for (const entry of entries) {
      const first = inForce.get(entry.id);
      if (first === undefined) {
        inForce.set(entry.id, entry);
        continue;
      }
      const { document } = entry.origin;
      const rejection: Rejection = {
        file,
        ...(document !== undefined && { document }),
        line: entry.line,
        ref: refOf(entry.object),
        reason: `is defined in "${first.origin.file}", line ${first.line}, already`,
        code: "duplicate",
        kept: false,
      };
      duplicates.set(file, [...duplicates.get(file) ?? [], rejection]);
    }
  }
  return { inForce, duplicates };
}

function refOf({ kind, namespace, name }: ModelObject): ObjectRef {
  return { kind, namespace, name };
}
