// deno-lint-ignore-file no-await-in-loop -- one round after the other
/**
 * Certificates that live for twenty seconds, under traffic, for as long as one likes: `deno task
 * test:soak [--minutes N]`. In: root. Out: a line a minute, and at the end how many connections
 * were made, how many failed and how often each pod's certificate was renewed; exit status 0 only
 * if none failed, the connection that stood from the beginning still stands, and the certificates
 * were renewed in time.
 *
 * @module
 */
import { parseArgs } from "node:util";
import { say } from "@/scripts/lib/terminal.ts";
import { HABITS } from "@/tests/node/support/habits.ts";
import { LoadClient } from "@/tests/node/support/load_client.ts";
import { ENROLLED, Mesh, pod, policy } from "@/tests/node/support/mesh.ts";
import { within } from "@/tests/support/waiting.ts";

const LIFETIME_S = 20;
const MINUTE_MS = 60_000;
/** Connections of a round, and how long a round may take. */
const ROUND = 500;
const ROUND_MS_MAX = 30_000;

async function main(args: string[]): Promise<number> {
  const { values } = parseArgs({ args, options: { minutes: { type: "string", default: "10" } } });
  const minutes = Number(values.minutes);
  if (!(minutes > 0)) throw new TypeError(`Cannot soak for "${values.minutes}" minutes`);
  await using mesh = await Mesh.up({
    nodes: 2,
    agentArgs: ["--svid-ttl", `${LIFETIME_S}s`],
    documents: [
      pod({ name: "server", runs: "talker", node: "node-1", labels: ENROLLED }),
      pod({ name: "client", node: "node-2", labels: ENROLLED }),
      policy("server", "STRICT"),
    ],
  });
  return await soak(mesh, minutes);
}

async function soak(mesh: Mesh, minutes: number): Promise<number> {
  const [v4, v6] = await mesh.addresses("default/server");
  await using live = await mesh.hold("default/client", v4);
  const seen = new Map(mesh.nodes.map((node) => [node, new Set<string>()]));
  const failures: string[] = [];
  let [made, round, told] = [0, 0, 0];
  const start = performance.now();
  for (let now = start; now - start < minutes * MINUTE_MS; now = performance.now()) {
    const failure = await playRound(mesh, round++ % 2 === 0 ? v4 : v6);
    made += ROUND;
    if (failure !== undefined) failures.push(failure);
    const echoed = await live.ask(`round ${round} `);
    if (!echoed.includes(`round ${round} `)) failures.push(`the connection that stood: ${echoed}`);
    await countCertificates(mesh, seen);
    if (Math.floor((now - start) / MINUTE_MS) <= told) continue;
    told++;
    say(`minute ${told}: ${made} connections, ${failures.length} failures, ${counts(seen)}`);
  }
  for (const failure of new Set(failures)) say(`FAILED   ${failure}`);
  say(`${made} connections, ${failures.length} failures, ${counts(seen)}`);
  // At the latest when its life is over a certificate has been replaced.
  const wanted = Math.floor(minutes * 60 / LIFETIME_S);
  const late = [...seen].filter(([, fingerprints]) => fingerprints.size - 1 < wanted);
  for (const [node] of late) say(`FAILED   ${node} has renewed less than ${wanted} times`);
  return failures.length + late.length > 0 ? 1 : 0;
}

/** What went wrong, if something did. */
async function playRound(mesh: Mesh, host: string): Promise<string | undefined> {
  await using load = await LoadClient.start(
    mesh,
    "default/client",
    "short",
    host,
    HABITS.who,
    ROUND,
  );
  const report = await within(ROUND_MS_MAX, "a round", load.next())
    .catch((error: Error) => ({ served: 0, first: error.message }));
  if (report?.served === ROUND) return undefined;
  return `${report?.served ?? 0} of ${ROUND} connections: ${report?.first ?? "no report"}`;
}

async function countCertificates(
  mesh: Mesh,
  seen: ReadonlyMap<string, Set<string>>,
): Promise<void> {
  for (const [node, fingerprints] of seen) {
    for (const { certificate } of (await mesh.status(node)).pods) {
      if (certificate !== undefined) fingerprints.add(certificate.fingerprint);
    }
  }
}

function counts(seen: ReadonlyMap<string, ReadonlySet<string>>): string {
  return [...seen].map(([node, { size }]) => `${node} renewed ${size - 1} times`).join(", ");
}

if (import.meta.main) Deno.exit(await main(Deno.args));
