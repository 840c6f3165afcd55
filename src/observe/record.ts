/**
 * Where an agent keeps its things, written beside its socket: `weft uninstall` finds them also when
 * the agent was killed, and without repeating every flag of `weft run`.
 *
 * @module
 */
import type { Config } from "../config.ts";

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
  try {
    return JSON.parse(Deno.readTextFileSync(`${runDirectory}/${RECORD_NAME}`)) as AgentRecord;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}
