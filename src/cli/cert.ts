/**
 * `weft cert`: certificates for programs that speak TLS themselves. In comes who wants one, out go
 * `tls.crt`, `tls.key` and `ca.crt`. Invariant: a pod's certificate is made by the agent of its
 * node and nowhere else, because only what that agent signed is accepted from the pod's address.
 *
 * @module
 */
import { resolve } from "node:path";
import { UsageError } from "../errors.ts";
import { caDirOption, parseLifetime } from "./ca.ts";
import type { CliEnv } from "./env.ts";
import { DEFAULT_STATE_DIRECTORY, outputOption, type Program, runDirOption } from "./options.ts";

const ISSUE_HELP = `
It writes tls.crt (the certificate and its issuer), tls.key (0600) and ca.crt (the roots).

--pod asks the agent of this node for the identity of the pod's ServiceAccount. The certificate is
good from that pod's address only, so run this on the pod's node. Annotate the pod with
mesh.cilium.io/own-certificate: "true", and weft leaves its outbound TLS alone.

--external makes spiffe://TRUST-DOMAIN/external/NAME for something outside the cluster, good from
addresses of no pod and no node. It needs the root's directory, not an agent.

Neither is renewed by itself: run the command again in time.

Examples:
  weft cert issue --pod default/frontend --out /run/frontend-tls
  curl --cert tls.crt --key tls.key --cacert ca.crt https://backend:80
  weft cert issue --external billing --lifetime 7d --ca-dir /srv/weft-ca --out ./billing
`;

const INSPECT_HELP = `
For each certificate of the file: whom it names, who issued it, how long it holds, and which rules
of SPIFFE it breaks. It exits 1 when one has expired, breaks a rule, or is not signed by the next.

Examples:
  weft cert inspect tls.crt
  openssl s_client -connect backend:80 -showcerts </dev/null | weft cert inspect -
`;

/** Adds `weft cert` and its commands. */
export function registerCert(program: Program, env: CliEnv): void {
  const cert = program.command("cert")
    .description("certificates for programs that speak TLS themselves");

  cert.command("issue")
    .description("issue a certificate to a pod of this node, or to something outside")
    .option("--pod <namespace/name>", "the pod; asks the agent of this node")
    .option("--external <name>", "something outside the cluster; needs the root")
    .requiredOption("--out <dir>", "where to write tls.crt, tls.key and ca.crt")
    .option("--lifetime <duration>", "until it expires (default: --svid-ttl of the agent, or 24h)")
    .addOption(caDirOption().default<string>(`${DEFAULT_STATE_DIRECTORY}/ca`))
    .addOption(runDirOption())
    .addHelpText("after", ISSUE_HELP)
    .action(async ({ pod, external, out, lifetime, caDir, runDir }) => {
      const lifetimeMs = lifetime === undefined ? undefined : await parseLifetime(lifetime);
      const common = {
        out: resolve(out),
        ...(lifetimeMs === undefined ? {} : { lifetimeMs }),
      };
      const actions = await import("./cert_actions.ts");
      if (pod !== undefined && external === undefined) {
        env.out(await actions.issueToPod({ ...common, pod, runDirectory: runDir }));
      } else if (external !== undefined && pod === undefined) {
        const caDirectory = resolve(caDir);
        env.out(await actions.issueToOutside({ ...common, name: external, caDirectory }));
      } else throw new UsageError('Cannot issue: wanted one of "--pod" and "--external"');
    });

  cert.command("inspect")
    .description("show what a certificate says and whether it is an SVID")
    .argument("<file>", 'PEM file, or "-" for standard input')
    .addOption(outputOption())
    .addHelpText("after", INSPECT_HELP)
    .action(async (file, { output }) => {
      const { inspectChain } = await import("./cert_inspect.ts");
      const text = file === "-"
        ? await new Response(Deno.stdin.readable).text()
        : await readInput(resolve(file));
      const result = await inspectChain(text, file === "-" ? "standard input" : file);
      env.out(output === "json" ? JSON.stringify(result.view, null, 2) + "\n" : result.text);
      env.status = result.exitStatus;
    });
}

async function readInput(path: string): Promise<string> {
  try {
    return await Deno.readTextFile(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) {
      throw new UsageError(`Cannot read "${path}": it does not exist`);
    }
    throw new UsageError(`Cannot read "${path}"`, { cause: error });
  }
}
