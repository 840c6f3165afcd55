/**
 * A load that goes on whatever happens to the agent: `faults_client.ts` in a place of a testbed,
 * and its tally whenever it is asked for.
 *
 * @module
 */
import { fileURLToPath } from "node:url";
import { readLines } from "@/tests/support/lines.ts";
import type { Testbed } from "@/tests/testbed/mod.ts";
import { eventually } from "@/tests/support/waiting.ts";
import type { Tally } from "./faults_client.ts";

/** What it does. */
export interface LoadOptions {
  readonly host: string;
  readonly port: number;
  /** connections at a time */
  readonly count: number;
  /** what each sends, again and again; no word of another */
  readonly text: string;
  readonly paceMs: number;
  /** after which a connection ends by itself; 0: never */
  readonly rounds: number;
}

const DENO = [Deno.execPath(), "run", "-A", "--quiet", "--no-config", "--no-lock"];

/** A client that runs until it is disposed of. */
export class Load implements AsyncDisposable {
  readonly place: string;
  readonly #count: number;
  readonly #child: Deno.ChildProcess;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array<ArrayBuffer>>;
  readonly #lines: AsyncGenerator<string, void>;

  static async start(bed: Testbed, place: string, options: LoadOptions): Promise<Load> {
    const program = fileURLToPath(import.meta.resolve("./faults_client.ts"));
    const { host, port, count, text, paceMs, rounds } = options;
    const numbers = [paceMs, rounds].map(String);
    const command = [...DENO, program, host, String(port), String(count), text, ...numbers];
    const child = await bed.spawn(place, command, {
      stdin: "piped",
      stdout: "piped",
      stderr: "inherit",
    });
    return new Load(place, count, child);
  }

  private constructor(place: string, count: number, child: Deno.ChildProcess) {
    this.place = place;
    this.#count = count;
    this.#child = child;
    this.#writer = child.stdin.getWriter();
    this.#lines = readLines(child.stdout);
  }

  /** What became of its attempts until now. */
  async tally(): Promise<Tally> {
    await this.#writer.write(new TextEncoder().encode("tally\n"));
    const { value } = await this.#lines.next();
    if (value === undefined) throw new Error(`The load in "${this.place}" has ended`);
    return JSON.parse(value) as Tally;
  }

  /** Resolves when all of its connections are served at the same time. */
  async busy(): Promise<void> {
    await eventually(`${this.place} is busy`, async () => {
      return (await this.tally()).busy === this.#count;
    }, 20_000);
  }

  /** Resolves when something has become of `more` further attempts. */
  async goesOn(more: number): Promise<void> {
    const settled = ({ served, refused, broken, hung }: Tally) => served + refused + broken + hung;
    const before = settled(await this.tally());
    await eventually(`${this.place} goes on`, async () => {
      return settled(await this.tally()) >= before + more;
    }, 20_000);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#lines.return();
    await this.#writer.abort().catch(() => undefined);
    try {
      this.#child.kill("SIGKILL");
    } catch {
      // It has ended with its place.
    }
    await this.#child.status;
  }
}
