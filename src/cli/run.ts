/**
 * `weft run`: the agent of this node. In come flags and variables, out goes a checked `Config`;
 * everything else is `src/agent.ts`.
 *
 * @module
 */
import { Option } from "@commander-js/extra-typings";
import { resolve } from "node:path";
import { LOG_LEVELS } from "../log.ts";
import type { CliEnv } from "./env.ts";
import { findCgroup2 } from "./mounts.ts";
import { bpffsOption, DEFAULT_STATE_DIRECTORY, type Program, runDirOption } from "./options.ts";

const HELP = `
It loads and pins the eBPF programs, reads the source, issues certificates, and serves until SIGTERM
or SIGINT. What it pinned goes on enforcing when it is gone; \`weft uninstall\` removes it. Logs are
JSON lines on standard error.

Examples:
  weft run --source /etc/weft
  weft run --source ./manifests --node a --run-dir /run/weft-a --state-dir /var/lib/weft-a \\
           --bpffs /sys/fs/bpf/weft-a          one of several agents on one kernel
`;

/** Adds `weft run`. */
export function registerRun(program: Program, env: CliEnv): void {
  program.command("run")
    .description("run the agent of this node")
    .requiredOption("--source <dir>", "folder of YAML: Pods, Services, policies, …")
    .addOption(
      new Option("--nodes-dir <dir>", "where agents announce themselves (default SOURCE/.nodes)"),
    )
    .addOption(
      new Option("--node <name>", "name of this node (default: the host's)").env("WEFT_NODE"),
    )
    .addOption(runDirOption())
    .addOption(
      new Option("--state-dir <dir>", "keys and last good snapshot").env("WEFT_STATE_DIR")
        .default<string>(DEFAULT_STATE_DIRECTORY),
    )
    .addOption(
      new Option("--ca-dir <dir>", "the root's directory, where it is here (default STATE/ca)")
        .env("WEFT_CA_DIR"),
    )
    .addOption(bpffsOption())
    .addOption(
      new Option("--cgroup <dir>", "root of the node's cgroup2 tree (default: where it is mounted)")
        .env("WEFT_CGROUP"),
    )
    .option("--trust-domain <name>", "of every SPIFFE ID", "cluster.local")
    .option("--system-namespace <name>", "its policies may target other namespaces", "kube-system")
    .addOption(
      new Option("--enroll <which>", "pods in the mesh: by label, or all")
        .choices(["label", "all"] as const).default("label"),
    )
    .option(
      "--default-mode <mode>",
      "of enrolled pods without a policy: STRICT, PERMISSIVE or DISABLE",
      "PERMISSIVE",
    )
    .addOption(
      new Option("--same-node <how>", "traffic between pods of this node: mutual TLS, or attested")
        .choices(["encrypt", "attest"] as const).default("encrypt"),
    )
    .option("--svid-ttl <duration>", "life of a pod's certificate", "1h")
    .option("--workers <count>", "relay threads (default: one per core, at most 8)")
    .option("--metrics-addr <host:port>", "serve Prometheus metrics here too, as in 127.0.0.1:9469")
    .option(
      "--insecure-keylog <file>",
      "write TLS secrets for debugging: its readers read the traffic",
    )
    .addOption(
      new Option("--log-level <level>", "least severe events to log")
        .choices(LOG_LEVELS).default("info"),
    )
    .addHelpText("after", HELP)
    .action(async (options) => {
      const { parseConfig } = await import("../config.ts");
      const config = parseConfig({ ...options, ...defaultsOf(options), ...absolute(options) });
      const { runAgent } = await import("../agent.ts");
      await runAgent(config, env.signal);
    });
}

/** What depends on the machine. */
function defaultsOf(options: Given): Record<string, unknown> {
  return {
    node: options.node ?? Deno.hostname().toLowerCase(),
    workers: options.workers ?? Math.min(navigator.hardwareConcurrency, 8),
  };
}

/** Paths as given are relative to where the command was typed. */
function absolute(options: Given): Record<string, string> {
  const paths: Record<string, string> = { cgroup: resolve(options.cgroup ?? findCgroup2()) };
  for (const key of PATHS) {
    const given = options[key];
    if (given !== undefined) paths[key] = resolve(given);
  }
  return paths;
}

const PATHS = [
  "source",
  "nodesDir",
  "runDir",
  "stateDir",
  "caDir",
  "bpffs",
  "insecureKeylog",
] as const;

type Given = { readonly [Key in typeof PATHS[number] | "node" | "workers" | "cgroup"]?: string };
