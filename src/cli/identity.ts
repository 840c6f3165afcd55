/**
 * `weft identity list`: whose certificate says what.
 *
 * @module
 */
import type { IdentityReport } from "../observe/mod.ts";
import { AgentClient } from "./client.ts";
import type { CliEnv } from "./env.ts";
import { outputOption, type Program, runDirOption } from "./options.ts";
import { expiry, table } from "./text.ts";

const HELP = `
Every pod that has an identity, on all nodes: the SPIFFE ID follows from its ServiceAccount, the
certificate is issued by the agent of its node, so its expiry is shown for pods of this node only.

Examples:
  weft identity list
  weft identity list -o json | jq -r '.[] | select(.enrolled) | .spiffeId'
`;

/** Adds `weft identity`. */
export function registerIdentity(program: Program, env: CliEnv): void {
  const identity = program.command("identity")
    .description("show the identities of pods");
  identity.command("list")
    .description("list every pod that has an identity")
    .addOption(outputOption())
    .addOption(runDirOption())
    .addHelpText("after", HELP)
    .action(async (options) => {
      using client = await AgentClient.open(options.runDir);
      const rows = await client.get<IdentityReport[]>("/identities");
      env.out(options.output === "json" ? `${JSON.stringify(rows)}\n` : identityText(rows));
    });
}

/** A table, or how to get a first row. */
export function identityText(rows: readonly IdentityReport[], nowMs: number = Date.now()): string {
  if (rows.length === 0) {
    return "no pod has an identity yet: label one mesh.cilium.io/enrolled=true\n";
  }
  return table([
    ["POD", "NODE", "ADDRESSES", "IDENTITY", "CERTIFICATE"],
    ...rows.map(({ pod, node, addresses, spiffeId, certificate }) => [
      pod,
      node,
      addresses.join(" "),
      spiffeId,
      certificate ? expiry(certificate.notAfterMs, nowMs) : "on its own node",
    ]),
  ]);
}
