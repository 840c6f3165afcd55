/**
 * Options that several commands share, with the same words, defaults and variables everywhere.
 *
 * @module
 */
import { type Command, Option } from "@commander-js/extra-typings";

/** What commands are attached to. */
export type Program = Command;

export const DEFAULT_RUN_DIRECTORY = "/run/weft";
export const DEFAULT_STATE_DIRECTORY = "/var/lib/weft";
export const DEFAULT_BPFFS = "/sys/fs/bpf/weft";

/** Where the agent's socket is. */
export function runDirOption(): Option<"--run-dir <dir>", undefined, string> {
  return new Option("--run-dir <dir>", "directory of the agent's socket")
    .env("WEFT_RUN_DIR")
    .default<string>(DEFAULT_RUN_DIRECTORY);
}

/** `-o json` */
export function outputOption(): OutputOption {
  return new Option("-o, --output <format>", "how to print the answer")
    .choices(["text", "json"] as const)
    .default<"text">("text");
}

type OutputOption = Option<
  "-o, --output <format>",
  undefined,
  "text",
  undefined,
  false,
  "text" | "json"
>;

/** Where the pins are. */
export function bpffsOption(): Option<"--bpffs <dir>", undefined, string> {
  return new Option("--bpffs <dir>", "directory of pins")
    .env("WEFT_BPFFS")
    .default<string>(DEFAULT_BPFFS);
}
