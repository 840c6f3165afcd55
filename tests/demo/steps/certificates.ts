/**
 * Step 6: programs that bring a certificate of their own. Two that may come in, and five that may
 * not: each is told so by an alert of its own and leaves a reason of its own.
 *
 * Invariant: the certificates that are refused are sound in all but the one thing that is tried;
 * all of them were made by weft's own commands.
 *
 * @module
 */
import { findEvent } from "../events.ts";
import { Inside } from "../inside.ts";
import { checkNothingInside, logLines } from "../look.ts";
import type { Ran, Scene } from "../scene.ts";
import type { Step, Told } from "../step.ts";
import { linesOf } from "../words.ts";
import { eventsText } from "./plain.ts";

/** TLS's names of its alerts, as OpenSSL spells them in what curl prints. */
const ALERTS: Readonly<Record<string, number>> = {
  "bad certificate": 42,
  "unsupported certificate": 43,
  "certificate revoked": 44,
  "certificate expired": 45,
  "certificate unknown": 46,
  "unknown ca": 48,
  "access denied": 49,
  "certificate required": 116,
};

interface Refusal {
  readonly name: string;
  /** folder of the certificate; none at all without one */
  readonly folder?: string;
  readonly reason: string;
}

const REFUSALS: readonly Refusal[] = [
  { name: "of another CA", folder: "other-ca-cert", reason: "certificate-untrusted" },
  { name: "of another trust domain", folder: "other-domain-cert", reason: "wrong-trust-domain" },
  { name: "none at all", reason: "no-certificate" },
  { name: "a pod's, used from outside", folder: "client-cert", reason: "wrong-node" },
  { name: "expired", folder: "short-cert", reason: "certificate-expired" },
];

/** 6. */
export const CERTIFICATES: Step = {
  number: 6,
  title: "Programs with certificates of their own: two come in, five do not",
  needs: ["policy"],
  async play(scene, told) {
    const bed = scene.one;
    await scene.apply("one", "client.yaml", told);
    const client = await bed.pod("default/client");
    const backend = await bed.pod("default/backend");
    await scene.inForce(
      bed,
      "node-1",
      ({ pods }) =>
        pods.some(({ name, ownCertificate }) => name === "default/client" && ownCertificate),
    );
    await issue(scene, told, ["--pod", "default/client", "--out", "client-cert"]);
    await issue(scene, told, ["--external", "laptop", "--ca-dir", CA, "--out", "laptop-cert"]);
    await makeBad(scene, told);

    const before = await logLines(bed, "default/backend");
    const inPod = await curl(scene, told, "default/client", "client-cert");
    checkPage(told, "the pod with its own comes in", inPod, backend.name);
    const laptop = await curl(scene, told, "outside", "laptop-cert");
    checkPage(told, "the laptop with its own comes in", laptop, backend.name);
    const after = await logLines(bed, "default/backend");
    const clients = after.slice(before.length).map((line) => line.split(" ")[0] ?? "");
    const { outside } = await bed.describe();
    told.check(
      "the log names both clients",
      clients.length === 2 && client.addresses.includes(clients[0] ?? "") &&
        outside.addresses.includes(clients[1] ?? ""),
      clients.join(", ") || "no line",
    );

    await using inside = await Inside.start(bed, "default/backend", 80);
    const alerts: number[] = [];
    for (const refusal of REFUSALS) {
      // deno-lint-ignore no-await-in-loop -- one after the other, as they are told
      alerts.push(await tryRefused(scene, told, refusal));
    }
    const distinct = new Set(alerts).size;
    told.check("five different alerts", distinct === REFUSALS.length, alerts.join(", "));
    const more = (await logLines(bed, "default/backend")).slice(after.length);
    told.check("the application's log: nothing more", more.length === 0, more[0] ?? "no line");
    await checkNothingInside(told, inside);
  },
};

/** The root of a single node, which its agent made, as seen from the working folder. */
const CA = "one/node-1/state/ca";

async function issue(scene: Scene, told: Told, args: readonly string[]): Promise<void> {
  const ran = await scene.weft(told, scene.one, "node-1", ["cert", "issue", ...args], {
    show: /SPIFFE ID|scope|^weft:/,
  });
  if (ran.code !== 0) throw new Error(`"weft cert issue" ended with status ${ran.code}`);
}

