/**
 * Step 8: two nodes under one root, a ServiceAccount for each pod, and a thief who has taken the
 * issuer of one node and would like to be a pod of the other.
 *
 * The thief's certificates are made with openssl alone. One of them, for a pod of the robbed node
 * itself, is accepted: it shows that the others are refused for what they claim, and not for their
 * form.
 *
 * @module
 */
import { findEvent } from "../events.ts";
import { Inside } from "../inside.ts";
import { checkNamed, checkNothingInside, logLines } from "../look.ts";
import type { Ran, Scene } from "../scene.ts";
import type { Step, Told } from "../step.ts";
import { clearWords, segmentsOf } from "../wire.ts";
import { count, linesOf } from "../words.ts";
import { CURL_LINES, eventsText } from "./plain.ts";

const HOME = "spiffe://cluster.local/ns/default/sa";
/** Names of checks, for the sabotage of the issuer binding. */
export const STOLEN_FROM_VICTIM = "as billing, from billing's address";

/** 8. */
export const TWO_NODES: Step = {
  number: 8,
  title: "Two nodes: across the wire, and what a stolen issuer is good for",
  needs: [],
  async play(scene, told) {
    told.screen.command("$", "ls two-nodes");
    told.screen.output("backend.yaml  frontend.yaml  others.yaml  policy.yaml");
    told.screen.note(
      "with --nodes, up runs 'weft ca init' and 'weft ca issue-node' for each node:",
    );
    await scene.provide("two-nodes", told);
    const bed = scene.two;
    const { pods } = await bed.describe();
    for (const { namespace, name, node, addresses } of pods) {
      told.screen.output(`${node}  ${`${namespace}/${name}`.padEnd(26)}${addresses.join("  ")}`);
    }
    const ran = await scene.weft(told, bed, "node-1", ["ca", "status"], {
      show: /^Root|^Issued|CN=/,
    });
    const issued = ["node-1", "node-2"].filter((node) => ran.stdout.includes(node));
    told.check(
      "one root, an issuer for each node",
      ran.code === 0 && issued.length === 2,
      issued.join(", ") || "none",
    );
    await checkAcross(scene, told);
    await steal(scene, told);
  },
};

/** The curl of step 5, over the wire between the nodes. */
async function checkAcross(scene: Scene, told: Told): Promise<void> {
  const bed = scene.two;
  const frontend = await bed.pod("default/frontend");
  const backend = await bed.pod("default/backend");
  for (const node of ["node-1", "node-2"]) {
    // deno-lint-ignore no-await-in-loop -- both have to be ready before anything is tried
    await scene.inForce(
      bed,
      node,
      ({ policies, nodes }) => policies.length === 1 && nodes.every(({ announced }) => announced),
    );
  }
  const before = await logLines(bed, "default/backend");
  await using wire = await bed.capture("node-2", { filter: "tcp" });
  const curl = ["curl", "-v", "http://backend:80"];
  const ran = await scene.run(told, bed, "default/frontend", curl, { show: CURL_LINES });
  told.check(
    "frontend on node-1 gets the page of node-2",
    ran.code === 0 && frontend.node !== backend.node && ran.stdout.includes(backend.name),
    /Server name: .*/.exec(ran.stdout)?.[0] ?? `curl ends with status ${ran.code}`,
  );
  const lines = (await logLines(bed, "default/backend")).slice(before.length);
  checkNamed(told, lines, frontend.addresses, "the application's log: frontend");
  const segments = await segmentsOf(wire);
  const records = await tlsRecords(wire.file);
  const words = await clearWords(wire);
  told.check(
    "capture between the nodes: only TLS",
    segments.length > 0 && records > 0 && words.length === 0,
    words.length > 0
      ? words.join(", ")
      : `${count(segments.length, "segment")}, ${count(records, "TLS record")}, no HTTP`,
  );
}

interface Attempt {
  readonly name: string;
  /** ServiceAccount that the certificate claims */
  readonly claims: string;
  readonly place: string;
  readonly reasons: readonly string[];
}

const ATTEMPTS: readonly Attempt[] = [
  {
    name: "as billing, from outside",
    claims: "billing",
    place: "outside",
    reasons: ["wrong-node"],
  },
  {
    name: "as billing, from the thief's pod",
    claims: "billing",
    place: "default/thief",
    reasons: ["wrong-identity"],
  },
  {
    name: "as billing, from node-1 itself",
    claims: "billing",
    place: "node-1",
    reasons: ["wrong-identity", "wrong-node"],
  },
  {
    name: STOLEN_FROM_VICTIM,
    claims: "billing",
    place: "default/billing",
    reasons: ["wrong-node"],
  },
];

