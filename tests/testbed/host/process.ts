/**
 * Starts programs in their place: a cgroup, a network namespace, a pod's sandbox. The cgroup is
 * joined before anything else is executed, for a socket belongs for ever to the cgroup in which it
 * was made. Everything that a testbed starts, its own set-up included, is below the testbed's
 * cgroup, so that one write to `cgroup.kill` ends all of it, also after a `kill -9` of the
 * testbed's command.
 *
 * `ip netns exec` is not used: it mounts a new /sys, which hides cgroup2 and bpffs.
 *
 * @module
 */

/** Where a program runs. */
export interface Place {
  /** directory of the cgroup */
  readonly cgroup: string;
  /** path of the network namespace; the caller's own when absent */
  readonly netns?: string;
  /** process whose mount, UTS and network namespaces are entered */
  readonly sandbox?: number;
  /** working directory inside; the caller's when absent */
  readonly cwd?: string;
}

/** A failure that the user of a testbed can act on. */
export class TestbedError extends Error {
  override readonly name = "TestbedError";
}

/** The command that runs `command` in `place`: same process, same streams, same exit status. */
export function enter(place: Place, command: readonly string[]): string[] {
  const join = 'echo $$ >"$1/cgroup.procs" || exit 126; shift; exec "$@"';
  return ["sh", "-c", join, "sh", place.cgroup, ...namespaces(place), ...command];
}

/** Runs a command to its end and returns what it wrote to standard output. */
export async function run(
  place: Place,
  command: readonly string[],
  options: { readonly stdin?: string; readonly env?: Readonly<Record<string, string>> } = {},
): Promise<string> {
  const child = toCommand(enter(place, command), {
    stdin: options.stdin === undefined ? "null" : "piped",
    stdout: "piped",
    stderr: "piped",
    ...(options.env && { env: { ...options.env } }),
  }).spawn();
  const [output] = await Promise.all([child.output(), feed(child, options.stdin)]);
  if (!output.success) {
    const [stderr, stdout] = [decode(output.stderr).trim(), decode(output.stdout).trim()];
    throw new TestbedError(
      `Cannot run "${command.join(" ")}": exit status ${output.code}: ${stderr || stdout}`,
    );
  }
  return decode(output.stdout);
}

