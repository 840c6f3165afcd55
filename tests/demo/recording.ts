/**
 * A running recorder (recorder.ts) in a place of a testbed, and what it has written down so far.
 *
 * Invariant: `read` returns everything that reached the recorder before it was called. It asks the
 * recorder itself, over the place's own loopback, instead of waiting for a while.
 *
 * @module
 */
import { fileURLToPath } from "node:url";
import { readLines } from "@/tests/support/lines.ts";
import type { Testbed } from "@/tests/testbed/mod.ts";
import type { RecordLine } from "./recorder.ts";

/** What reached a recorder from anywhere but its own loopback. */
export interface Record {
  /** addresses of clients, a line per connection */
  readonly clients: readonly string[];
  /** all that was received */
  readonly text: string;
}

/** A recorder that runs. */
export class Recording implements AsyncDisposable {
  readonly port: number;
  readonly #bed: Testbed;
  readonly #place: string;
  readonly #child: Deno.ChildProcess;
  readonly #lines: RecordLine[] = [];
  readonly #read: Promise<void>;
  #changed = Promise.withResolvers<void>();
  #ended = false;
  #marks = 0;

  /** Starts one; it listens when this returns. */
  static async start(
    bed: Testbed,
    place: string,
    options: { readonly port: number; readonly banner?: string },
  ): Promise<Recording> {
    const program = fileURLToPath(import.meta.resolve("./recorder.ts"));
    const { port, banner } = options;
    const child = await bed.spawn(place, [
      ...[Deno.execPath(), "run", "-A", "--no-config", "--quiet", program, String(port)],
      ...(banner === undefined ? [] : [banner]),
    ], { stdin: "null", stdout: "piped", stderr: "inherit" });
    const recording = new Recording(bed, place, port, child);
    await recording.#until(({ what }) => what === "listening");
    return recording;
  }

  private constructor(bed: Testbed, place: string, port: number, child: Deno.ChildProcess) {
    this.#bed = bed;
    this.#place = place;
    this.port = port;
    this.#child = child;
    this.#read = this.#follow();
  }

  /** Everything that has come until now. */
  async read(): Promise<Record> {
    const mark = `mark ${++this.#marks}`;
    const script = `exec 3<>/dev/tcp/127.0.0.1/${this.port} && echo "${mark}" >&3 && cat <&3`;
    await this.#bed.exec(this.#place, ["bash", "-c", script], { timeoutMs: 5000 });
    await this.#until(({ text }) => text?.includes(mark) === true);
    const foreign = this.#lines.filter(({ client }) => client !== "127.0.0.1");
    return {
      clients: foreign.filter(({ what }) => what === "accepted").map(({ client }) => client ?? ""),
      text: foreign.map(({ text }) => text ?? "").join(""),
    };
  }

  /** Waits until `text` has arrived. */
  async received(text: string): Promise<void> {
    await this.#until((line) => line.text?.includes(text) === true);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.#child.kill("SIGKILL");
    } catch {
      // It has ended with its pod.
    }
    await this.#child.status;
    await this.#read;
  }

  async #until(holds: (line: RecordLine) => boolean): Promise<void> {
    while (!this.#lines.some(holds)) {
      if (this.#ended) throw new Error(`The recorder in ${this.#place} has ended`);
      // deno-lint-ignore no-await-in-loop -- each line may be the one
      await this.#changed.promise;
    }
  }

  async #follow(): Promise<void> {
    for await (const line of readLines(this.#child.stdout)) {
      this.#lines.push(JSON.parse(line) as RecordLine);
      this.#wake();
    }
    this.#ended = true;
    this.#wake();
  }

  #wake(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers<void>();
  }
}
