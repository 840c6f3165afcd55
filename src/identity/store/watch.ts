/**
 * Watches a few files of one directory.
 *
 * In: the directory and the names. Out: a call whenever one of them was touched, once for a burst.
 * Invariant: a touch is never lost: one that comes while the callback runs makes it run again.
 * The directory is watched, not the files, since they are replaced by rename.
 *
 * @module
 */

import { basename } from "node:path";

/** Several files are usually replaced together. */
const SETTLE_MS = 100;

/** Calls back when files change, until disposed. */
export class FileWatch implements AsyncDisposable {
  readonly #watcher: Deno.FsWatcher;
  readonly #loop: Promise<void>;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #running: Promise<void> = Promise.resolve();

  constructor(directory: string, names: ReadonlySet<string>, onTouch: () => Promise<void>) {
    this.#watcher = Deno.watchFs(directory, { recursive: false });
    this.#loop = this.#watch(names, onTouch);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#watcher.close();
    await this.#loop;
    clearTimeout(this.#timer);
    await this.#running;
  }

  async #watch(names: ReadonlySet<string>, onTouch: () => Promise<void>): Promise<void> {
    for await (const { kind, paths } of this.#watcher) {
      if (kind === "access" || !paths.some((path) => names.has(basename(path)))) continue;
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => {
        this.#running = this.#running.then(onTouch);
      }, SETTLE_MS);
    }
  }
}
