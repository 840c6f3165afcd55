/**
 * A real directory source over a temporary folder, folded into a State, for tests. It waits for
 * what the State says, never for time.
 *
 * @module
 */

import { AssertionError } from "node:assert/strict";
import { applyChanges, type Change, emptyState, type State } from "@/src/model/mod.ts";
import { openLog } from "@/src/log.ts";
import { watchDirectory } from "@/src/watch/mod.ts";
import { CONFIG } from "../model/world.ts";

const PATIENCE_MS = 10_000;

export class TestSource implements AsyncDisposable {
  readonly root: string;
  readonly dir: string;
  readonly nodesDir: string;
  readonly lastGoodFile: string;
  /** All batches so far. */
  readonly batches: (readonly Change[])[] = [];
  state: State = emptyState(CONFIG);
  #stop = new AbortController();
  #running: Promise<void> = Promise.resolve();
  #wake: () => void = () => {};

  private constructor(root: string) {
    this.root = root;
    this.dir = `${root}/source`;
    this.nodesDir = `${this.dir}/.nodes`;
    this.lastGoodFile = `${root}/last-good.json`;
  }

  /** Makes the folder with these files, without watching it yet. */
  static async make(files: Readonly<Record<string, string>> = {}): Promise<TestSource> {
    const source = new TestSource(await Deno.makeTempDir({ prefix: "weft-source-" }));
    await Deno.mkdir(source.dir);
    await Promise.all(Object.entries(files).map(([name, text]) => source.write(name, text)));
    return source;
  }

  /** Starts watching, with a State that knows nothing. */
  start(options: { readonly resuming?: boolean; readonly nodesDir?: string } = {}): this {
    this.state = emptyState(CONFIG);
    this.#stop = new AbortController();
    const changes = watchDirectory(this.dir, {
      nodesDir: this.nodesDir,
      systemNamespace: "kube-system",
      signal: this.#stop.signal,
      log: openLog({ level: "error" }),
      lastGoodFile: this.lastGoodFile,
      ...options,
    });
    this.#running = this.#follow(changes);
    return this;
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  /** Resolves once the State is as wanted. */
  async until(what: string, wanted: (state: State) => boolean): Promise<State> {
    const deadline = AbortSignal.timeout(PATIENCE_MS);
    while (!wanted(this.state)) {
      // deno-lint-ignore no-await-in-loop -- the State changes in between
      await new Promise<void>((resolve, reject) => {
        const message = () => `Not reached: ${what}; ${this.describe()}`;
        const fail = () => reject(new AssertionError({ message: message() }));
        if (deadline.aborted) return fail();
        deadline.addEventListener("abort", fail, { once: true });
        this.#wake = () => {
          deadline.removeEventListener("abort", fail);
          resolve();
        };
      });
    }
    return this.state;
  }

  ready(): Promise<State> {
    return this.until("ready", ({ source }) => source.ready && source.failure === undefined);
  }

  /** Names of the pods and policies in force. */
  names(): string[] {
    const { Pod, MeshPolicy } = this.state.objects;
    return [...Pod.keys(), ...MeshPolicy.keys()].sort();
  }

  async write(name: string, text: string | Uint8Array): Promise<void> {
    const bytes = typeof text === "string" ? new TextEncoder().encode(text) : text;
    await Deno.mkdir(`${this.dir}/${name}`.replace(/\/[^/]*$/, ""), { recursive: true });
    await Deno.writeFile(`${this.dir}/${name}`, bytes);
  }

  /** As editors and `kubectl cp` do it: another file, then a rename. */
  async replace(name: string, text: string): Promise<void> {
    await Deno.writeTextFile(`${this.root}/staged`, text);
    await Deno.rename(`${this.root}/staged`, `${this.dir}/${name}`);
  }

  remove(name: string): Promise<void> {
    return Deno.remove(`${this.dir}/${name}`, { recursive: true });
  }

  describe(): string {
    const { source, rejections } = this.state;
    return JSON.stringify({ names: this.names(), source, rejections });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    await Deno.remove(this.root, { recursive: true });
  }

  async #follow(changes: AsyncIterable<readonly Change[]>): Promise<void> {
    for await (const batch of changes) {
      this.batches.push(batch);
      this.state = applyChanges(this.state, batch);
      this.#wake();
    }
  }
}

export const pod = (name: string, rest = ""): string =>
  `apiVersion: v1\nkind: Pod\nmetadata:\n  name: ${name}\n${rest}`;

export const policy = (name: string, mode: string): string =>
  `apiVersion: cilium.io/v2alpha1
kind: CiliumServiceMeshPolicy
metadata:
  name: ${name}
spec:
  mtls:
    mode: ${mode}
`;

type Condition = (state: State) => boolean;

/** An object of namespace "default" is in force. */
export const has = (kind: "Pod" | "MeshPolicy", name: string): Condition => (state) =>
  state.objects[kind].has(`default/${name}`);

/** It is not. */
export const lacks = (kind: "Pod" | "MeshPolicy", name: string): Condition => (state) =>
  !state.objects[kind].has(`default/${name}`);

/** Something is rejected for such a reason. */
export const rejects = (pattern: RegExp): Condition => (state) =>
  state.rejections.some(({ reason }) => pattern.test(reason));
