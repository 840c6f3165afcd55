/**
 * The command line: nouns read, verbs change. In come arguments and an environment, out goes an
 * exit status. Invariant: registering a command loads nothing but its help; what it needs is
 * imported when it runs, so that `weft --version` costs what starting the runtime costs.
 *
 * @module
 */
import { Command, CommanderError } from "@commander-js/extra-typings";
import { formatError } from "../errors.ts";
import { VERSION } from "../version.ts";
import { registerCa } from "./ca.ts";
import { registerCert } from "./cert.ts";
import { registerCheck } from "./check.ts";
import { registerCompletion } from "./completion.ts";
import type { CliEnv } from "./env.ts";
import { errorLines, EXIT_STATUS_HELP, ExitStatus, exitStatusOf } from "./exit.ts";
import { registerIdentity } from "./identity.ts";
import { registerInstall } from "./install.ts";
import { registerMonitor } from "./monitor.ts";
import { registerPolicy } from "./policy.ts";
import { registerRun } from "./run.ts";
import { registerStatus } from "./status.ts";
import { registerUninstall } from "./uninstall.ts";

/** Runs one command; never throws. */
export async function runProgram(args: readonly string[], env: CliEnv): Promise<ExitStatus> {
  try {
    await createProgram(env).parseAsync(args, { from: "user" });
    return env.status;
  } catch (error) {
    return finish(error, env);
  }
}

/** The whole program, for help, completion and tests. */
export function createProgram(env: CliEnv): Command {
  const program = new Command("weft")
    .description("A service mesh without sidecars: one agent per node, eBPF and mutual TLS.")
    .version(VERSION, "-V, --version", "print the version and exit")
    .helpOption("-h, --help", "print this help and exit")
    .helpCommand("help [command]", "print the help of a command")
    .showSuggestionAfterError()
    .exitOverride()
    .configureOutput({
      writeOut: env.out,
      writeErr: env.err,
      getOutHelpWidth: () => helpWidth(env),
      getErrHelpWidth: () => helpWidth(env),
      outputError: (text) => env.err(usageLines(text)),
    })
    .addHelpText("after", EXAMPLES + EXIT_STATUS_HELP);
  for (const register of COMMANDS) register(program, env);
  return program;
}

/** In the order of the help: what a newcomer needs first. */
const COMMANDS: readonly ((program: Command, env: CliEnv) => void)[] = [
  registerCheck,
  registerRun,
  registerStatus,
  registerPolicy,
  registerMonitor,
  registerIdentity,
  registerCa,
  registerCert,
  registerInstall,
  registerUninstall,
  registerCompletion,
];

const EXAMPLES = `
Examples:
  weft check                                   can this kernel run weft?
  weft run --source /etc/weft                  run the agent of this node
  weft status                                  is it healthy, what is in force?
  weft policy explain --from default/frontend --to default/backend --port 80
                                               why is this allowed or refused?
`;

/** Help is wrapped for reading, not for the widest screen. */
function helpWidth(env: CliEnv): number {
  return Math.min(env.columns ?? 100, 100);
}

/** What an error becomes on standard error, and its status. */
function finish(error: unknown, env: CliEnv): ExitStatus {
  // Help and version end this way too; wrong usage has been printed already.
  if (error instanceof CommanderError) {
    return error.exitCode === 0 ? ExitStatus.OK : ExitStatus.USAGE;
  }
  // `weft monitor | head`: the reader has seen enough.
  if (error instanceof Deno.errors.BrokenPipe) return ExitStatus.OK;
  for (const line of errorLines(error)) env.err(`${line}\n`);
  if (env.getenv("WEFT_DEBUG") && error instanceof Error) {
    env.err(`${error.stack ?? formatError(error)}\n`);
  }
  return exitStatusOf(error);
}

/** commander's "error: unknown option '--x'\n(Did you mean --y?)" in the words of weft. */
function usageLines(text: string): string {
  const [first = "", ...rest] = text.trim().split("\n");
  const message = first.replace(/^error: /, "").replaceAll("'", '"');
  const hints = rest.map((line) => line.replace(/^\((.*)\)$/, "$1").replace(/^Did/, "did"));
  return [`weft: ${message}`, ...hints.map((hint) => `weft: hint: ${hint}`)].join("\n") + "\n" +
    "weft: hint: `weft help COMMAND` shows what a command takes\n";
}
