/**
 * `weft monitor`: events as they happen. In comes the agent's stream, out goes a line each.
 * Invariant: a gap is always said: events that were lost in the kernel, in the relay or here are
 * counted, and so is the time without an agent.
 *
 * @module
 */
import type { Event, EventEnd, FeedItem } from "../observe/mod.ts";
import { describeReason } from "../reasons.ts";
import { AgentClient, isUnreachable } from "./client.ts";
import type { CliEnv } from "./env.ts";
import { ExitStatus } from "./exit.ts";
import { outputOption, type Program, runDirOption } from "./options.ts";
import { count } from "./text.ts";

const HELP = `
By default it shows what happens from now on; --recent shows first what the agent still remembers.
It ends with Ctrl-C, or when the agent ends; --reconnect waits for the next one.

Examples:
  weft monitor
  weft monitor --reason mtls-required --pod default/backend
  weft monitor -o json | jq -r 'select(.type=="event").event.reason'

Exit status: 0 when interrupted, 3 when no agent answers or it has ended.
`;

const RECONNECT_INTERVAL_MS = 500;

export interface MonitorOptions {
  readonly runDir: string;
  readonly output: "text" | "json";
  readonly reason?: string | undefined;
  readonly pod?: string | undefined;
  readonly recent?: true | undefined;
  readonly follow?: boolean | undefined;
  readonly reconnect?: true | undefined;
}

/** Adds `weft monitor`. */
export function registerMonitor(program: Program, env: CliEnv): void {
  program.command("monitor")
    .summary("show connections being refused, cut and steered, live")
    .description(
      "Show events as they happen: what was refused, cut or steered, between which pods.",
    )
    .option("--reason <code>", "only this reason, as in mtls-required")
    .option("--pod <ns/name>", "only what comes from or goes to this pod")
    .option("--recent", "begin with what the agent still remembers")
    .option("--no-follow", "end after what the agent still remembers")
    .option("--reconnect", "wait for the next agent when this one ends")
    .addOption(outputOption())
    .addOption(runDirOption())
    .addHelpText("after", HELP)
    .action((options) => monitor(options, env));
}

/** Prints events until interrupted. */
export async function monitor(options: MonitorOptions, env: CliEnv): Promise<void> {
  let since = options.recent || options.follow === false ? "0" : "now";
  while (!env.signal.aborted) {
    try {
      // deno-lint-ignore no-await-in-loop -- one agent after the other
      since = await follow(options, since, env);
      if (options.follow === false) return;
      env.err("weft: the agent has ended\n");
      // The next agent counts its events anew.
      since = "0";
    } catch (error) {
      if (env.signal.aborted) return;
      if (!isUnreachable(error) || !options.reconnect) throw error;
    }
    if (!options.reconnect) {
      env.status = ExitStatus.NO_AGENT;
      return;
    }
    // deno-lint-ignore no-await-in-loop -- between two attempts
    await pause(RECONNECT_INTERVAL_MS, env.signal);
  }
}

async function follow(options: MonitorOptions, since: string, env: CliEnv): Promise<string> {
  using client = await AgentClient.open(options.runDir, env.signal);
  const query: Record<string, string> = { since, follow: String(options.follow !== false) };
  if (options.reason !== undefined) query["reason"] = options.reason;
  if (options.pod !== undefined) query["pod"] = options.pod;
  let last = since;
  for await (const line of client.lines("/events", query)) {
    const item = JSON.parse(line) as FeedItem;
    if (item.type === "event") last = String(item.event.id);
    env.out(options.output === "json" ? `${line}\n` : `${itemText(item)}\n`);
  }
  return last;
}

/** One line for people. */
export function itemText(item: FeedItem): string {
  if (item.type === "lost") {
    return `-- ${count(item.count, "event")} lost (${LOST_WORDS[item.where]}); ` +
      "the counters of `weft status` have them all";
  }
  return eventText(item.event);
}

/** `12:00:01.250 REFUSED default/frontend → default/backend:80 TCP  mtls-required: why`. */
export function eventText(event: Event): string {
  const time = new Date(event.timeMs).toISOString().slice(11, 23);
  const verdict = VERDICT_WORDS[event.verdict].padEnd(7);
  const ends = `${endText(event.source, false)} → ${endText(event.target, true)}`;
  const why = event.reason === "none"
    ? ""
    : `  ${event.reason}: ${describeReason(event.reason).happened}`;
  const peer = event.peerId === undefined ? "" : ` [${event.peerId}]`;
  const detail = event.detail === undefined ? "" : ` (${event.detail})`;
  return `${time} ${verdict} ${ends} ${event.protocol} at ${event.hook}${why}${peer}${detail}`;
}

const VERDICT_WORDS: Readonly<Record<Event["verdict"], string>> = {
  refuse: "REFUSED",
  cut: "CUT",
  wait: "WAITING",
  direct: "direct",
  relay: "relay",
  accept: "mTLS",
};

const LOST_WORDS = {
  kernel: "the kernel's ring was full",
  relay: "a relay worker had too many",
  reader: "this terminal read too slowly",
} as const;

function endText(end: EventEnd, withPort: boolean): string {
  const address = end.address.includes(":") ? `[${end.address}]` : end.address;
  const port = withPort && end.port !== 0 ? `:${end.port}` : "";
  if (end.pod !== undefined) return `${end.pod}${port} (${end.address})`;
  if (end.node !== undefined) return `node ${end.node}${port} (${end.address})`;
  return `${address}${port}${end.conflict ? " (claimed by several pods)" : ""}`;
}

/** Ends early, without an error, when the command is to stop. */
function pause(durationMs: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, durationMs);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      resolve();
    }, { once: true });
  });
}
