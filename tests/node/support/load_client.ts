/**
 * A running `loader.ts`. In: where it runs and what it does. Out: its reports, one after the other.
 *
 * @module
 */
import { fileURLToPath } from "node:url";
import type { Mesh } from "./mesh.ts";

/** What a loader says. */
export interface LoadReport {
  readonly standing?: number;
  readonly served?: number;
  /** The first failure, if there was one. */
  readonly first?: string;
  /** How long a short connection takes. */
  readonly medianMs?: number;
}

export class LoadClient implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #reports: AsyncIterator<LoadReport>;

  static async start(
    mesh: Mesh,
    place: string,
    what: "together" | "short" | "slow",
    host: string,
    port: number,
    count: number,
  ): Promise<LoadClient> {
    const loader = fileURLToPath(import.meta.resolve("./loader.ts"));
    const command = [
      ...[Deno.execPath(), "run", "-A", "--quiet", "--no-config", "--no-lock", loader],
      ...[what, host, String(port), String(count)],
    ];
    const options = { stdin: "piped", stdout: "piped", stderr: "inherit" } as const;
    return new LoadClient(await mesh.bed.spawn(place, command, options));
  }

  private constructor(child: Deno.ChildProcess) {
    this.#child = child;
    this.#reports = reportsOf(child.stdout);
  }

  /** The next report; undefined when it has ended. */
  async next(): Promise<LoadReport | undefined> {
    const { done, value } = await this.#reports.next();
    return done ? undefined : value;
  }

  /** Lets it go on behind a report. */
  async goOn(): Promise<void> {
    const writer = this.#child.stdin.getWriter();
    await writer.write(new TextEncoder().encode("go on\n"));
    writer.releaseLock();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#child.stdin.close().catch(() => undefined);
    try {
      this.#child.kill("SIGKILL");
    } catch {
      // It has ended.
    }
    // deno-lint-ignore no-await-in-loop -- to the end of what it has said
    while ((await this.#reports.next()).done !== true) continue;
    await this.#child.status;
  }
}

async function* reportsOf(stream: ReadableStream<Uint8Array>): AsyncGenerator<LoadReport> {
  let rest = "";
  const decoder = new TextDecoder();
  for await (const chunk of stream) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) yield JSON.parse(line) as LoadReport;
  }
}
