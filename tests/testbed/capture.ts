/**
 * Captures packets with tcpdump. `startCapture` returns when packets are being captured, and `stop`
 * when all that had passed by then are in the file.
 *
 * Invariant: no packet is lost at either end, and none is added. tcpdump is asked for its counters
 * (SIGUSR1) until it has written as many packets as the kernel has handed over, and only then
 * ended.
 *
 * @module
 */
import { readLines } from "@/tests/support/lines.ts";
import { enter, type Place, TestbedError, toCommand } from "./host/process.ts";

/** What to capture. */
export interface CaptureOptions {
  /** @default {"eth0"} */
  readonly interface?: string;
  /** a pcap filter expression */
  readonly filter?: string;
}

/** Starts tcpdump in `place`; its file is written with the caller's view of the file system. */
export async function startCapture(
  place: Place,
  file: string,
  options: CaptureOptions = {},
): Promise<Capture> {
  const { interface: device = "eth0", filter } = options;
  const command = ["setsid", "tcpdump", "-n", "-U", "--immediate-mode", "-Z", "root"];
  command.push("-B", "16384", "-i", device, "-w", file, ...filter === undefined ? [] : [filter]);
  const child = toCommand(enter(place, command), {
    stdin: "null",
    stdout: "null",
    stderr: "piped",
  }).spawn();
  const lines = readLines(child.stderr);
  const seen: string[] = [];
  for (;;) {
    // deno-lint-ignore no-await-in-loop -- the lines of one stream
    const { done, value } = await lines.next();
    if (done) {
      // deno-lint-ignore no-await-in-loop -- leaves the loop
      await child.status;
      throw new TestbedError(`Cannot capture on "${device}": ${seen.join(": ")}`);
    }
    if (value.includes("listening on")) return new Capture(file, child, lines);
    seen.push(value);
  }
}

/** A running capture. */
export class Capture implements AsyncDisposable {
  /** the pcap file */
  readonly file: string;
  readonly #child: Deno.ChildProcess;
  readonly #lines: AsyncGenerator<string, void>;
  #ended = false;

  constructor(file: string, child: Deno.ChildProcess, lines: AsyncGenerator<string, void>) {
    this.file = file;
    this.#child = child;
    this.#lines = lines;
  }

  /** Ends the capture; the file is complete then. */
  async stop(): Promise<void> {
    if (this.#ended) return;
    this.#ended = true;
    try {
      await this.#drain();
      this.#child.kill("SIGINT");
    } catch (error) {
      // It has ended by itself, as when its network namespace was removed.
      if (!(error instanceof Deno.errors.NotFound || error instanceof TypeError)) throw error;
    }
    await this.#lines.return();
    await this.#child.status;
  }

  /** Resolves with true when the capture ends by itself. */
  async ended(): Promise<boolean> {
    await this.#child.status;
    return !this.#ended;
  }

  /** Stops, and tells whether the bytes that passed contain a text anywhere. */
  async contains(text: string): Promise<boolean> {
    await this.stop();
    // One character per byte, on both sides.
    const decoder = new TextDecoder("latin1");
    const wanted = decoder.decode(new TextEncoder().encode(text));
    return decoder.decode(await Deno.readFile(this.file)).includes(wanted);
  }

  /**
   * Stops, and returns the values of tshark `fields` for each packet that passes the display
   * `filter`. With `keylog`, a TLS key log, fields of decrypted records are there, too.
   */
  async packets<Field extends string>(query: {
    readonly fields: readonly Field[];
    readonly filter?: string;
    readonly keylog?: string;
  }): Promise<Record<Field, string[]>[]> {
    await this.stop();
    const args = ["-n", "-r", this.file, "-T", "fields", "-E", "separator=/t"];
    args.push("-E", "occurrence=a", "-E", "aggregator=|");
    if (query.filter !== undefined) args.push("-Y", query.filter);
    if (query.keylog !== undefined) args.push("-o", `tls.keylog_file:${query.keylog}`);
    args.push(...query.fields.flatMap((field) => ["-e", field]));
    const { success, stdout, stderr } = await new Deno.Command("tshark", { args }).output();
    const decoder = new TextDecoder();
    if (!success) throw new TestbedError(`Cannot read packets: ${decoder.decode(stderr).trim()}`);
    return decoder.decode(stdout).split("\n").filter((line) => line !== "").map((line) => {
      const values = line.split("\t").map((value) => value === "" ? [] : value.split("|"));
      const pairs = query.fields.map((field, index) => [field, values[index] ?? []]);
      return Object.fromEntries(pairs);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  /**
   * Until all that was received is written; on lo, where both never agree, until they stand
   * still.
   */
  async #drain(): Promise<void> {
    for (let last = "";;) {
      this.#child.kill("SIGUSR1");
      let counters: RegExpExecArray | null = null;
      while (counters === null) {
        // deno-lint-ignore no-await-in-loop -- the lines of one stream
        const { done, value } = await this.#lines.next();
        if (done) return;
        counters = /^(?:tcpdump: )?(\d+) packets? captured, (\d+) packets? received/.exec(value);
      }
      const seen = `${counters[1]} ${counters[2]}`;
      if (counters[1] === counters[2] || seen === last) return;
      last = seen;
    }
  }
}
