/**
 * A client that dials anew every 50 ms, whatever happens meanwhile, and says in the end how each of
 * its connections fared.
 *
 * @module
 */
import { readLines } from "@/tests/support/lines.ts";
import { type Answer, dialer, type Mesh } from "./mesh.ts";
import { HABITS } from "./habits.ts";

const INTERVAL_MS = 50;
const STREAMS = { stdin: "piped", stdout: "piped", stderr: "inherit" } as const;

export class Beat implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #input: WritableStreamDefaultWriter<Uint8Array>;
  readonly #lines: AsyncIterator<string>;
  #isOver = false;

  private constructor(child: Deno.ChildProcess) {
    this.#child = child;
    this.#input = child.stdin.getWriter();
    this.#lines = readLines(child.stdout)[Symbol.asyncIterator]();
  }

  /** Starts one; it has begun its first connection when this returns. */
  static async start(mesh: Mesh, place: string, host: string): Promise<Beat> {
    const command = dialer("beat", host, HABITS.echo, INTERVAL_MS);
    const beat = new Beat(await mesh.bed.spawn(place, command, STREAMS));
    await beat.went(1);
    return beat;
  }

  /** Resolves when so many more connections have begun. */
  async went(count: number): Promise<void> {
    // deno-lint-ignore no-await-in-loop -- one line after the other
    for (let left = count; left > 0; left--) await this.#line();
  }

  /** Ends it, and returns what became of its connections. */
  async end(): Promise<Answer> {
    this.#isOver = true;
    await this.#input.close();
    for (;;) {
      // deno-lint-ignore no-await-in-loop -- the last line is the answer
      const answer = JSON.parse(await this.#line()) as Answer;
      if (answer.served === undefined) continue;
      // deno-lint-ignore no-await-in-loop
      await this.#child.status;
      return answer;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#isOver) await this.end();
  }

  async #line(): Promise<string> {
    const { value, done } = await this.#lines.next();
    if (done === true) throw new Error("Cannot read on: the client has ended");
    return value;
  }
}
