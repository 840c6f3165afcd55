/**
 * A State from a folder of files alone: what `--source` of the offline commands judges. It is read
 * by the same source that the agent watches, once.
 *
 * @module
 */
import { resolve } from "node:path";
import { SourceError } from "../errors.ts";
import { openLog } from "../log.ts";
import { applyChanges, emptyState, type State } from "../model/mod.ts";
import { watchDirectory } from "../watch/mod.ts";

/** Reads the folder completely. */
export async function stateOfFiles(directory: string): Promise<State> {
  const path = resolve(directory);
  const stop = new AbortController();
  let state = emptyState(OFFLINE);
  try {
    const batches = watchDirectory(path, {
      nodesDir: `${path}/.nodes`,
      systemNamespace: OFFLINE.systemNamespace,
      signal: stop.signal,
      log: openLog({ write: () => {} }),
    });
    for await (const changes of batches) {
      state = applyChanges(state, changes);
      const { failure, ready } = state.source;
      if (failure !== undefined) {
        throw new SourceError(`Cannot read source "${path}": ${failure}`, { path });
      }
      if (ready) return state;
    }
  } finally {
    stop.abort();
  }
  throw new SourceError(`Cannot read source "${path}"`, { path });
}

/** The defaults of `weft run`; the node is none of those in the files. */
const OFFLINE = {
  node: "",
  trustDomain: "cluster.local",
  systemNamespace: "kube-system",
  enroll: "label",
  defaultMode: "PERMISSIVE",
  sameNode: "encrypt",
} as const;
