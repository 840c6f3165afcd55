/**
 * Tells when to look at the files again: after a burst of file events, or after a while without
 * any. In: the folders to watch. Out: a promise per look.
 *
 * Events only say *when*, never *what*: inotify overflows, does not see remote writers and names
 * files that are gone. What has changed is found by looking (`scan.ts`), so a lost event costs
 * time, not truth.
 *
 * @module
 */

import { SOURCE_BURST_MS_MAX, SOURCE_QUIET_MS } from "../../limits.ts";

export class Wakeup implements Disposable {
  readonly #signal: AbortSignal;
  readonly #watchers = new Map<string, { identity: string; watcher: Deno.FsWatcher }>();
  /** When the first event came that no look has answered. */
  #pendingSinceMs: number | undefined;
  #poke: () => void = () => {};

  constructor(signal: AbortSignal) {
    this.#signal = signal;
  }

  /**
   * Watches these folders and no others; one that was replaced is watched anew. Whether all of
   * them are watched.
   */
  async watch(folders: readonly string[]): Promise<boolean> {
    const identities = await Promise.all(folders.map(identityOf));
    for (const [index, folder] of folders.entries()) {
      const identity = identities[index];
      const known = this.#watchers.get(folder);
      if (known !== undefined && known.identity === identity) continue;
      known?.watcher.close();
      this.#watchers.delete(folder);
      if (identity !== undefined) this.#open(folder, identity);
    }
    return folders.every((folder) => this.#watchers.has(folder));
  }

  /** Resolves after the next burst of events, after `timeoutMs` without one, or on abort. */
  async next(timeoutMs: number): Promise<void> {
    if (this.#pendingSinceMs === undefined) await this.#pause(timeoutMs);
    while (this.#pendingSinceMs !== undefined && !this.#signal.aborted) {
      const spentMs = performance.now() - this.#pendingSinceMs;
      const quietMs = Math.min(SOURCE_QUIET_MS, SOURCE_BURST_MS_MAX - spentMs);
      // deno-lint-ignore no-await-in-loop -- each pause depends on what came in the one before
      if (quietMs <= 0 || !(await this.#pause(quietMs))) break;
    }
    this.#pendingSinceMs = undefined;
  }

  [Symbol.dispose](): void {
    for (const { watcher } of this.#watchers.values()) watcher.close();
    this.#watchers.clear();
  }

  #open(folder: string, identity: string): void {
    let watcher: Deno.FsWatcher;
    try {
      watcher = Deno.watchFs(folder, { recursive: true });
    } catch {
      // No inotify instances or watches left, or gone again: looking at intervals remains.
      return;
    }
    this.#watchers.set(folder, { identity, watcher });
    void this.#follow(folder, watcher);
  }

  async #follow(folder: string, watcher: Deno.FsWatcher): Promise<void> {
    try {
      for await (const { kind } of watcher) {
        // Reading makes "access" events: they would wake the reader for ever.
        if (kind === "access") continue;
        this.#pendingSinceMs ??= performance.now();
        this.#poke();
      }
    } catch {
      // The same as an end: the folder is watched anew at the next look.
    }
    if (this.#watchers.get(folder)?.watcher === watcher) this.#watchers.delete(folder);
  }

  /** Whether an event ended the pause. */
  #pause(timeoutMs: number): Promise<boolean> {
    if (this.#signal.aborted) return Promise.resolve(false);
    return new Promise((resolve) => {
      const end = (poked: boolean) => {
        clearTimeout(timer);
        this.#signal.removeEventListener("abort", abort);
        this.#poke = () => {};
        resolve(poked);
      };
      const abort = () => end(false);
      const timer = setTimeout(() => end(false), timeoutMs);
      this.#signal.addEventListener("abort", abort, { once: true });
      this.#poke = () => end(true);
    });
  }
}

async function identityOf(folder: string): Promise<string | undefined> {
  try {
    const { dev, ino } = await Deno.stat(folder);
    return `${dev} ${ino}`;
  } catch {
    return undefined;
  }
}
