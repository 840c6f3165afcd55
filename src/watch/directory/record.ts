/**
 * What one file says. In: its bytes, and what it said before. Out: the objects that stand by it and
 * what is rejected, each with line, path and reason.
 *
 * The last good version of a document stays when the document goes bad (DESIGN §9). Where a
 * document cannot be parsed at all nobody knows which object it held: then every object that the
 * file had and that is missing now stays, since dropping a STRICT policy by a typing error would
 * open what it closed.
 *
 * @module
 */

import { FAULTS_SHOWN_MAX } from "../../limits.ts";
import {
  type FieldPath,
  formatPath,
  keyOf,
  type ModelObject,
  type ObjectRef,
  type Origin,
  type Rejection,
} from "../../model/mod.ts";
import { convertDocument, type Converted, type ConvertOptions } from "../convert.ts";
import { parseFile, type SourceDocument } from "./document.ts";

export interface FileRecord {
  /** In document order; no object twice. */
  readonly entries: readonly Entry[];
  readonly rejections: readonly Rejection[];
  /** Kinds that weft has no use for, and how many documents of each. */
  readonly ignored: ReadonlyMap<string, number>;
}

/** One object of a file. */
export interface Entry {
  /** Kind, namespace and name in one. */
  readonly id: string;
  readonly object: ModelObject;
  readonly origin: Origin;
  readonly line: number;
  /** The document and its place: equal fingerprints are the same object on the same lines. */
  readonly fingerprint: string;
  /** From an earlier run of the agent: the lines of its fields are not known. */
  readonly restored?: true;
}

export interface RecordOptions extends ConvertOptions {
  /** Why an object may not be in this file, or undefined. */
  readonly misplaced: (ref: ObjectRef) => string | undefined;
}

/** The record of a file that says nothing. */
export const EMPTY_RECORD: FileRecord = { entries: [], rejections: [], ignored: new Map() };

/** Reads a file's bytes. */
export function recordOf(
  file: string,
  bytes: Uint8Array,
  previous: FileRecord,
  options: RecordOptions,
): FileRecord {
  const parsed = parseFile(bytes);
  const reader = new RecordReader(file, previous, options);
  for (const document of parsed.documents) reader.read(document);
  for (const { number, line, reason } of parsed.broken) {
    reader.reject({ file, document: number, line, reason, code: "unreadable", kept: false });
  }
  return reader.finish(parsed.broken.length > 0);
}

/** The record of a file that cannot be read: everything that it said stays. */
export function unreadableRecord(file: string, reason: string, previous: FileRecord): FileRecord {
  const kept = previous.entries.length > 0;
  const rejection: Rejection = { file, reason, code: "unreadable", kept };
  return { ...previous, rejections: [rejection] };
}

/** The entry that a fingerprint was taken of, if it is still acceptable. */
export function restoreEntry(
  file: string,
  fingerprint: string,
  options: RecordOptions,
): Entry | undefined {
  const [number, line, value] = JSON.parse(fingerprint) as [number, number, unknown];
  const converted = convertDocument(value, options);
  if (converted.type !== "object" || options.misplaced(converted.object) !== undefined) {
    return undefined;
  }
  const { object } = converted;
  // Only where the document began is still known.
  const origin: Origin = { file, document: number, lineOf: () => line };
  return { id: idOf(object), object, origin, line, fingerprint, restored: true };
}

/** Kind, namespace and name in one. */
export function idOf(ref: ObjectRef): string {
  return `${ref.kind} ${keyOf(ref)}`;
}

class RecordReader {
  readonly #file: string;
  readonly #options: RecordOptions;
  readonly #previous: ReadonlyMap<string, Entry>;
  readonly #entries = new Map<string, Entry>();
  readonly #bad = new Set<string>();
  readonly #rejections: Rejection[] = [];
  readonly #ignored = new Map<string, number>();

  constructor(file: string, previous: FileRecord, options: RecordOptions) {
    this.#file = file;
    this.#options = options;
    this.#previous = new Map(previous.entries.map((entry) => [entry.id, entry]));
  }

