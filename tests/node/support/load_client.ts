/**
 * A running `loader.ts`. In: where it runs and what it does. Out: its reports, one after the other.
 *
 * @module
 */
import { fileURLToPath } from "node:url";
import { readLines } from "@/tests/support/lines.ts";
import type { Mesh } from "./mesh.ts";

/** What a loader says. */
export interface LoadReport {
  readonly standing?: number;
  readonly served?: number;
  /** The first failure, if there was one. */
  readonly first?: string;
}

export class LoadClient implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #lines: AsyncGenerator<string, void>;

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
    this.#lines = readLines(child.stdout);
  }

  /** The next report; undefined when it has ended. */
  async next(): Promise<LoadReport | undefined> {
    const { value } = await this.#lines.next();
    return value === undefined ? undefined : JSON.parse(value) as LoadReport;
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
    while ((await this.#lines.next()).done !== true) continue;
    await this.#child.status;
  }
}
