/**
 * `weft status`: the agent of this node on one screen. In comes its report, out go the parts that a
 * person can act on: problems first, then what is in force. Invariant: without an agent it says
 * what still enforces, and how to get the agent back.
 *
 * @module
 */
import type { StatusReport } from "../observe/mod.ts";
import { AgentClient, isUnreachable } from "./client.ts";
import type { CliEnv } from "./env.ts";
import { ExitStatus } from "./exit.ts";
import { bpffsOption, outputOption, type Program, runDirOption } from "./options.ts";
import { pinnedSummary } from "./pinned.ts";
import { statusText } from "./status_text.ts";

const HELP = `
It shows whether the agent is ready or why not, what the source holds and which documents were
rejected (file, line, field, reason), the policies with the pods that they select, this node's pods
with mode and certificate, the nodes, the relay, and what was refused.

Examples:
  weft status
  weft status -o json | jq '.refusals'

Exit status: 0 healthy, 1 degraded (a source failure, a pod not attached, a relay worker down,
certificates that cannot be issued, not ready yet), 3 no agent answers. Rejected documents are
shown; what they replace stays in force, so they alone do not make the status 1.
`;

/** Adds `weft status`. */
export function registerStatus(program: Program, env: CliEnv): void {
  program.command("status")
    .description("show whether the agent of this node is healthy, and what is in force")
    .addOption(outputOption())
    .addOption(runDirOption())
    .addOption(bpffsOption())
    .addHelpText("after", HELP)
    .action((options) => status(options, env));
}

interface StatusOptions {
  readonly output: "text" | "json";
  readonly runDir: string;
  readonly bpffs: string;
}

async function status(options: StatusOptions, env: CliEnv): Promise<void> {
  let report: StatusReport;
  try {
    using client = await AgentClient.open(options.runDir);
    report = await client.get<StatusReport>("/status");
  } catch (error) {
    if (isUnreachable(error) && error.how === "absent") {
      const pinned = pinnedSummary(options.bpffs);
      if (options.output === "json") env.out(`${JSON.stringify({ running: false, pinned })}\n`);
      else for (const line of pinned.sentences) env.err(`weft: ${line}\n`);
    }
    throw error;
  }
  if (options.output === "json") env.out(`${JSON.stringify({ running: true, ...report })}\n`);
  else env.out(statusText(report));
  if (!report.healthy) env.status = ExitStatus.NO;
}
