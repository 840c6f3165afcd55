/**
 * What a command may touch of the process: two streams, the environment, the terminal and the
 * signal to stop. In comes the process, or a test's stand-in. Invariant: no command writes to
 * `Deno.stdout` or reads `Deno.env` past it, so each can run inside a test.
 *
 * @module
 */
import { ExitStatus } from "./exit.ts";

/** The world of one command. */
export interface CliEnv {
  /** what a command answers */
  readonly out: (text: string) => void;
  /** errors, hints and logs */
  readonly err: (text: string) => void;
  /** a variable of the environment */
  readonly getenv: (name: string) => string | undefined;
  /** columns of the terminal, or undefined when the answer goes to a file or a pipe */
  readonly columns: number | undefined;
  /** aborted when the user or the supervisor wants the command to stop */
  readonly signal: AbortSignal;
  /** what the process exits with when the command returns */
  status: ExitStatus;
}

/** The environment of the process itself. */
export function processEnv(): CliEnv {
  let controller: AbortController | undefined;
  return {
    out: (text) => writeWhole(Deno.stdout, text),
    err: (text) => writeWhole(Deno.stderr, text),
    getenv: (name) => Deno.env.get(name) || undefined,
    columns: Deno.stdout.isTerminal() ? terminalColumns() : undefined,
    // The handlers are installed by the first command that asks: the others die as usual.
    get signal() {
      return (controller ??= abortOnSignals()).signal;
    },
    status: ExitStatus.OK,
  };
}

const encoder = new TextEncoder();

function writeWhole(stream: { writeSync(bytes: Uint8Array): number }, text: string): void {
  const bytes = encoder.encode(text);
  for (let sent = 0; sent < bytes.length;) sent += stream.writeSync(bytes.subarray(sent));
}

function terminalColumns(): number {
  try {
    return Deno.consoleSize().columns;
  } catch {
    return 80;
  }
}

/** The first signal asks for an orderly end, the second ends at once. */
function abortOnSignals(): AbortController {
  const controller = new AbortController();
  for (const [name, number] of [["SIGINT", 2], ["SIGTERM", 15]] as const) {
    Deno.addSignalListener(name, () => {
      if (controller.signal.aborted) Deno.exit(128 + number);
      controller.abort(name);
    });
  }
  return controller;
}
