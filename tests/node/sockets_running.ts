/**
 * A program of a pod that says a line of JSON when it is ready, and more lines later.
 *
 * Invariant: every line is kept, so that one which came early is not missed.
 *
 * @module
 */
import { readLines } from "@/tests/support/lines.ts";
import type { Mesh } from "./support/mesh.ts";

/** A line, as far as tests read it. */
export interface Line {
  readonly client?: string;
  readonly local?: string;
  readonly datagram?: string;
}

/** Runs until it is disposed of. */
export class Program implements AsyncDisposable {
  readonly lines: Line[] = [];
  readonly #child: Deno.ChildProcess;
  readonly #ready = Promise.withResolvers<void>();
  readonly #following: Promise<void>;

  /** Starts it; it has said its first line, or has ended, when this returns. */
  static async start(mesh: Mesh, place: string, command: readonly string[]): Promise<Program> {
    const options = { stdin: "null", stdout: "piped", stderr: "inherit" } as const;
    const program = new Program(await mesh.bed.spawn(place, command, options));
    await program.#ready.promise;
    return program;
  }

  private constructor(child: Deno.ChildProcess) {
    this.#child = child;
    this.#following = this.#follow();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.#child.kill("SIGKILL");
    } catch {
      // It has ended.
    }
    await Promise.all([this.#child.status, this.#following]);
  }

  async #follow(): Promise<void> {
    for await (const line of readLines(this.#child.stdout)) {
      this.lines.push(JSON.parse(line) as Line);
      this.#ready.resolve();
    }
    this.#ready.resolve();
  }
}
