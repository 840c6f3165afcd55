/**
 * The directory source: a folder of YAML, watched. In: the folder, and the one in which agents
 * announce themselves. Out: batches of changes, each the difference between two looks.
 *
 * A look reads only files whose stamp has changed. It takes nothing out of force by accident: a
 * file that is being written is read again, a file that has gone is looked for a second time, and
 * a folder that cannot be read or has lost all of its objects at once is a source failure, during
 * which everything stays. Only what is seen twice to be gone is gone.
 *
 * @module
 */

import {
  SOURCE_EMPTY_GRACE_MS,
  SOURCE_FILE_SIZE_BYTES_MAX,
  SOURCE_QUIET_MS,
  SOURCE_RESCAN_MS,
  SOURCE_RETRY_MS,
} from "../../limits.ts";
import type { Log } from "../../log.ts";
import type { Change } from "../../model/mod.ts";
import { LastGood } from "./last_good.ts";
import { Ledger } from "./ledger.ts";
import { nodeFileFault } from "./nodes.ts";
import {
  EMPTY_RECORD,
  type FileRecord,
  recordOf,
  type RecordOptions,
  unreadableRecord,
} from "./record.ts";
import { describe, type Scan, scanDirectory, type Stamp, stampOf } from "./scan.ts";
import { Wakeup } from "./wakeup.ts";

export interface DirectoryOptions {
  /** Folder of WeftNodes. It may lie in the source folder if its name begins with a dot. */
  readonly nodesDir: string;
  readonly systemNamespace: string;
  readonly signal: AbortSignal;
  readonly log: Log;
  /** Where the agent keeps the last good version of every policy, to outlive a restart. */
  readonly lastGoodFile?: string;
  /**
   * Something is in force already: then a folder that is empty from the start is a failure, too.
   */
  readonly resuming?: boolean;
}

/** Watches a folder until the signal aborts. Yields no empty batch. */
export async function* watchDirectory(
  directory: string,
  options: DirectoryOptions,
): AsyncGenerator<readonly Change[]> {
  const { signal, nodesDir } = options;
  const source = new DirectorySource(directory, options);
  await source.restore();
  using wakeup = new Wakeup(signal);
  const folders = nodesDir.startsWith(`${directory}/`) ? [directory] : [directory, nodesDir];
  while (!signal.aborted) {
    // Watched before it is read: what changes in between is an event.
    // deno-lint-ignore no-await-in-loop -- one look at a time
    const watched = await wakeup.watch(folders);
    // deno-lint-ignore no-await-in-loop -- one look at a time
    const changes = await source.look();
    if (changes.length > 0) yield changes;
    const troubled = source.failure !== undefined || !watched;
    // Reading files makes events in plenty, of which the platform keeps a few: one that tells of a
    // change may be lost among them, so what was read is looked at once more.
    const pauseMs = source.unsettled || changes.length > 0
      ? SOURCE_QUIET_MS
      : troubled
      ? SOURCE_RETRY_MS
      : SOURCE_RESCAN_MS;
    // deno-lint-ignore no-await-in-loop -- one look at a time
    await wakeup.next(pauseMs);
  }
}

/** A file as it was read last. */
interface KnownFile {
  readonly stamp: string;
  readonly record: FileRecord;
}

type Files = ReadonlyMap<string, KnownFile>;

class DirectorySource {
  readonly #directory: string;
  readonly #options: DirectoryOptions;
  readonly #ledger = new Ledger();
  readonly #lastGood: LastGood;
  /** In path order: the source folder, then the nodes folder. */
  #files: Files = new Map();
  #nodeFiles: Files = new Map();
  readonly #missingSinceMs = new Map<string, number>();
  #ready = false;
  #problem: string | undefined;
  #toldSource = "";

  /** Why the source cannot be read; everything stays in force. */
  failure: string | undefined;
  /** Something was caught in the middle of a change: look again soon. */
  unsettled = false;

  constructor(directory: string, options: DirectoryOptions) {
    this.#directory = directory;
    this.#options = options;
    this.#lastGood = new LastGood(options.lastGoodFile, options.log);
  }

  /** Takes up what an earlier run of the agent left. */
  async restore(): Promise<void> {
    const options = { ...this.#recordOptions(), misplaced: this.#misplaced };
    const files = await this.#lastGood.load(options);
    this.#files = new Map(
      [...files].map(([path, entries]) => [
        path,
        { stamp: "", record: { ...EMPTY_RECORD, entries } },
      ]),
    );
  }

