/**
 * A scratch copy of the checkout in which one passage at a time is changed. In: mutations. Out: the
 * copy as a mutation wants it, with what its tests need built anew, and then as it was.
 *
 * Invariant: the checkout is only read. Whatever a test makes in its own temporary folder lies
 * below the copy and goes with it. The copy has no packed executable: its `dist/weft` runs the
 * source, so that a changed line is in force at once.
 *
 * @module
 */
import type { Mutation } from "@/tests/node/clauses/clause.ts";
import { run } from "@/scripts/lib/command.ts";
import { projectRoot } from "@/scripts/lib/terminal.ts";

/** What is made or kept for its own sake: a copy does without it. */
const LEFT_OUT = new Set([".git", "dist", "node_modules", ".cache"]);

export class ScratchCopy implements AsyncDisposable {
  readonly root: string;
  /** For the temporary folders of what runs in the copy. */
  readonly temporary: string;

  private constructor(root: string) {
    this.root = root;
    this.temporary = `${root}/tmp`;
  }

  static async make(): Promise<ScratchCopy> {
    const copy = new ScratchCopy(await Deno.makeTempDir({ prefix: "weft-mutations-" }));
    try {
      await copy.#fill();
      return copy;
    } catch (error) {
      await copy[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Changes one passage and builds what depends on it; disposing undoes both. */
  async mutate({ file, find, put }: Mutation): Promise<AsyncDisposable> {
    const path = `${this.root}/${file}`;
    const text = await Deno.readTextFile(path);
    const count = text.split(find).length - 1;
    if (count !== 1) {
      throw new Error(`Cannot change "${file}": the passage is there ${count} times, want once`);
    }
    const restore = async () => {
      await Deno.writeTextFile(path, text);
      await this.#build(file);
    };
    try {
      await Deno.writeTextFile(path, text.replace(find, () => put));
      await this.#build(file);
    } catch (error) {
      await restore();
      throw error;
    }
    return { [Symbol.asyncDispose]: restore };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const mounts = (await Deno.readTextFile("/proc/self/mounts")).split("\n")
      .map((line) => line.split(" ")[1] ?? "")
      .filter((path) => path.startsWith(`${this.root}/`));
    if (mounts.length > 0) await run(["umount", "-l", ...mounts.reverse()]).catch(() => "");
    await Deno.remove(this.root, { recursive: true });
    // Deno keeps what it has compiled by the source's path, for a path that will not be again.
    const { typescriptCache } = JSON.parse(await run([Deno.execPath(), "info", "--json"]));
    const emitted = `${typescriptCache}/file${this.root}`;
    await Deno.remove(emitted, { recursive: true }).catch(() => undefined);
  }

  async #fill(): Promise<void> {
    const root = projectRoot();
    const names = (await Array.fromAsync(Deno.readDir(root))).map(({ name }) => name)
      .filter((name) => !LEFT_OUT.has(name));
    await run(["cp", "-a", ...names.map((name) => `${root}/${name}`), this.root]);
    await Deno.mkdir(this.temporary);
    await Deno.mkdir(`${this.root}/dist`);
    await run(["cp", "-a", `${root}/dist/bpf`, `${this.root}/dist/bpf`]).catch(() => "");
    const weft = `#!/bin/sh\nexec ${Deno.execPath()} run -A --quiet "${this.root}/main.ts" "$@"\n`;
    await Deno.writeTextFile(`${this.root}/dist/weft`, weft, { mode: 0o755 });
    await this.#chooseTests();
    await this.#build("bpf/layout.h");
  }

  /** Puts `chosen.ts` in the place of `node:test`. */
  async #chooseTests(): Promise<void> {
    const path = `${this.root}/deno.json`;
    const settings = JSON.parse(await Deno.readTextFile(path));
    settings.imports["node:test"] = "./tests/mutations/chosen.ts";
    await Deno.writeTextFile(path, JSON.stringify(settings));
  }

  async #build(file: string): Promise<void> {
    if (!file.startsWith("bpf/")) return;
    const options = { cwd: this.root, env: { NO_COLOR: "1" } };
    await run([Deno.execPath(), "run", "-A", "scripts/bpf.ts"], options);
    if (file !== "bpf/layout.h") return;
    await run([Deno.execPath(), "run", "-A", "scripts/layout.ts"], options);
  }
}
