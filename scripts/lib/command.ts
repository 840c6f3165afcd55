/**
 * Runs another program to its end. In: argument vector and options. Out: standard output as text.
 *
 * Invariant: a command that fails throws, with the command and what it wrote to standard error in
 * the message, so that no script goes on after a failed step.
 *
 * @module
 */

export interface RunOptions {
  /** Working directory. */
  readonly cwd?: string;
  /** Variables that are added to the environment. */
  readonly env?: Record<string, string>;
  /** Show the program's standard output and error as they come instead of collecting them. */
  readonly inherit?: boolean;
}

/** Runs `command` and returns what it wrote to standard output ("" when inherited). */
export async function run(command: readonly string[], options: RunOptions = {}): Promise<string> {
  const [program = "", ...args] = command;
  const { inherit = false, ...rest } = options;
  const stdio = inherit ? "inherit" : "piped";
  const child = new Deno.Command(program, {
    ...rest,
    args,
    stdin: "null",
    stdout: stdio,
    stderr: stdio,
  });
  const output = await child.output();
  const decoder = new TextDecoder();
  if (!output.success) {
    const reason = inherit ? "" : `: ${decoder.decode(output.stderr).trim()}`;
    const status = output.signal ?? `status ${output.code}`;
    throw new Error(`"${command.join(" ")}" ended with ${status}${reason}`);
  }
  return inherit ? "" : decoder.decode(output.stdout);
}
