/**
 * `scripts/testbed`: the command line of the testbed. Standard output carries what scripts read,
 * standard error what people read; `exec` and `weft` pass streams and exit status through.
 *
 * Exit status: 0, 1 when something failed, 2 for a wrong command line, 130 or 143 when interrupted,
 * or that of the command which was run.
 *
 * @module
 */
import { resolve } from "node:path";
import { parseArguments, type ParsedArguments, UsageError } from "./arguments.ts";
import { environmentInside, TestbedError, toCommand } from "./host/process.ts";
import { defaultDirectory, findNode, loadState } from "./state.ts";

const HELP = `Usage: testbed COMMAND … [--state DIR]

Nodes and pods as network namespaces of this machine, each node with its own weft agent. Needs root.

  up [--nodes N] [--source DIR] [-- AGENT-ARGS]
                              copy DIR, allocate addresses, start everything; prints JSON when ready
      --pod-link bridge|ptp   pods behind a bridge (default), or behind one routed veth each
      --no-agent              nodes without agents: pods reach each other by pod address only
  show                        print that JSON again, as things are now
  apply FILE…                 create or change the objects in FILE, as 'kubectl apply' would
  delete FILE…                delete the objects in FILE
  exec TARGET -- CMD…         run CMD in a pod (NS/POD, or NS/DEPLOYMENT), on a node, or 'outside':
                              a host on the nodes' network that no agent manages
  weft NODE -- ARGS…          weft's command line against that node's agent
  kill NODE SIGNAL            signal that node's agent
  start NODE                  start it again and wait until it is ready
  capture TARGET FILE         packets on TARGET's eth0 into FILE until SIGINT or SIGTERM
      --interface NAME --filter EXPRESSION
  down                        remove everything, also what an interrupted 'up' left

The testbed's state is in --state DIR, or $WEFT_TESTBED, or /run/weft-testbed. Several can be up at a
time, each with a directory of its own. Agents run $WEFT_BIN, or dist/weft.
`;

const FLAGS = {
  "--state": "value",
  "--nodes": "value",
  "--source": "value",
  "--pod-link": "value",
  "--interface": "value",
  "--filter": "value",
  "--no-agent": "switch",
  "--help": "switch",
  "-h": "switch",
} as const;

type Arguments = ParsedArguments<keyof typeof FLAGS>;
type Handler = (directory: string, given: Arguments) => Promise<number>;

const COMMANDS: Readonly<Record<string, Handler>> = {
  up,
  show,
  apply,
  delete: remove,
  exec,
  weft,
  kill,
  start,
  capture,
  down,
};

if (import.meta.main) Deno.exit(await main(Deno.args));

async function main(args: readonly string[]): Promise<number> {
  try {
    const given = parseArguments(args, FLAGS);
    if (given.flags["--help"] !== undefined || given.flags["-h"] !== undefined) {
      await write(Deno.stdout, HELP);
      return 0;
    }
    const handler = COMMANDS[given.command];
    if (handler === undefined) throw new UsageError(`there is no command "${given.command}"`);
    return await handler(resolve(given.flags["--state"] ?? defaultDirectory()), given);
  } catch (error) {
    if (error instanceof UsageError) {
      await write(Deno.stderr, `testbed: ${error.message}; see 'testbed --help'\n`);
      return 2;
    }
    const expected = error instanceof TestbedError;
    await write(Deno.stderr, `testbed: ${expected ? error.message : Deno.inspect(error)}\n`);
    return 1;
  }
}

async function up(directory: string, { flags, positional, rest }: Arguments): Promise<number> {
  expect(positional, []);
  const podLink = flags["--pod-link"] ?? "bridge";
  if (podLink !== "bridge" && podLink !== "ptp") {
    throw new UsageError("--pod-link is bridge or ptp");
  }
  const { upTestbed } = await import("./commands.ts");
  const { describeTestbed } = await import("./describe.ts");
  const controller = new AbortController();
  let interrupted = 0;
  for (const [signal, status] of [["SIGINT", 130], ["SIGTERM", 143], ["SIGHUP", 129]] as const) {
    Deno.addSignalListener(signal, () => {
      interrupted = status;
      controller.abort();
    });
  }
  const source = flags["--source"];
  try {
    const state = await upTestbed(directory, {
      ...(source !== undefined && { source }),
      nodes: Number(flags["--nodes"] ?? 1),
      agents: flags["--no-agent"] === undefined,
      agentArgs: rest,
      podLink,
      signal: controller.signal,
    });
    await writeJson(describeTestbed(state));
    return 0;
  } catch (error) {
    if (interrupted !== 0) return interrupted;
    throw error;
  }
}

async function show(directory: string, { positional }: Arguments): Promise<number> {
  expect(positional, []);
  const { describeTestbed } = await import("./describe.ts");
  await writeJson(describeTestbed(await loadState(directory)));
  return 0;
}

async function apply(directory: string, { positional }: Arguments): Promise<number> {
  const { applyTexts, readTexts } = await import("./commands.ts");
  const { describeObject } = await import("./control/source.ts");
  if (positional.length === 0) throw new UsageError("apply wants FILE…");
  for (const { object, what } of await applyTexts(directory, await readTexts(positional))) {
    // deno-lint-ignore no-await-in-loop -- lines in order
    await write(Deno.stdout, `${describeObject(object)} ${what}\n`);
  }
  return 0;
}

