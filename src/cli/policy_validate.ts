/**
 * `weft policy validate`: whether policies say what they seem to say, before they are applied. In
 * come files and folders, out goes one line for each policy document. Nothing live is asked.
 *
 * @module
 */

import type { Command } from "@commander-js/extra-typings";
import type { PolicyDocumentReport } from "../watch/policies/mod.ts";
import type { CliEnv } from "./env.ts";
import { ExitStatus } from "./exit.ts";
import { outputOption } from "./options.ts";

const HELP = `
A folder stands for the .yaml, .yml and .json files below it. Looked at are CiliumNetworkPolicy,
CiliumClusterwideNetworkPolicy, NetworkPolicy, CiliumCIDRGroup and CiliumServiceMeshPolicy; other
kinds are passed over.

Examples:
  weft policy validate ./manifests
  weft policy validate -o json policy.yaml

Exit status: 0 all are valid, 1 some are not, or cannot be read.
`;

/** Adds `weft policy validate`. */
export function registerPolicyValidate(policy: Command, env: CliEnv): void {
  policy.command("validate")
    .description("check policies in files: fields, values, and what Cilium no longer knows")
    .argument("<path...>", "files or folders")
    .addOption(outputOption())
    .addHelpText("after", HELP)
    .action((paths, { output }) => validateCommand(paths, output, env));
}

async function validateCommand(
  paths: readonly string[],
  output: "text" | "json",
  env: CliEnv,
): Promise<void> {
  const { readDocuments, validateDocument } = await import("../watch/policies/mod.ts");
  const documents = await readDocuments(paths);
  const reports = documents.map(validateDocument).filter((report) => report !== undefined);
  const lines = reports.map((report) =>
    output === "json" ? JSON.stringify(report) : reportText(report)
  );
  env.out(lines.map((line) => `${line}\n`).join(""));
  if (reports.some(({ valid }) => !valid)) env.status = ExitStatus.NO;
}

function reportText({ file, kind, namespace, name, errors }: PolicyDocumentReport): string {
  const who = [kind, [namespace, name].filter(Boolean).join("/")].filter(Boolean).join(" ");
  const head = who === "" ? file : `${file}: ${who}`;
  if (errors.length === 0) return `${head}: valid`;
  return errors.map(({ path, message }) => `${head}: ${path === "" ? "" : `${path} `}${message}`)
    .join("\n");
}
