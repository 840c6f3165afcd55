/**
 * Files and folders become documents that know where they stand. In: paths as somebody typed them.
 * Out: documents in order, those that cannot be parsed among them.
 *
 * Unlike the agent's source this reads once and keeps nothing: it is for commands that judge files.
 *
 * @module
 */

import { SOURCE_FILE_SIZE_BYTES_MAX } from "../../limits.ts";
import type { FieldPath } from "../../model/mod.ts";
import { parseFile } from "../directory/document.ts";
import { describe, scanDirectory } from "../directory/scan.ts";

/** One document of a file. */
export type FileDocument = ReadableDocument | BrokenDocument;

/** A document that was parsed. */
export interface ReadableDocument {
  readonly file: string;
  readonly value: unknown;
  /** From 1. */
  lineOf(path: FieldPath): number;
}

/** Not readable at all: no such file, no YAML. */
export interface BrokenDocument {
  readonly file: string;
  readonly line: number;
  readonly reason: string;
}

/** Reads files, and the YAML and JSON files below folders, in the order of their paths. */
export async function readDocuments(paths: readonly string[]): Promise<FileDocument[]> {
  const files = (await Promise.all(paths.map(filesOf))).flat();
  return (await Promise.all(files.map(documentsOf))).flat();
}

type Place = { readonly file: string; readonly blocked?: string };

async function filesOf(path: string): Promise<Place[]> {
  try {
    if (!(await Deno.stat(path)).isDirectory) return [{ file: path }];
    const folder = path.replace(/\/+$/, "") || "/";
    const { files, blocked } = await scanDirectory(folder, "");
    return [
      ...[...files.keys()].map((file) => ({ file })),
      ...[...blocked].map(([file, reason]) => ({ file, blocked: reason })),
    ];
  } catch (error) {
    return [{ file: path, blocked: describe(error) }];
  }
}

async function documentsOf({ file, blocked }: Place): Promise<FileDocument[]> {
  const broken = (reason: string) => [{ file, line: 1, reason }];
  if (blocked !== undefined) return broken(blocked);
  let bytes: Uint8Array;
  try {
    bytes = await Deno.readFile(file);
  } catch (error) {
    return broken(describe(error));
  }
  if (bytes.length > SOURCE_FILE_SIZE_BYTES_MAX) {
    return broken(`is larger than ${SOURCE_FILE_SIZE_BYTES_MAX} bytes`);
  }
  const parsed = parseFile(bytes);
  const numbered: { number: number; document: FileDocument }[] = [
    ...parsed.documents.map((document) => ({
      number: document.number,
      document: { file, value: document.value, lineOf: document.lineOf },
    })),
    ...parsed.broken.map(({ number, line, reason }) => ({
      number,
      document: { file, line, reason },
    })),
  ];
  return numbered.sort((a, b) => a.number - b.number).map(({ document }) => document);
}