  read(document: SourceDocument): void {
    const converted = convertDocument(document.value, this.#options);
    switch (converted.type) {
      case "object":
        return this.#accept(document, converted);
      case "ignored":
        this.#ignored.set(converted.kind, (this.#ignored.get(converted.kind) ?? 0) + 1);
        return;
      case "unsupported":
        return this.reject({
          ...this.#place(document, converted.fault.path),
          ...(converted.ref !== undefined && { ref: converted.ref }),
          reason: converted.fault.reason,
          code: "unsupported",
          kept: false,
        });
      case "invalid":
        return this.#rejectInvalid(document, converted);
    }
  }

  reject(rejection: Rejection): void {
    this.#rejections.push(rejection);
  }

  /** `broken`: some document could not be parsed. */
  finish(broken: boolean): FileRecord {
    const kept = [...this.#previous.values()].filter(({ id }) =>
      !this.#entries.has(id) && (broken || this.#bad.has(id))
    );
    return {
      entries: [...this.#entries.values(), ...kept],
      rejections: this.#rejections.map((rejection) =>
        rejection.code === "unreadable" ? { ...rejection, kept: kept.length > 0 } : rejection
      ),
      ignored: this.#ignored,
    };
  }

  #accept(document: SourceDocument, converted: Extract<Converted, { type: "object" }>): void {
    const { object, generation } = converted;
    const id = idOf(object);
    const misplaced = this.#options.misplaced(object);
    const first = this.#entries.get(id);
    const line = document.lineOf([]);
    if (misplaced !== undefined || first !== undefined) {
      return this.reject({
        ...this.#place(document, []),
        ref: object,
        reason: misplaced ?? `is defined on line ${first?.line} already`,
        code: first === undefined ? "invalid" : "duplicate",
        kept: false,
      });
    }
    const previous = this.#previous.get(id);
    const fingerprint = JSON.stringify([document.number, line, document.value]);
    const isSame = previous?.fingerprint === fingerprint && previous.restored !== true;
    const entry: Entry = isSame ? previous : {
      id,
      object,
      origin: originOf(this.#file, document, object, generation),
      line,
      fingerprint,
    };
    this.#entries.set(id, entry);
  }

  #rejectInvalid(document: SourceDocument, converted: Extract<Converted, { type: "invalid" }>) {
    const id = converted.target === undefined ? undefined : idOf(converted.target);
    if (id !== undefined) this.#bad.add(id);
    for (const fault of converted.faults.slice(0, FAULTS_SHOWN_MAX)) {
      this.reject({
        ...this.#place(document, fault.path),
        ...(converted.ref !== undefined && { ref: converted.ref }),
        reason: fault.reason,
        code: "invalid",
        kept: id !== undefined && this.#previous.has(id),
      });
    }
  }

  #place(document: SourceDocument, path: FieldPath) {
    return {
      file: this.#file,
      document: document.number,
      line: document.lineOf(path),
      ...(path.length > 0 && { path: formatPath([...document.prefix, ...path]) }),
    };
  }
}

/**
 * Where an object stands. The lines of what causes may name are looked up now, so that the parsed
 * document, many times the size of the object, can be let go.
 */
function originOf(
  file: string,
  document: SourceDocument,
  object: ModelObject,
  generation: number | undefined,
): Origin {
  const paths = object.kind === "MeshPolicy"
    ? [...pathsOf(document.value, [])]
    : [...pathsOf((document.value as { metadata?: unknown }).metadata, ["metadata"]), [
      "spec",
      "hostNetwork",
    ]];
  const lines = new Map<string, number>([["", document.lineOf([])]]);
  for (const path of paths) lines.set(formatPath(path), document.lineOf(path));
  return {
    file,
    document: document.number,
    ...(generation !== undefined && { generation }),
    lineOf(path) {
      for (let length = path.length; length >= 0; length--) {
        const line = lines.get(formatPath(path.slice(0, length)));
        if (line !== undefined) return line;
      }
      return undefined;
    },
  };
}

function* pathsOf(value: unknown, path: FieldPath): Generator<FieldPath> {
  yield path;
  if (typeof value !== "object" || value === null) return;
  for (const [key, child] of Object.entries(value)) {
    yield* pathsOf(child, [...path, Array.isArray(value) ? Number(key) : key]);
  }
}
