/**
 * The last good version of every policy, kept across restarts. In: the records of the files. Out: a
 * file in the agent's own state, and the records that it stands for.
 *
 * A policy whose file went bad stays in force (DESIGN §9). An agent that is restarted just then
 * would have only the bad file, and what was STRICT would be open. Policies alone are kept: a pod
 * that is not known is denied, a policy that is not known denies nothing.
 *
 * @module
 */

import { z } from "zod";
import { SOURCE_FILE_SIZE_BYTES_MAX } from "../../limits.ts";
import { formatError } from "../../errors.ts";
import type { Log } from "../../log.ts";
import type { Rejection } from "../../model/mod.ts";
import { type Entry, type FileRecord, type RecordOptions, restoreEntry } from "./record.ts";

export class LastGood {
  readonly #path: string | undefined;
  readonly #log: Log;
  #saved = "";
  /** Why what was saved is not known. */
  #unreadable: string | undefined;
  #unwritable: string | undefined;

  /** Without a path nothing is kept. */
  constructor(path: string | undefined, log: Log) {
    this.#path = path;
    this.#log = log;
  }

  /** The policies of each file as they were saved; none where they cannot be read. */
  async load(options: RecordOptions): Promise<ReadonlyMap<string, readonly Entry[]>> {
    const files = new Map<string, Entry[]>();
    if (this.#path === undefined) return files;
    try {
      const { size } = await Deno.stat(this.#path);
      if (size > SOURCE_FILE_SIZE_BYTES_MAX) throw new RangeError(`It has ${size} bytes`);
      const saved = snapshot.parse(JSON.parse(await Deno.readTextFile(this.#path)));
      for (const { file, fingerprint } of saved.policies) {
        const entry = restoreEntry(file, fingerprint, options);
        if (entry !== undefined) files.set(file, [...files.get(file) ?? [], entry]);
        else this.#unreadable = `a policy of "${file}" is not acceptable any more`;
      }
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) {
        this.#unreadable = error instanceof z.ZodError ? "wrong fields" : formatError(error);
        this.#log.warn("last-good-unreadable", { path: this.#path, error });
      }
    }
    return files;
  }

  /**
   * Why the policies of rejected documents are not known: what was saved of them is lost. Undefined
   * when nothing was lost, or nothing is rejected; then it is forgotten, unless the records are not
   * `complete`: what is not read yet may hold a rejected one.
   */
  lost(records: ReadonlyMap<string, FileRecord>, complete: boolean): string | undefined {
    if (this.#unreadable === undefined) return undefined;
    const rejected = [...records.values()].flatMap(({ rejections }) => rejections)
      .filter(mayHideAPolicy).length;
    if (rejected === 0) {
      if (complete) this.#unreadable = undefined;
      return undefined;
    }
    return `Cannot use the last good policies in "${this.#path}": ${this.#unreadable}; ` +
      `${rejected} rejected documents may have been among them: mend those`;
  }

  /** Why the policies cannot be saved now, or undefined. */
  get problem(): string | undefined {
    return this.#unwritable;
  }

  /** Saves the policies among the records, if they have changed. */
  async save(records: ReadonlyMap<string, FileRecord>): Promise<void> {
    if (this.#path === undefined) return;
    const policies = [...records].flatMap(([file, { entries }]) =>
      entries.filter(({ object }) => object.kind === "MeshPolicy")
        .map(({ fingerprint }) => ({ file, fingerprint }))
    );
    const text = JSON.stringify({ version: 1, policies });
    if (text === this.#saved) return;
    const temporary = `${this.#path}.new`;
    try {
      await Deno.writeTextFile(temporary, text, { mode: 0o600 });
      await Deno.rename(temporary, this.#path);
      this.#saved = text;
      this.#unwritable = undefined;
    } catch (error) {
      // Half a file would only take room: where there is none left, others need it.
      await Deno.remove(temporary).catch(() => undefined);
      const problem = `Cannot save the last good policies as "${this.#path}": ` +
        `${formatError(error)}; a policy whose document goes bad would not outlive a restart`;
      if (problem === this.#unwritable) return; // it is tried again at every look
      this.#unwritable = problem;
      this.#log.warn("last-good-unwritable", { path: this.#path, error });
    }
  }
}

/** Of a document that says nothing any more, and that may have been a policy. */
function mayHideAPolicy({ kept, code, ref }: Rejection): boolean {
  return !kept && (code === "unreadable" || code === "invalid") &&
    (ref === undefined || ref.kind.endsWith("Policy"));
}

const snapshot = z.object({
  version: z.literal(1),
  policies: z.array(z.object({ file: z.string(), fingerprint: z.string() })),
});
