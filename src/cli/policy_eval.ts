/**
 * `weft policy eval`: what policies would do to connections, decided from files alone. In come
 * objects and queries, out goes one JSON object for each query, in order, and nothing else.
 *
 * Invariant: an engine that cannot be used is never replaced by another in silence.
 *
 * @module
 */

import { type Command, Option } from "@commander-js/extra-typings";
import { UsageError } from "../errors.ts";
import type { Answer } from "../evaluate/mod.ts";
import type { Enforcement } from "../model/network_policy/mod.ts";
import type { Remark } from "../watch/policies/mod.ts";
import type { CliEnv } from "./env.ts";
import { ExitStatus } from "./exit.ts";
import { type Answerer, type EngineName, ENGINES, openAnswerer } from "./policy_engines.ts";

const HELP = `
Objects are Namespace, Pod, Service, EndpointSlice, Node, Secret, NetworkPolicy,
CiliumNetworkPolicy, CiliumClusterwideNetworkPolicy and CiliumCIDRGroup, in any mix; other kinds are
passed over. Invalid ones are named on standard error and enforce nothing.

Queries are JSON, one on each line (or one array of them):
  {"from": {"pod": "default/frontend"}, "to": {"pod": "default/backend"},
   "protocol": "TCP", "port": 8080, "http": {"method": "GET", "path": "/"}}
An end is one of {"pod": "namespace/name"}, {"ip": "10.1.0.7"} (with "fqdn" in "to"),
{"entity": "world"} and {"labels": ["k8s:app=web"]}. ICMP has {"icmp": {"family", "type"}} in place
of a port. The payload is one of http, dns and tls, or absent: then the connection is judged.

Example:
  weft policy eval --objects ./manifests --queries queries.jsonl

Exit status: 0 all queries are answered, 1 some cannot be, or the engines differ, 2 a file cannot be
read, 3 the kernel cannot be used.
`;

interface EvalCommand {
  readonly objects: readonly string[];
  readonly queries: string;
  readonly engine: EngineName;
  readonly enforcement: Enforcement;
}

/** Adds `weft policy eval`. */
export function registerPolicyEval(policy: Command, env: CliEnv): void {
  policy.command("eval")
    .description("decide connections by the policies in files: allow or deny, why, by which rule")
    .requiredOption("--objects <path...>", "files or folders with the objects")
    .requiredOption("--queries <file>", "file with the queries, - for standard input")
    .addOption(
      new Option("--engine <name>", "who decides: the plain evaluator, the compiled programs, both")
        .choices(ENGINES)
        .default<"reference">("reference"),
    )
    .addOption(
      new Option("--enforcement <mode>", "default: where a policy selects; always; never")
        .choices(["default", "always", "never"] as const)
        .default<"default">("default"),
    )
    .addHelpText("after", HELP)
    .action((options) => evalCommand(options, env));
}

async function evalCommand(options: EvalCommand, env: CliEnv): Promise<void> {
  const { readDocuments, worldOf } = await import("../watch/policies/mod.ts");
  await Promise.all(options.objects.map(expectExists));
  const { world, remarks } = worldOf(await readDocuments(options.objects));
  for (const remark of remarks) env.err(`weft: ${remarkText(remark)}\n`);
  const answerer = await openAnswerer(options, world, env);
  if ("unusable" in answerer) {
    env.err(`weft: cannot use the kernel: ${answerer.unusable}\n`);
    env.status = ExitStatus.UNAVAILABLE;
    return;
  }
  using answering = answerer;
  const run = new Run(answering, env);
  await run.answer(await readQueries(options.queries));
}

async function expectExists(path: string): Promise<void> {
  try {
    await Deno.stat(path);
  } catch (error) {
    const cause = error instanceof Error ? error.message : String(error);
    throw new UsageError(`Cannot read objects "${path}": ${cause}`);
  }
}

/** Answers are written in pieces of about this many. */
const ANSWERS_PER_WRITE = 1000;

class Run {
  readonly #answerer: Answerer;
  readonly #env: CliEnv;
  readonly #strangers = new Set<string>();

  constructor(answerer: Answerer, env: CliEnv) {
    this.#answerer = answerer;
    this.#env = env;
  }

  async answer(queries: readonly QueryText[]): Promise<void> {
    const { parseQuery } = await import("../evaluate/mod.ts");
    let pending: string[] = [];
    for (const text of queries) {
      const answer = this.#answerOne(text, parseQuery);
      if ("error" in answer) this.#env.status = ExitStatus.NO;
      pending.push(`${JSON.stringify(answer)}\n`);
      if (pending.length < ANSWERS_PER_WRITE) continue;
      this.#env.out(pending.join(""));
      pending = [];
    }
    this.#env.out(pending.join(""));
  }

  #answerOne(
    text: QueryText,
    parseQuery: typeof import("../evaluate/mod.ts").parseQuery,
  ): Answer {
    if ("fault" in text) return { error: text.fault };
    const parsed = parseQuery(text.value);
    if (!parsed.ok) return { error: parsed.error };
    for (const name of parsed.strangers) this.#warnOf(name);
    return this.#answerer.answer(parsed.query, text.value);
  }

  /** Once for each field that no query has. */
  #warnOf(field: string): void {
    if (this.#strangers.has(field)) return;
    this.#strangers.add(field);
    this.#env.err(`weft: queries have no field "${field}": it is passed over\n`);
  }
}

type QueryText = { readonly value: unknown } | { readonly fault: string };

/** Each line is a query; one array, or one object over several lines, is accepted too. */
async function readQueries(file: string): Promise<QueryText[]> {
  let text: string;
  try {
    text = file === "-"
      ? await new Response(Deno.stdin.readable).text()
      : await Deno.readTextFile(file);
  } catch (error) {
    const cause = error instanceof Error ? error.message : String(error);
    throw new UsageError(`Cannot read queries "${file}": ${cause}`);
  }
  const lines = text.split("\n").filter((line) => line.trim() !== "");
  const [first] = lines;
  if (first === undefined) return [];
  const isWhole = first.trimStart().startsWith("[") || "fault" in parseJson(first);
  const whole = isWhole ? parseJson(text) : undefined;
  if (whole === undefined || "fault" in whole) return lines.map(parseJson);
  return Array.isArray(whole.value) ? whole.value.map((value) => ({ value })) : [whole];
}

function parseJson(text: string): QueryText {
  try {
    return { value: JSON.parse(text) };
  } catch (error) {
    return { fault: `is not JSON: ${error instanceof Error ? error.message : String(error)}` };
  }
}

function remarkText({ file, line, ref, path, reason, severity }: Remark): string {
  const who = ref === undefined || ref.name === ""
    ? ""
    : ` ${ref.kind} ${[ref.namespace, ref.name].filter(Boolean).join("/")}:`;
  const what = severity === "warning" ? "warning" : "ignored";
  return `${file}:${line}:${who} ${path === "" ? "" : `${path} `}${reason} (${what})`;
}
