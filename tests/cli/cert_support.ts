/**
 * What the tests of `weft ca` and `weft cert` share: a directory that is removed afterwards, weft
 * run in this process, and other programs beside it.
 *
 * @module
 */
import { join } from "node:path";
import type { CliEnv } from "@/src/cli/env.ts";
import { runProgram } from "@/src/cli/mod.ts";

/** A directory of one test; `await using` removes it and ends what was started in it. */
export class Scratch implements AsyncDisposable {
  readonly path: string = Deno.makeTempDirSync({ prefix: "weft-cert-" });
  readonly #stack = new AsyncDisposableStack();

  at(...parts: string[]): string {
    return join(this.path, ...parts);
  }

  read(...parts: string[]): string {
    return Deno.readTextFileSync(this.at(...parts));
  }

  /** Ends it with the test. */
  use<T extends AsyncDisposable | Disposable>(resource: T): T {
    return this.#stack.use(resource);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      await this.#stack.disposeAsync();
    } finally {
      await Deno.remove(this.path, { recursive: true });
    }
  }
}

/** Runs one command of weft. */
export async function weft(
  ...args: string[]
): Promise<{ status: number; out: string; err: string }> {
  const written = { out: "", err: "" };
  const env: CliEnv = {
    out: (text) => void (written.out += text),
    err: (text) => void (written.err += text),
    getenv: () => undefined,
    columns: undefined,
    signal: new AbortController().signal,
    status: 0,
  };
  const status = await runProgram(args, env);
  return { status, ...written };
}

/** Runs another program to its end. */
export async function run(
  program: string,
  ...args: string[]
): Promise<{ status: number; out: string }> {
  const { code, stdout, stderr } = await new Deno.Command(program, { args, stdin: "null" })
    .output();
  const decoder = new TextDecoder();
  return { status: code, out: decoder.decode(stdout) + decoder.decode(stderr) };
}

/** `openssl s_server` on a free port, answering a status page to clients with a certificate. */
export async function startTlsServer(
  directory: string,
): Promise<{ port: number } & AsyncDisposable> {
  const [chain, key, roots] = ["tls.crt", "tls.key", "ca.crt"].map((name) => join(directory, name));
  const child = new Deno.Command("openssl", {
    args: [
      ...["s_server", "-accept", "127.0.0.1:0", "-www", "-tls1_3"],
      ...["-cert", `${chain}`, "-cert_chain", `${chain}`, "-key", `${key}`],
      ...["-CAfile", `${roots}`, "-Verify", "2", "-verify_return_error"],
    ],
    stdin: "null",
    stdout: "piped",
    stderr: "null",
  }).spawn();
  const listening = Promise.withResolvers<number>();
  const drained = watchForPort(child.stdout, listening);
  const port = await listening.promise;
  return {
    port,
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await child.status;
      await drained;
    },
  };
}

/** Reads to the end, so that the program never blocks on its output. */
async function watchForPort(
  stream: ReadableStream<Uint8Array<ArrayBuffer>>,
  listening: PromiseWithResolvers<number>,
): Promise<void> {
  let text = "";
  for await (const chunk of stream.pipeThrough(new TextDecoderStream())) {
    text += chunk;
    const port = /ACCEPT 127\.0\.0\.1:(\d+)/.exec(text)?.[1];
    if (port !== undefined) listening.resolve(Number(port));
  }
  listening.reject(new Error(`openssl s_server ended before it listened: ${text}`));
}