async function steal(scene: Scene, told: Told): Promise<void> {
  const bed = scene.two;
  const issue = ["cert", "issue", "--pod", "default/billing", "--out", "billing-cert"];
  const own = await scene.weft(told, bed, "node-2", issue, { show: /SPIFFE ID|^weft:/ });
  if (own.code !== 0) throw new Error(`"weft cert issue" ended with status ${own.code}`);
  const good = await curl(scene, told, "default/billing", "billing-cert");
  told.check("billing with its own: comes in", good.code === 0, pageOf(good));

  told.screen.note("the thief has node-1/state/issuer.key and signs with openssl:");
  for (const account of ["thief", "billing"]) {
    // deno-lint-ignore no-await-in-loop -- in order, as they are told
    await forge(scene, told, account);
  }
  const mine = await curl(scene, told, "default/thief", "forged-thief");
  told.check("as the thief's own pod: comes in", mine.code === 0, pageOf(mine));

  const before = await logLines(bed, "default/backend");
  await using inside = await Inside.start(bed, "default/backend", 80);
  for (const attempt of ATTEMPTS) {
    // deno-lint-ignore no-await-in-loop -- one after the other, as they are told
    await tryStolen(scene, told, attempt);
  }
  const more = (await logLines(bed, "default/backend")).slice(before.length);
  told.check("the application's log: nothing more", more.length === 0, more[0] ?? "no line");
  await checkNothingInside(told, inside);
}

async function tryStolen(scene: Scene, told: Told, attempt: Attempt): Promise<void> {
  const since = Date.now();
  const ran = await curl(scene, told, attempt.place, `forged-${attempt.claims}`);
  const { event, seen } = await findEvent(
    scene.two,
    "node-2",
    since,
    ({ verdict, hook, reason }) =>
      verdict === "refuse" && hook === "relay" && attempt.reasons.includes(reason),
  );
  told.check(
    attempt.name,
    ran.code !== 0 && event !== undefined,
    ran.code === 0 ? "it was let in" : event?.reason ?? eventsText(event, seen),
  );
}

/** Signs a certificate for a ServiceAccount with the stolen issuer of node-1. */
async function forge(scene: Scene, told: Told, account: string): Promise<void> {
  const id = `${HOME}/${account}`;
  const folder = `forged-${account}`;
  const state = "two/node-1/state";
  told.screen.command("thief$", `openssl x509 -req -CA issuer.crt -CAkey issuer.key …`);
  told.screen.output(`subjectAltName=URI:${id}`);
  const extensions = [
    "basicConstraints=critical,CA:FALSE",
    "keyUsage=critical,digitalSignature",
    "extendedKeyUsage=serverAuth,clientAuth",
    "authorityKeyIdentifier=keyid",
    `subjectAltName=critical,URI:${id}`,
  ];
  const script = `set -e
    mkdir ${folder}
    openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /O=weft \
      -keyout ${folder}/tls.key -out ${folder}/request
    printf '${extensions.join("\\n")}\\n' >${folder}/extensions
    openssl x509 -req -in ${folder}/request -days 1 -CA ${state}/issuer.crt \
      -CAkey ${state}/issuer.key -CAcreateserial -CAserial ${folder}/serial \
      -extfile ${folder}/extensions -out ${folder}/leaf.crt
    cat ${folder}/leaf.crt ${state}/issuer.crt >${folder}/tls.crt`;
  const { code, stderr } = await scene.two.exec("node-1", ["sh", "-c", script]);
  if (code !== 0) throw new Error(`openssl ended with status ${code}: ${stderr.trim()}`);
}

async function curl(scene: Scene, told: Told, place: string, folder: string): Promise<Ran> {
  const { addresses: [address = ""] } = await scene.two.pod("default/backend");
  // Only pods have the cluster's DNS; the name is wanted for the server's certificate.
  const where = place.includes("/") ? [] : ["--connect-to", `backend:80:${address}:80`];
  const own = ["--cert", `${folder}/tls.crt`, "--key", `${folder}/tls.key`];
  const roots = ["--cacert", "billing-cert/ca.crt"];
  const shown = ["curl", ...own.slice(0, 2), ...where, "https://backend:80"];
  return await scene.run(told, scene.two, place, [
    ...["curl", "-sS", ...own, ...roots, ...where, "https://backend:80"],
  ], { as: shown.join(" "), show: /^(Server name|curl:)/ });
}

function pageOf(ran: Ran): string {
  return /Server name: .*/.exec(ran.stdout)?.[0] ?? linesOf(ran.stderr)[0] ?? `status ${ran.code}`;
}

/** TLS records that tshark finds when it is told that port 80 carries TLS. */
async function tlsRecords(file: string): Promise<number> {
  const { stdout } = await new Deno.Command("tshark", {
    args: ["-n", "-r", file, "-d", "tcp.port==80,tls", "-Y", "tls.record", "-T", "fields", "-e"]
      .concat("tls.record.content_type"),
    stderr: "null",
  }).output();
  return linesOf(new TextDecoder().decode(stdout)).length;
}
