/**
 * Runs a program of this machine to its end.
 *
 * @module
 */

/** Standard output of a command that succeeds; throws with its standard error otherwise. */
export async function checked(
  [program, ...args]: readonly [string, ...string[]],
  options: { readonly cwd?: string } = {},
): Promise<string> {
  const command = new Deno.Command(program, { ...options, args, stdin: "null" });
  const { success, stdout, stderr } = await command.output();
  const decoder = new TextDecoder();
  if (success) return decoder.decode(stdout) || decoder.decode(stderr);
  const line = [program, ...args].join(" ");
  throw new Error(`Cannot run "${line}": ${decoder.decode(stderr).trim()}`);
}