/** Certificates with one fault each. */
async function makeBad(scene: Scene, told: Told): Promise<void> {
  told.screen.note("and certificates with one fault each:");
  const quiet = { show: "nothing" } as const;
  const weft = async (args: readonly string[]) => {
    const ran = await scene.weft(told, scene.one, "node-1", args, quiet);
    if (ran.code !== 0) throw new Error(`"weft ${args.join(" ")}": ${ran.stderr.trim()}`);
  };
  const external = ["cert", "issue", "--external", "laptop"];
  await weft([...external, "--ca-dir", CA, "--lifetime", "10s", "--out", "short-cert"]);
  await weft(["ca", "init", "--ca-dir", "other-ca"]);
  await weft([...external, "--ca-dir", "other-ca", "--out", "other-ca-cert"]);
  await weft(["ca", "init", "--ca-dir", "other-domain", "--trust-domain", "example.org"]);
  await weft([...external, "--ca-dir", "other-domain", "--out", "other-domain-cert"]);
}

/** curl with a certificate; the roots are always the mesh's, so that the server is verified. */
async function curl(
  scene: Scene,
  told: Told,
  place: string,
  folder: string | undefined,
): Promise<Ran> {
  const { addresses: [address = ""] } = await scene.one.pod("default/backend");
  const own = folder === undefined
    ? []
    : ["--cert", `${folder}/tls.crt`, "--key", `${folder}/tls.key`];
  // Outside there is no cluster DNS; the name is wanted for the server's certificate.
  const where = place === "outside" ? ["--connect-to", `backend:80:${address}:80`] : [];
  const roots = ["--cacert", `${place === "outside" ? "laptop" : "client"}-cert/ca.crt`];
  const options = ["-sS"];
  return await scene.run(told, scene.one, place, [
    ...["curl", ...options, ...own, ...roots, ...where, "https://backend:80"],
  ], { as: ["curl", ...own, ...roots, ...where, "https://backend:80"].join(" "), show: SHOWN });
}

const SHOWN = /^(Server name|curl:)/;

function checkPage(told: Told, expected: string, ran: Ran, server: string): void {
  const page = /Server name: .*/.exec(ran.stdout)?.[0];
  const happened = page ?? linesOf(ran.stderr)[0] ?? `status ${ran.code}`;
  told.check(expected, ran.code === 0 && page === `Server name: ${server}`, happened);
}

/** Tries one, and returns the number of its alert, or 0. */
async function tryRefused(scene: Scene, told: Told, refusal: Refusal): Promise<number> {
  const bed = scene.one;
  if (refusal.reason === "certificate-expired") await waitUntilExpired(scene, told);
  const since = Date.now();
  const ran = await curl(scene, told, "outside", refusal.folder);
  const name = /alert ([a-z ]+)/.exec(ran.stderr)?.[1]?.trim();
  const alert = ALERTS[name ?? ""] ?? 0;
  const { event, seen } = await findEvent(
    bed,
    "node-1",
    since,
    ({ verdict, hook, reason }) =>
      verdict === "refuse" && hook === "relay" && reason === refusal.reason,
  );
  const words = name === undefined
    ? ran.code === 0 ? "it was let in" : linesOf(ran.stderr)[0] ?? "no words"
    : `alert ${alert}, ${name}`;
  told.check(
    refusal.name,
    ran.code !== 0 && alert > 0 && event !== undefined,
    `${words}; ${event?.reason ?? eventsText(event, seen)}`,
  );
  return alert;
}

/** Waits for the instant that stands in the certificate. */
async function waitUntilExpired(scene: Scene, told: Told): Promise<void> {
  const show = ["x509", "-noout", "-enddate", "-in", "short-cert/tls.crt"];
  const { stdout } = await scene.run(told, scene.one, "outside", ["openssl", ...show]);
  const remainingMs = Date.parse(stdout.replace("notAfter=", "")) - Date.now();
  if (!Number.isFinite(remainingMs)) throw new Error(`Cannot read the date "${stdout.trim()}"`);
  // Its seconds are whole: the one named there is still a valid one.
  if (remainingMs > -1000) await new Promise((go) => setTimeout(go, remainingMs + 1000));
}