  /** Looks at all files, and tells what has changed since the last look. */
  async look(): Promise<Change[]> {
    this.unsettled = false;
    this.failure = undefined;
    this.#files = await this.#readSource();
    this.#nodeFiles = await this.#readNodes();
    const records = new Map<string, FileRecord>();
    for (const [path, { record }] of [...this.#files, ...this.#nodeFiles]) {
      records.set(path, record);
    }
    for (const path of this.#missingSinceMs.keys()) {
      if (!records.has(path)) this.#missingSinceMs.delete(path);
    }
    const changes = this.#ledger.update(records);
    this.#judgeLoss(records);
    this.#ready ||= this.failure === undefined && !this.unsettled;
    // What could not be read stays as it is, for a person to look at, until the agent goes on.
    if (this.#ready) await this.#lastGood.save(records);
    this.#problem ??= this.#lastGood.problem;
    return [...changes, ...this.#tellSource(records)];
  }

  /**
   * A policy that is lost with its document would open what it closed. Where its rules are pinned
   * still, they rule until a person has looked; where nothing is pinned, the others must count.
   */
  #judgeLoss(records: ReadonlyMap<string, FileRecord>): void {
    const complete = this.failure === undefined && !this.unsettled;
    const lost = this.#lastGood.lost(records, complete);
    this.#problem = undefined;
    if (this.#options.resuming !== true || this.#ready) this.#problem = lost;
    else if (lost !== undefined) this.failure ??= `${lost}, or remove it and restart the agent`;
  }

  async #readSource(): Promise<Files> {
    let files: Files;
    try {
      files = await this.#readFiles(this.#directory, this.#files, () => this.#misplaced);
    } catch (error) {
      this.failure = `Source directory "${this.#directory}" ${describe(error)}`;
      return this.#files;
    }
    const [before, after] = [countObjects(this.#files), countObjects(files)];
    if (after > 0 || this.unsettled) return files;
    if (before > 0) {
      this.failure = `Source directory "${this.#directory}" has lost all of its ${before} objects` +
        " at once";
      return this.#files;
    }
    if (this.#options.resuming === true && !this.#ready) {
      this.failure = `Source directory "${this.#directory}" has no objects`;
    }
    return files;
  }

  /** Announcements stay while they cannot be read: the death of an agent withdraws nothing. */
  async #readNodes(): Promise<Files> {
    const { nodesDir } = this.#options;
    try {
      return await this.#readFiles(nodesDir, this.#nodeFiles, nodeFileFault);
    } catch (error) {
      const absent = error instanceof Deno.errors.NotFound && countObjects(this.#nodeFiles) === 0;
      if (!absent) this.failure ??= `Nodes directory "${nodesDir}" ${describe(error)}`;
      return this.#nodeFiles;
    }
  }

  async #readFiles(
    folder: string,
    known: Files,
    misplacedIn: (path: string) => RecordOptions["misplaced"],
  ): Promise<Files> {
    const scan = await scanDirectory(folder, this.#options.nodesDir);
    const files = new Map<string, KnownFile>();
    for (const [path, stamp] of scan.files) {
      const options = { ...this.#recordOptions(), misplaced: misplacedIn(path) };
      // deno-lint-ignore no-await-in-loop -- one file in memory at a time
      const file = await this.#readFile({ path, stamp, known: known.get(path) }, options);
      if (file !== undefined) files.set(path, file);
    }
    this.#keepBlocked(scan, known, files);
    this.#keepMissing(known, files);
    return new Map([...files].sort(([a], [b]) => a < b ? -1 : 1));
  }

  readonly #misplaced: RecordOptions["misplaced"] = ({ kind }) =>
    kind === "WeftNode"
      ? `belongs into the nodes directory "${this.#options.nodesDir}"`
      : undefined;

  #recordOptions() {
    const { systemNamespace } = this.#options;
    return { systemNamespace, defaultNamespace: "default", netnsAnnotation: true };
  }

  async #readFile(
    { path, stamp, known }: { path: string; stamp: Stamp; known: KnownFile | undefined },
    options: RecordOptions,
  ): Promise<KnownFile | undefined> {
    this.#missingSinceMs.delete(path);
    if (known?.stamp === stamp.text) return known;
    const previous = known?.record ?? EMPTY_RECORD;
    try {
      const read = await readStable(path);
      if (read === undefined) return this.#notYet(known);
      const record = read.bytes === undefined
        ? unreadableRecord(path, `is larger than ${SOURCE_FILE_SIZE_BYTES_MAX} bytes`, previous)
        : recordOf(path, read.bytes, previous, options);
      const emptied = previous.entries.length > 0 && record.entries.length === 0;
      if (emptied && Date.now() - read.stamp.modifiedMs < SOURCE_EMPTY_GRACE_MS) {
        return this.#notYet(known);
      }
      // A second write in the same tick of the clock leaves the stamp as it is: read it again.
      const racy = Math.abs(Date.now() - read.stamp.modifiedMs) < STAMP_RESOLUTION_MS;
      return { stamp: racy ? "" : read.stamp.text, record };
    } catch (error) {
      // Gone since it was listed: `#keepMissing` judges.
      if (error instanceof Deno.errors.NotFound) return undefined;
      return { stamp: "", record: unreadableRecord(path, describe(error), previous) };
    }
  }

  /** In the middle of being written: what it said before stands. */
  #notYet(known: KnownFile | undefined): KnownFile | undefined {
    this.unsettled = true;
    return known;
  }

  #keepBlocked(scan: Scan, known: Files, files: Map<string, KnownFile>): void {
    for (const [place, reason] of scan.blocked) {
      const previous = known.get(place)?.record ?? EMPTY_RECORD;
      files.set(place, { stamp: "", record: unreadableRecord(place, reason, previous) });
      for (const [path, file] of known) {
        if (path.startsWith(`${place}/`)) files.set(path, file);
      }
    }
  }

  /** A file must be missing in two looks: editors and `git` take a file away and put it back. */
  #keepMissing(known: Files, files: Map<string, KnownFile>): void {
    const nowMs = performance.now();
    for (const [path, file] of known) {
      if (files.has(path)) continue;
      const sinceMs = this.#missingSinceMs.get(path) ?? nowMs;
      this.#missingSinceMs.set(path, sinceMs);
      if (nowMs - sinceMs >= SOURCE_QUIET_MS) continue;
      this.unsettled = true;
      files.set(path, file);
    }
  }