async function remove(directory: string, { positional }: Arguments): Promise<number> {
  const { deleteTexts, readTexts } = await import("./commands.ts");
  const { describeObject } = await import("./control/source.ts");
  if (positional.length === 0) throw new UsageError("delete wants FILE…");
  const outcomes = await deleteTexts(directory, await readTexts(positional));
  for (const { object, what } of outcomes) {
    // deno-lint-ignore no-await-in-loop -- lines in order
    await write(Deno.stdout, `${describeObject(object)} ${what}\n`);
  }
  return outcomes.every(({ what }) => what === "deleted") ? 0 : 1;
}

async function exec(directory: string, { positional, rest }: Arguments): Promise<number> {
  const [target] = expect(positional, ["TARGET"]);
  if (rest.length === 0) throw new UsageError("exec wants TARGET -- CMD…");
  const { placeOf } = await import("./target.ts");
  const { enter } = await import("./host/process.ts");
  return await passThrough(enter(placeOf(await loadState(directory), target), rest));
}

async function weft(directory: string, { positional, rest }: Arguments): Promise<number> {
  const [node] = expect(positional, ["NODE"]);
  const { weftCommand } = await import("./host/agent.ts");
  const state = await loadState(directory);
  return await passThrough(weftCommand(state, findNode(state, node), rest));
}

async function kill(directory: string, { positional }: Arguments): Promise<number> {
  const [node, signal] = expect(positional, ["NODE", "SIGNAL"]);
  const { signalAgent } = await import("./host/agent.ts");
  await signalAgent(findNode(await loadState(directory), node), signal);
  return 0;
}

async function start(directory: string, { positional }: Arguments): Promise<number> {
  const [node] = expect(positional, ["NODE"]);
  const { startAgent } = await import("./commands.ts");
  await startAgent(directory, node);
  return 0;
}

async function capture(directory: string, { flags, positional }: Arguments): Promise<number> {
  const [target, file] = expect(positional, ["TARGET", "FILE"]);
  const { startCapture } = await import("./capture.ts");
  const { capturePlace } = await import("./target.ts");
  const place = capturePlace(await loadState(directory), target);
  const filter = flags["--filter"];
  const device = flags["--interface"] ?? "eth0";
  const running = await startCapture(place, resolve(file), {
    interface: device,
    ...(filter !== undefined && { filter }),
  });
  const signalled = new Promise<void>((resolve) => {
    for (const signal of ["SIGINT", "SIGTERM"] as const) Deno.addSignalListener(signal, resolve);
  });
  await write(Deno.stderr, `capturing on ${device} of ${target} to ${file}\n`);
  const broken = await Promise.race([signalled, running.ended()]);
  if (broken) throw new TestbedError("Cannot capture any longer: tcpdump has ended");
  await running.stop();
  return 0;
}

async function down(directory: string, { positional }: Arguments): Promise<number> {
  expect(positional, []);
  const { tearDown } = await import("./commands.ts");
  const { untilCollected } = await import("./host/clean.ts");
  const { remarks, killed } = await tearDown(directory);
  await untilCollected(killed);
  for (const remark of remarks) {
    // deno-lint-ignore no-await-in-loop -- lines in order
    await write(Deno.stderr, `testbed: ${remark}\n`);
  }
  return 0;
}

/** Runs a command with our own streams; what interrupts us is for it to decide. */
async function passThrough(argv: readonly string[]): Promise<number> {
  const stdio = { stdin: "inherit", stdout: "inherit", stderr: "inherit" } as const;
  const env = environmentInside();
  const child = toCommand(argv, { ...stdio, clearEnv: true, env }).spawn();
  // From a terminal it gets these itself; from `kill`, only we do.
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT"] as const) {
    Deno.addSignalListener(signal, () => {
      if (signal === "SIGINT" && Deno.stdin.isTerminal()) return;
      try {
        child.kill(signal);
      } catch {
        // It has just ended.
      }
    });
  }
  return (await child.status).code;
}

/** Names positional arguments, and checks that there are as many as names. */
function expect<Names extends readonly string[]>(
  positional: readonly string[],
  names: readonly [...Names],
): { [Index in keyof Names]: string } {
  if (positional.length === names.length) return [...positional] as { [I in keyof Names]: string };
  const wanted = names.length === 0 ? "no arguments" : names.join(" ");
  throw new UsageError(`wants ${wanted}, not "${positional.join(" ")}"`);
}

async function writeJson(value: unknown): Promise<void> {
  await write(Deno.stdout, `${JSON.stringify(value)}\n`);
}

async function write(
  stream: { write(bytes: Uint8Array): Promise<number> },
  text: string,
): Promise<void> {
  const bytes = new TextEncoder().encode(text);
  // deno-lint-ignore no-await-in-loop -- a pipe may take a part at a time
  for (let sent = 0; sent < bytes.length;) sent += await stream.write(bytes.subarray(sent));
}
