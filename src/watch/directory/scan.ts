/**
 * What files a folder holds. In: a path. Out: every source file below it, sorted by path, with a
 * stamp that changes when the file does, and the places that could not be looked into.
 *
 * Only `.yaml`, `.yml` and `.json`; nothing that begins with a dot (which also leaves out the
 * `..data` folders of a mounted ConfigMap, whose files are then found through their symbolic
 * links). Only regular files: opening a FIFO would wait for ever.
 *
 * @module
 */

import { SOURCE_DEPTH_MAX, SOURCE_FILES_MAX } from "../../limits.ts";

export interface Scan {
  /** Path -> stamp, sorted by path. */
  readonly files: ReadonlyMap<string, Stamp>;
  /** Folders and files that could not be looked into, with the reason. */
  readonly blocked: ReadonlyMap<string, string>;
}

/** Equal stamps: the same bytes, but for a rewrite within the resolution of the clock. */
export interface Stamp {
  readonly text: string;
  readonly size: number;
  readonly modifiedMs: number;
}

/** Lists a folder without `apart`, a folder in it; throws what reading the folder itself throws. */
export async function scanDirectory(directory: string, apart: string): Promise<Scan> {
  const files: [string, Stamp][] = [];
  const blocked = new Map<string, string>();
  const seen = new Set<string>();
  const pending = [{ path: directory, depth: 0 }];
  for (let folder = pending.pop(); folder !== undefined; folder = pending.pop()) {
    const { path, depth } = folder;
    try {
      for (const entry of await listFolder(path, seen)) {
        if (entry.kind === "file") files.push([entry.path, entry.stamp]);
        else if (entry.kind === "blocked") blocked.set(entry.path, entry.reason);
        else if (entry.path === apart) continue;
        else if (depth < SOURCE_DEPTH_MAX) pending.push({ path: entry.path, depth: depth + 1 });
        else blocked.set(entry.path, `is nested deeper than ${SOURCE_DEPTH_MAX} folders`);
      }
    } catch (error) {
      if (path === directory) throw error;
      blocked.set(path, describe(error));
    }
    if (files.length > SOURCE_FILES_MAX) {
      throw new RangeError(`More than ${SOURCE_FILES_MAX} files below "${directory}"`);
    }
  }
  files.sort(([a], [b]) => a < b ? -1 : 1);
  return { files: new Map(files), blocked };
}

/** The stamp of a file's state. */
export function stampOf(info: Deno.FileInfo): Stamp {
  const modifiedMs = info.mtime?.getTime() ?? 0;
  const changedMs = info.ctime?.getTime() ?? 0;
  const text = [info.dev, info.ino, info.size, modifiedMs, changedMs].join(" ");
  return { text, size: info.size, modifiedMs };
}

type Entry =
  | { readonly kind: "file"; readonly path: string; readonly stamp: Stamp }
  | { readonly kind: "folder"; readonly path: string }
  | { readonly kind: "blocked"; readonly path: string; readonly reason: string };

/** The entries of one folder; none if it was seen before: symbolic links may form loops. */
async function listFolder(folder: string, seen: Set<string>): Promise<Entry[]> {
  const { dev, ino } = await Deno.stat(folder);
  const identity = `${dev} ${ino}`;
  if (seen.has(identity)) return [];
  seen.add(identity);
  const names: string[] = [];
  for await (const { name } of Deno.readDir(folder)) {
    if (!name.startsWith(".")) names.push(name);
  }
  const entries = await Promise.all(names.map((name) => inspect(`${folder}/${name}`)));
  return entries.filter((entry) => entry !== undefined);
}

async function inspect(path: string): Promise<Entry | undefined> {
  try {
    const info = await Deno.stat(path);
    if (info.isDirectory) return { kind: "folder", path };
    if (!/\.(ya?ml|json)$/.test(path)) return undefined;
    if (!info.isFile) return { kind: "blocked", path, reason: "is not a regular file" };
    return { kind: "file", path, stamp: stampOf(info) };
  } catch (error) {
    // Gone since it was listed, or a link to nothing: it is not there.
    if (error instanceof Deno.errors.NotFound) return undefined;
    return { kind: "blocked", path, reason: describe(error) };
  }
}

/** An error of the file system in words, without the path that the reader has already. */
export function describe(error: unknown): string {
  if (error instanceof Deno.errors.PermissionDenied) return "cannot be read: permission denied";
  if (error instanceof Deno.errors.NotFound) return "does not exist";
  if (error instanceof Deno.errors.NotADirectory) return "is not a directory";
  return `cannot be read: ${error instanceof Error ? error.message : String(error)}`;
}