  #tellSource(records: ReadonlyMap<string, FileRecord>): Change[] {
    const ignored = new Map<string, number>();
    for (const record of records.values()) {
      for (const [kind, count] of record.ignored) {
        ignored.set(kind, (ignored.get(kind) ?? 0) + count);
      }
    }
    const change: Change = {
      type: "source",
      ready: this.#ready,
      ...(this.failure !== undefined && { failure: this.failure }),
      ...(this.#problem !== undefined && { problem: this.#problem }),
      ignored: Object.fromEntries([...ignored].sort(([a], [b]) => a < b ? -1 : 1)),
    };
    const text = JSON.stringify(change);
    if (text === this.#toldSource) return [];
    this.#toldSource = text;
    return [change];
  }
}

/** Coarsest clock of a file system in use: stamps taken later than this after a write are true. */
const STAMP_RESOLUTION_MS = 20;

function countObjects(files: Files): number {
  let count = 0;
  for (const { record } of files.values()) count += record.entries.length;
  return count;
}

/**
 * The bytes of a file that nobody wrote meanwhile; undefined if somebody did. No bytes: too large.
 */
async function readStable(
  path: string,
): Promise<{ stamp: Stamp; bytes: Uint8Array | undefined } | undefined> {
  using file = await Deno.open(path);
  const before = stampOf(await file.stat());
  if (before.size > SOURCE_FILE_SIZE_BYTES_MAX) return { stamp: before, bytes: undefined };
  // One byte more than it has: a read that fills it shows that the file has grown.
  const buffer = new Uint8Array(before.size + 1);
  let length = 0;
  for (;;) {
    // deno-lint-ignore no-await-in-loop -- reads of one file follow each other
    const count = await file.read(buffer.subarray(length));
    if (count === null || count === 0) break;
    length += count;
  }
  const after = stampOf(await file.stat());
  if (length !== before.size || after.text !== before.text) return undefined;
  return { stamp: after, bytes: buffer.subarray(0, length) };
}
