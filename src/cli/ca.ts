/**
 * `weft ca`: the root of a trust domain and the issuers of its nodes. In come directories, out go
 * files in them and what to do with these. Invariant: nothing that exists is written over, but a
 * node's issuer by a newer one of the same node and root.
 *
 * @module
 */
import { Option } from "@commander-js/extra-typings";
import { resolve } from "node:path";
import { UsageError } from "../errors.ts";
import type { CliEnv } from "./env.ts";
import { DEFAULT_STATE_DIRECTORY, outputOption, type Program } from "./options.ts";

const HELP = `
One root signs for the whole trust domain. Its key stays in one directory on one machine. Every
node gets an issuer of its own, an intermediate that the others accept for that node's pods alone:
whoever steals it can impersonate those pods and no others. A node issuer lives 7 days.

Setting up three nodes:
  weft ca init --ca-dir /srv/weft-ca                         on the machine that keeps the root
  weft ca issue-node node-a --ca-dir /srv/weft-ca --out ./node-a
  scp -r ./node-a/. node-a:/var/lib/weft/                    the same for node-b and node-c
A single node needs none of this: \`weft run\` makes its own root on first start.
`;

const ISSUE_HELP = `
It writes issuer.crt, issuer.key (0600) and bundle.pem. Copy them into the node's --state-dir; a
running agent notices and makes its pods' certificates anew. Run it again before the issuer expires:
\`weft status\` on the node says when.

With --uid the issuer is good for that Node object only, and not for a node of the same name that
replaces it.

Examples:
  weft ca issue-node node-a --out ./node-a
  weft ca issue-node node-a --out /var/lib/weft --lifetime 30d
`;

/** Adds `weft ca` and its commands. */
export function registerCa(program: Program, env: CliEnv): void {
  const ca = program.command("ca")
    .description("the root and the node issuers")
    .addHelpText("after", HELP);

  ca.command("init")
    .description("make a root; refuses where there is one")
    .addOption(caDirOption().default<string>(`${DEFAULT_STATE_DIRECTORY}/ca`))
    .option("--trust-domain <name>", "of every SPIFFE ID", "cluster.local")
    .action(async ({ caDir, trustDomain }) => {
      const { initRoot } = await import("./ca_actions.ts");
      env.out(await initRoot(resolve(caDir), trustDomain));
    });

  ca.command("issue-node")
    .description("issue the intermediate with which one node signs for its pods")
    .argument("<name>", "name of the node, as its agent's --node has it")
    .addOption(caDirOption().default<string>(`${DEFAULT_STATE_DIRECTORY}/ca`))
    .requiredOption("--out <dir>", "the node's state directory, or one to copy there")
    .option("--uid <uid>", "UID of the Node object")
    .option("--lifetime <duration>", "until it expires", "7d")
    .addHelpText("after", ISSUE_HELP)
    .action(async (node, { caDir, out, uid, lifetime }) => {
      const { issueNode } = await import("./ca_actions.ts");
      const lifetimeMs = await parseLifetime(lifetime);
      const place = { caDirectory: resolve(caDir), out: resolve(out) };
      env.out(
        await issueNode({ ...place, node, lifetimeMs, ...(uid === undefined ? {} : { uid }) }),
      );
    });

  ca.command("status")
    .description("show the root, the issuers and when they expire")
    .addOption(caDirOption())
    .addOption(
      new Option("--state-dir <dir>", `of a node (default: ${DEFAULT_STATE_DIRECTORY})`)
        .env("WEFT_STATE_DIR"),
    )
    .addOption(outputOption())
    .addHelpText("after", "\nIt exits 1 when something has expired or is due for renewal.\n")
    .action(async ({ caDir, stateDir, output }) => {
      const { caStatus } = await import("./ca_status.ts");
      const status = await caStatus({
        ...(caDir === undefined ? {} : { caDirectory: resolve(caDir) }),
        ...(stateDir === undefined ? {} : { stateDirectory: resolve(stateDir) }),
      });
      env.out(output === "json" ? JSON.stringify(status.view, null, 2) + "\n" : status.text);
      env.status = status.exitStatus;
    });
}

/** Where the root is. */
export function caDirOption(): Option<"--ca-dir <dir>"> {
  return new Option("--ca-dir <dir>", "the root's directory").env("WEFT_CA_DIR");
}

/** "7d", "12h", "90s" in milliseconds. */
export async function parseLifetime(text: string): Promise<number> {
  const { parseDurationMs } = await import("../config.ts");
  const { LIFETIME_MS_MIN } = await import("../identity/mod.ts");
  const lifetimeMs = parseDurationMs(text);
  if (!(lifetimeMs >= LIFETIME_MS_MIN)) {
    throw new UsageError(
      `Cannot use the lifetime "${text}": wanted ${
        LIFETIME_MS_MIN / 1000
      }s or more, as in "12h" or "7d"`,
    );
  }
  return lifetimeMs;
}
