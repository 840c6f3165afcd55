/**
 * `weft policy explain|list`: why a connection is allowed or refused, and which policies there are.
 * In come names or addresses, out goes one screen. Invariant: the answer is made by the same code
 * whether the agent is asked or files alone.
 *
 * @module
 */
import type { Explanation, PolicyReport } from "../observe/mod.ts";
import { AgentClient } from "./client.ts";
import type { CliEnv } from "./env.ts";
import { ExitStatus } from "./exit.ts";
import { outputOption, type Program, runDirOption } from "./options.ts";
import { registerPolicyEval } from "./policy_eval.ts";
import { registerPolicyListing } from "./policy_listing.ts";
import { registerPolicyValidate } from "./policy_validate.ts";
import { count, table } from "./text.ts";

const EXPLAIN_HELP = `
The ends are written as
  default/frontend   a pod, or the first pod of the Deployment of that name
  default/backend    (only --to) a Service, where no pod has that name; svc/… and pod/… choose
  10.1.0.7           an address
  outside            (only --from) a host that no agent manages
  node, node/NAME    (only --from) a process of this node, or of another, itself

It asks the agent, or with --source judges a folder of files alone, as if every node ran weft.

Examples:
  weft policy explain --from default/frontend --to default/backend --port 80
  weft policy explain --from outside --to 10.1.0.7 --port 443
  weft policy explain --source ./manifests --from default/frontend --to backend --port 80 -o json

Exit status: 0 allowed, 1 refused (also when it depends on the backend), 2 the question cannot be
understood, 3 no agent answers, 4 one of the ends does not exist.
`;

/** Adds `weft policy`. */
export function registerPolicy(program: Program, env: CliEnv): void {
  const policy = program.command("policy")
    .description("see policies, and explain what they do");
  policy.command("explain")
    .description("say why a connection is allowed or refused: which policy, file, line and field")
    .requiredOption("--from <end>", "who connects")
    .requiredOption("--to <end>", "who is connected to")
    .option("--port <number>", "port that is dialled (of the Service, where one is dialled)")
    .option("--protocol <name>", "TCP, UDP or ICMP", "TCP")
    .option("--source <dir>", "judge these files instead of asking the agent")
    .addOption(outputOption())
    .addOption(runDirOption())
    .addHelpText("after", EXPLAIN_HELP)
    .action((options) => explainCommand(options, env));
  policy.command("list")
    .description("list the policies in force, with the pods that they select")
    .addOption(outputOption())
    .addOption(runDirOption())
    .action(async (options) => {
      using client = await AgentClient.open(options.runDir);
      const rows = await client.get<PolicyReport[]>("/policies");
      env.out(options.output === "json" ? `${JSON.stringify(rows)}\n` : policiesText(rows));
    });
  registerPolicyEval(policy, env);
  registerPolicyValidate(policy, env);
  registerPolicyListing(policy, env);
}

interface ExplainCommand {
  readonly from: string;
  readonly to: string;
  readonly port?: string | undefined;
  readonly protocol: string;
  readonly source?: string | undefined;
  readonly output: "text" | "json";
  readonly runDir: string;
}

async function explainCommand(options: ExplainCommand, env: CliEnv): Promise<void> {
  const { from, to, port, protocol } = options;
  const words = { from, to, protocol, ...(port !== undefined && { port }) };
  const explanation = options.source === undefined
    ? await askAgent(options.runDir, words)
    : await judgeFiles(options.source, words);
  if (options.output === "json") env.out(`${JSON.stringify(explanation)}\n`);
  else {
    const { explanationText } = await import("./explain_text.ts");
    env.out(explanationText(explanation, env.columns));
  }
  if (explanation.answer !== "allowed") env.status = ExitStatus.NO;
}

async function askAgent(
  runDir: string,
  words: Readonly<Record<string, string>>,
): Promise<Explanation> {
  using client = await AgentClient.open(runDir);
  return await client.get<Explanation>("/explain", words);
}

async function judgeFiles(
  directory: string,
  words: Readonly<Record<string, string>>,
): Promise<Explanation> {
  const { explain, parseExplainQuery } = await import("../observe/mod.ts");
  const { stateOfFiles } = await import("./files.ts");
  const query = parseExplainQuery(words);
  return explain(await stateOfFiles(directory), query, { assumeAgents: true });
}

function policiesText(rows: readonly PolicyReport[]): string {
  if (rows.length === 0) return "no policy is in force\n";
  return table([
    ["POLICY", "MODE", "TARGET", "PODS", "FILE"],
    ...rows.map((row) => [
      row.name,
      [row.mode, ...row.portOverrides.map(({ port, mode }) => `${port}:${mode}`)].join(" "),
      row.target,
      count(row.pods.length, "pod"),
      row.file === undefined ? "" : `${row.file}${row.line ? `:${row.line}` : ""}`,
    ]),
  ]);
}
