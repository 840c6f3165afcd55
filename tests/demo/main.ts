/**
 * `scripts/demo`: plays the walkthrough on this machine, with the real executable, and says of each
 * step what was expected and what happened.
 *
 * Exit status: 0 if every step passed (with --sabotage: if every sabotage made its step fail), 1 if
 * not, 2 for a wrong command line, 130 or 143 when interrupted. Whatever the end, everything that
 * was made is removed; with --keep, when it comes to its end by itself, it stays to be played with.
 *
 * @module
 */
import { projectRoot } from "@/scripts/lib/terminal.ts";
import { parseArguments, UsageError } from "@/tests/testbed/arguments.ts";
import { findExecutable } from "./executable.ts";
import { goOn, onInterrupt } from "./interrupt.ts";
import { playSabotage, SABOTAGES } from "./sabotage.ts";
import { Scene } from "./scene.ts";
import { openScreen, type Screen } from "./screen.ts";
import { playStep, type Step } from "./step.ts";
import { STEPS } from "./steps/mod.ts";
import { count, duration, errorText } from "./words.ts";

const HELP = `Usage: demo [--step] [--keep] [--only N] | demo --sabotage [NAME]

Plays the walkthrough in nine steps: pods and nodes are network namespaces of this machine, weft is
dist/weft, which is built first where it is older than its sources. Needs root.

  --step             wait for Enter between steps
  --keep             leave it running at the end, to play with
  --only N           play step N alone; what it needs is made first
  --sabotage [NAME]  take away one mechanism at a time and see that the step which needs it fails:
                     ${SABOTAGES.map(({ name }) => name).join(", ")}

WEFT_BIN names another executable. With NO_COLOR, or into a pipe, there are no colours.
`;

const FLAGS = {
  "--keep": "switch",
  "--step": "switch",
  "--only": "value",
  "--sabotage": "switch",
  "--help": "switch",
  "-h": "switch",
} as const;

if (import.meta.main) Deno.exit(await main(Deno.args));

async function main(args: readonly string[]): Promise<number> {
  const screen = openScreen();
  try {
    // A value is optional there: --sabotage=NAME is the same as --sabotage NAME.
    const words = args.flatMap((word) =>
      word.startsWith("--sabotage=") ? word.split("=", 2) : [word]
    );
    const { flags, positional, command } = parseArguments(words, FLAGS);
    const names = [command, ...positional].filter((name) => name !== "");
    if (flags["--help"] !== undefined || flags["-h"] !== undefined) {
      screen.line(HELP.trimEnd());
      return 0;
    }
    if (flags["--sabotage"] === undefined && names.length > 0) {
      throw new UsageError(`there is nothing called "${names.join(" ")}"`);
    }
    const steps = chooseSteps(flags["--only"]);
    if (Deno.uid() !== 0) throw new UsageError("it needs root");
    if (flags["--sabotage"] !== undefined) return await playSabotage(screen, names);
    const options = { keep: flags["--keep"] !== undefined, pause: flags["--step"] !== undefined };
    return await playSteps(screen, steps, options);
  } catch (error) {
    const wrongUse = error instanceof UsageError;
    screen.line(`demo: ${wrongUse ? `${error.message}; see 'demo --help'` : errorText(error)}`);
    return wrongUse ? 2 : 1;
  }
}

async function playSteps(
  screen: Screen,
  steps: readonly Step[],
  options: { readonly keep: boolean; readonly pause: boolean },
): Promise<number> {
  const weft = await findExecutable((line) => screen.line(line));
  Deno.env.set("WEFT_BIN", weft);
  await using scene = await Scene.open(options);
  using _interrupt = onInterrupt(screen, () => scene.clear());
  screen.line();
  screen.line(` weft in ${count(steps.length, "step")}, with ${weft}`);
  screen.note(
    `typed in ${scene.directory}. "testbed" is scripts/testbed; "frontend$" is typed in ` +
      'that pod, "node-1#" on that node, "outside$" on a host that no agent manages.',
  );
  const start = performance.now();
  let passed = 0;
  for (const [index, step] of steps.entries()) {
    if (options.pause && index > 0) waitForEnter(screen);
    // deno-lint-ignore no-await-in-loop -- each step builds on those before
    if ((await playStep(step, scene, screen)).passed) passed++;
    // deno-lint-ignore no-await-in-loop
    await goOn();
  }
  screen.line();
  if (options.keep) tellKept(screen, scene);
  const elapsed = duration(performance.now() - start);
  screen.line(` ${passed} of ${count(steps.length, "step")} passed in ${elapsed}`);
  return passed === steps.length ? 0 : 1;
}

function chooseSteps(only: string | undefined): readonly Step[] {
  if (only === undefined) return STEPS;
  const found = STEPS.filter(({ number }) => String(number) === only);
  if (found.length > 0) return found;
  throw new UsageError(`there is no step "${only}": they are 1 to ${STEPS.length}`);
}

function waitForEnter(screen: Screen): void {
  if (!Deno.stdin.isTerminal()) return;
  screen.line();
  screen.note("Enter goes on");
  const byte = new Uint8Array(1);
  while (Deno.stdin.readSync(byte) === 1 && byte[0] !== 10);
}

function tellKept(screen: Screen, scene: Scene): void {
  const [first = ""] = scene.directories.slice(-1);
  screen.line(" left running; to play on:");
  screen.line(`   alias testbed=${projectRoot()}/scripts/testbed`);
  screen.line(`   cd ${scene.directory}; export WEFT_TESTBED=${first}`);
  screen.line("   testbed exec default/frontend -- curl -v http://backend:80");
  screen.line("   testbed weft node-1 -- status          # monitor, policy explain, …");
  screen.line(" and to remove it:");
  for (const directory of scene.directories) {
    screen.line(`   testbed down --state ${directory}`);
  }
  screen.line(`   rm -r ${scene.directory}`);
  screen.line();
}
