/**
 * A connection of a program in a testbed that stays open, and whose end is seen.
 *
 * In: the command line of `dialer.ts hold`. Out: what the other end answers, and how it ended.
 * Invariant: every line of the program is kept, so that an end which came earlier is not missed.
 *
 * @module
 */
import assert from "node:assert/strict";
import { readLines } from "@/tests/support/lines.ts";
import { within } from "@/tests/support/waiting.ts";
import type { Testbed } from "@/tests/testbed/mod.ts";

interface Line {
  readonly connected?: boolean;
  readonly got?: string;
  /** the other end closed */
  readonly ended?: string;
  /** the connection broke */
  readonly error?: string;
}

const PATIENCE_MS = 10_000;

export class LiveConnection implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array<ArrayBuffer>>;
  readonly #lines: Line[] = [];
  readonly #following: Promise<void>;
  #changed = Promise.withResolvers<void>();
  #over = false;

  /** Starts the program; the connection stands when this returns. */
  static async open(bed: Testbed, place: string, command: string[]): Promise<LiveConnection> {
    const options = { stdin: "piped", stdout: "piped", stderr: "inherit" } as const;
    const live = new LiveConnection(await bed.spawn(place, command, options));
    const line = await live.#until((each) => each.connected === true || isEnd(each));
    if (line?.connected === true) return live;
    await live[Symbol.asyncDispose]();
    assert.fail(`Cannot connect: ${JSON.stringify(line)}`);
  }

  private constructor(child: Deno.ChildProcess) {
    this.#child = child;
    this.#writer = child.stdin.getWriter();
    this.#following = this.#follow();
  }

  /** Sends a line and says what came back: the line of an echo, or how the connection ended. */
  async ask(text: string): Promise<string> {
    await this.#writer.write(new TextEncoder().encode(text)).catch(() => undefined);
    const line = await this.#until((each) => each.got?.includes(text) === true || isEnd(each));
    return line?.got ?? `over: ${line?.error ?? line?.ended}`;
  }

  /** How the connection ended, once it has, without having been asked anything. */
  async end(): Promise<string> {
    const line = await this.#until(isEnd);
    return line?.error ?? line?.ended ?? "the program died";
  }

  /** Whether it still stands, as far as is known. */
  get isOpen(): boolean {
    return !this.#lines.some(isEnd);
  }

  /** All that came. */
  get received(): string {
    return this.#lines.map(({ got }) => got ?? "").join("");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#writer.abort().catch(() => undefined);
    try {
      this.#child.kill("SIGKILL");
    } catch {
      // It has ended.
    }
    await Promise.all([this.#child.status, this.#following]);
  }

  #until(holds: (line: Line) => boolean): Promise<Line | undefined> {
    return within(PATIENCE_MS, "a line of the connection", this.#first(holds));
  }

  /** Undefined if the program ends before. */
  async #first(holds: (line: Line) => boolean): Promise<Line | undefined> {
    for (;;) {
      const line = this.#lines.find(holds);
      if (line !== undefined || this.#over) return line;
      // deno-lint-ignore no-await-in-loop -- each line may be the one
      await this.#changed.promise;
    }
  }

  async #follow(): Promise<void> {
    for await (const line of readLines(this.#child.stdout)) {
      this.#lines.push(JSON.parse(line) as Line);
      this.#wake();
    }
    this.#over = true;
    this.#wake();
  }

  #wake(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers<void>();
  }
}

function isEnd(line: Line): boolean {
  return line.ended !== undefined || line.error !== undefined;
}