/** Runs a command to its end and returns status and output, whatever they are. */
export async function attempt(
  place: Place,
  command: readonly string[],
): Promise<{ code: number; output: string }> {
  const { code, stdout, stderr } = await toCommand(enter(place, command), {
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).output();
  return { code, output: `${decode(stdout)}${decode(stderr)}`.trim() };
}

/**
 * Starts a command in a session of its own, with its output appended to `log`, and returns its
 * process id. It outlives the caller. When this returns, the process is in its cgroup.
 */
export async function launch(
  place: Place,
  command: readonly string[],
  options: { readonly log: string; readonly env?: Readonly<Record<string, string>> },
): Promise<number> {
  // The pipe on standard output closes when the log takes its place: that is the handshake.
  const script = 'echo $$ >"$1/cgroup.procs" || exit 126; log=$2; shift 2; echo $$; ' +
    'exec "$@" </dev/null >>"$log" 2>&1';
  const argv = ["setsid", "-f", "sh", "-c", script, "sh", place.cgroup, options.log];
  return parsePid(
    command,
    await toCommand([...argv, ...namespaces(place), ...command], {
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
      ...(options.env && { env: { ...options.env }, clearEnv: true }),
    }).output(),
  );
}

/**
 * Starts a shell script in a session of its own. It must join its cgroup first, print its process
 * id once it is set up, and then close its standard output and error.
 */
export async function launchScript(command: readonly string[]): Promise<number> {
  return parsePid(
    command,
    await toCommand(["setsid", "-f", ...command], {
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).output(),
  );
}

/** Whether `pid` is alive and in `cgroup` (a process id alone may have been used again). */
export function isAlive(pid: number, cgroup: string): boolean {
  try {
    // The dead that nobody has waited for are not listed.
    return Deno.readTextFileSync(`${cgroup}/cgroup.procs`).split("\n").includes(String(pid));
  } catch (error) {
    if (isGone(error)) return false;
    throw error;
  }
}

/** The caller's environment without what would send a pod's requests somewhere else. */
export function environmentInside(): Record<string, string> {
  const pairs = Object.entries(Deno.env.toObject());
  return Object.fromEntries(pairs.filter(([name]) => !/^(https?|ftp|all|no)_proxy$/i.test(name)));
}

/** Calls `probe` until it returns something other than undefined, or throws when time is up. */
export async function until<T>(
  what: string,
  timeoutMs: number,
  probe: () => T | undefined | Promise<T | undefined>,
): Promise<T> {
  const deadline = performance.now() + timeoutMs;
  for (let delayMs = 2;; delayMs = Math.min(delayMs * 1.5, 100)) {
    // deno-lint-ignore no-await-in-loop -- polling: each probe depends on the time since the last
    const value = await probe();
    if (value !== undefined) return value;
    if (performance.now() > deadline) {
      throw new TestbedError(`Cannot wait any longer for ${what}: ${timeoutMs} ms have passed`);
    }
    // deno-lint-ignore no-await-in-loop
    await new Promise((resolve) => setTimeout(resolve, delayMs));
  }
}

/**
 * Waits for all, also when one fails, then fails with the first failure. What is half made can be
 * removed only when nothing is being made any more.
 */
export async function settle<T extends readonly unknown[]>(
  promises: readonly [...T],
): Promise<{ -readonly [Index in keyof T]: Awaited<T[Index]> }> {
  await Promise.allSettled(promises);
  return await Promise.all(promises);
}

/** The last `lines` lines of a file, for an error message; empty when there is none. */
export async function tail(file: string, lines = 15): Promise<string> {
  const text = await Deno.readTextFile(file).catch(() => "");
  return text.trimEnd().split("\n").slice(-lines).join("\n");
}

/** Whether an error means that a file, directory or process is not there any more. */
export function isGone(error: unknown): boolean {
  return error instanceof Deno.errors.NotFound ||
    (error instanceof Error && "code" in error && error.code === "ENODEV");
}

/** A `Deno.Command` of an argument vector. */
export function toCommand(argv: readonly string[], options: Deno.CommandOptions): Deno.Command {
  const [program, ...args] = argv;
  if (program === undefined) throw new TestbedError("Cannot run an empty command");
  return new Deno.Command(program, { ...options, args });
}

function namespaces(place: Place): string[] {
  if (place.sandbox !== undefined) {
    const target = `--target=${place.sandbox}`;
    const cwd = `--wdns=${place.cwd ?? Deno.cwd()}`;
    return ["nsenter", target, "--mount", "--root", "--uts", "--net", cwd, "--"];
  }
  const cwd = place.cwd === undefined ? [] : [`--wd=${place.cwd}`];
  return place.netns === undefined ? [] : ["nsenter", `--net=${place.netns}`, ...cwd, "--"];
}

async function feed(child: Deno.ChildProcess, text: string | undefined): Promise<void> {
  if (text === undefined) return;
  const writer = child.stdin.getWriter();
  try {
    await writer.write(new TextEncoder().encode(text));
    await writer.close();
  } catch (error) {
    // The program ended without reading it all: its exit status says why.
    if (!(error instanceof Deno.errors.BrokenPipe)) throw error;
  }
}

function parsePid(command: readonly string[], output: Deno.CommandOutput): number {
  const pid = Number.parseInt(decode(output.stdout), 10);
  if (Number.isInteger(pid)) return pid;
  throw new TestbedError(`Cannot start "${command.join(" ")}": ${decode(output.stderr).trim()}`);
}

function decode(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}
