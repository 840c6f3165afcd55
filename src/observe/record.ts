/**
 * Where an agent keeps its things, written beside its socket: `weft uninstall` finds them also when
 * the agent was killed, and without repeating every flag of `weft run`.
 *
 * @module
 */
import { z } from "zod";
import type { Config } from "../config.ts";
import { ConfigError } from "../errors.ts";

/** Name of the file in the run directory. */
export const RECORD_NAME = "agent.json";

/** Paths of one agent. */
export interface AgentRecord {
  readonly node: string;
  readonly bpffs: string;
  readonly nodesDirectory: string;
  readonly stateDirectory: string;
  readonly caDirectory: string;
}

/** Writes the record of this agent; the next agent of the directory replaces it. */
export function writeRecord(config: Config): void {
  const record: AgentRecord = {
    node: config.node,
    bpffs: config.bpffs,
    nodesDirectory: config.source.nodesDirectory,
    stateDirectory: config.stateDirectory,
    caDirectory: config.caDirectory,
  };
  const path = `${config.runDirectory}/${RECORD_NAME}`;
  const next = `${path}.next`;
  Deno.writeTextFileSync(next, `${JSON.stringify(record)}\n`, { mode: 0o600 });
  Deno.renameSync(next, path);
}

/** The record of a run directory, or undefined where no agent ever ran. */
export function readRecord(runDirectory: string): AgentRecord | undefined {
  const path = `${runDirectory}/${RECORD_NAME}`;
  let text: string;
  try {
    text = Deno.readTextFileSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
  const result = record.safeParse(parsed(text));
  if (result.success) return result.data;
  throw new ConfigError(
    `Cannot use "${path}": it is not what an agent has written; remove it, and name the places ` +
      "of the agent with --bpffs, --state-dir, --nodes-dir and --node",
    { option: "--run-dir" },
  );
}

const record = z.object({
  node: z.string(),
  bpffs: z.string(),
  nodesDirectory: z.string(),
  stateDirectory: z.string(),
  caDirectory: z.string(),
});

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // no agent's record, whatever it is
  }
}
