/**
 * The text of one file becomes documents that know their lines. In: bytes. Out: values, each with a
 * function from field paths to line numbers, and what could not be parsed.
 *
 * YAML 1.2 and JSON (which is YAML). Bounded, since a file may be anything: size, number of
 * documents, expansion of aliases. Whatever the parser does with hostile input, it ends here as one
 * unreadable file; other files are not touched.
 *
 * @module
 */

import {
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  type Pair,
  parseAllDocuments,
  type ParsedNode,
} from "yaml";
import { SOURCE_DOCUMENTS_MAX, YAML_ALIASES_MAX } from "../../limits.ts";
import type { FieldPath } from "../../model/mod.ts";

/** One object of a file, as its author wrote it: a document, or an item of a List. */
export interface SourceDocument {
  /** Position of the YAML document in the file, from 1. */
  readonly number: number;
  /** Path of the object in its document: empty, or `["items", 3]`. */
  readonly prefix: FieldPath;
  readonly value: unknown;
  /** Of a field of the object, or of its nearest parent that is there; from 1. */
  lineOf(path: FieldPath): number;
}

/** A document that is no YAML. Which objects it would have held, nobody knows. */
export interface BrokenDocument {
  readonly number: number;
  readonly line: number;
  readonly reason: string;
}

export interface ParsedFile {
  readonly documents: readonly SourceDocument[];
  readonly broken: readonly BrokenDocument[];
}

/** Parses a file. */
export function parseFile(bytes: Uint8Array): ParsedFile {
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    return brokenFile("is not UTF-8 text");
  }
  if (text.includes("\0")) return brokenFile("is binary, not text");
  try {
    return parseText(text);
  } catch (error) {
    // Nested too deeply, for one: the parser runs out of stack.
    const what = error instanceof Error ? error.message : String(error);
    return brokenFile(`cannot be parsed: ${what}`);
  }
}

function brokenFile(reason: string): ParsedFile {
  return { documents: [], broken: [{ number: 1, line: 1, reason }] };
}

function parseText(text: string): ParsedFile {
  const lines = new LineCounter();
  const parsed = parseAllDocuments(text, { lineCounter: lines, merge: true, logLevel: "error" });
  if (!Array.isArray(parsed)) return { documents: [], broken: [] };
  const documents: SourceDocument[] = [];
  const broken: BrokenDocument[] = [];
  for (const [index, document] of parsed.entries()) {
    const number = index + 1;
    const read = valueOf(document, lines);
    if ("reason" in read) broken.push({ number, ...read });
    // Null: empty between two separators, or comments alone.
    else if (read.value !== null) {
      documents.push(...objectsOf({ document, lines, number }, read.value));
    }
    if (documents.length > SOURCE_DOCUMENTS_MAX) {
      return brokenFile(`has more than ${SOURCE_DOCUMENTS_MAX} documents`);
    }
  }
  return { documents, broken };
}

function valueOf(
  document: Document.Parsed,
  lines: LineCounter,
): { value: unknown } | { line: number; reason: string } {
  const error = document.errors[0] ?? document.warnings[0];
  if (error !== undefined) {
    const reason = error.message.split("\n")[0]?.replace(/ at line \d+, column \d+:?$/, "") ?? "";
    return { line: error.linePos?.[0].line ?? 1, reason: `is not YAML: ${reason}` };
  }
  const line = lines.linePos(document.contents?.range[0] ?? 0).line;
  try {
    const value: unknown = document.toJS({ maxAliasCount: YAML_ALIASES_MAX });
    return hasPrototypeKey(value) ? { line, reason: 'has a key "__proto__"' } : { value };
  } catch (error) {
    const what = error instanceof Error ? error.message : String(error);
    return { line, reason: `is not acceptable YAML: ${what}` };
  }
}

/**
 * A key that JavaScript would take for something else, and so lose: a selector without it widens.
 */
function hasPrototypeKey(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return false;
  if (Object.hasOwn(value, "__proto__")) return true;
  return Object.values(value).some(hasPrototypeKey);
}

interface Place {
  readonly document: Document.Parsed;
  readonly lines: LineCounter;
  readonly number: number;
}

/** A List (of any kind: `List`, `PodList`) stands for its items. */
function* objectsOf(place: Place, value: unknown): Generator<SourceDocument> {
  if (isList(value)) {
    for (const [index, item] of value.items.entries()) {
      yield sourceDocument(place, ["items", index], item);
    }
  } else {
    yield sourceDocument(place, [], value);
  }
}

function isList(value: unknown): value is { kind: string; items: unknown[] } {
  return typeof value === "object" && value !== null && "kind" in value && "items" in value &&
    typeof value.kind === "string" && value.kind.endsWith("List") && Array.isArray(value.items);
}

function sourceDocument(place: Place, prefix: FieldPath, value: unknown): SourceDocument {
  const { document, lines, number } = place;
  const lineOf = (path: FieldPath) =>
    lines.linePos(offsetOf(document.contents, [...prefix, ...path], document)).line;
  return { number, prefix, value, lineOf };
}

/** Where a field starts: at its key, where it has one. */
function offsetOf(root: ParsedNode | null, path: FieldPath, document: Document.Parsed): number {
  let node: Node | null | undefined = root;
  let offset = root?.range[0] ?? 0;
  for (const part of path) {
    if (isAlias(node)) node = node.resolve(document);
    if (isMap(node)) {
      const pair: Pair | undefined = node.items.find(({ key }) =>
        isScalar(key) && String(key.value) === part
      );
      if (pair === undefined) break;
      offset = (pair.key as Node).range?.[0] ?? offset;
      node = pair.value as Node | null;
    } else if (isSeq(node) && typeof part === "number") {
      node = node.items[part] as Node | undefined;
      offset = node?.range?.[0] ?? offset;
    } else break;
    if (node === undefined || node === null) break;
  }
  return offset;
}
