/**
 * Steps 1 to 3: the seed's pods, the curl that works, the policy that refuses it.
 *
 * @module
 */
import { eventText, findEvent } from "../events.ts";
import { checkNamed, checkRefused, checkSilent, logLines } from "../look.ts";
import { Recording } from "../recording.ts";
import type { Step } from "../step.ts";
import { clearWords, segmentsOf } from "../wire.ts";
import { count, duration, linesOf } from "../words.ts";

const CURL = ["curl", "-v", "http://backend:80"];
/** What of `curl -v` a reader wants to see. */
export const CURL_LINES =
  /^\* +(Connected|connect to .* failed|Immediate connect fail)|^(curl:|< HTTP|Server )/;

/** 1. */
export const PODS: Step = {
  number: 1,
  title: "Two pods come up from the seed's own YAML",
  needs: [],
  async play(scene, told) {
    const start = performance.now();
    told.screen.command("$", "ls seed");
    told.screen.output("backend.yaml  frontend.yaml");
    await scene.provide("pods", told);
    const elapsedMs = performance.now() - start;
    const { pods } = await scene.one.describe();
    for (const { namespace, name, addresses } of pods) {
      told.screen.output(`${namespace}/${name}`.padEnd(26) + addresses.join("  "));
    }
    const kinds = pods.map(({ name }) => name.replace(/-\w+$/, "")).sort();
    told.check(
      "a frontend and a backend",
      kinds.join() === "backend,frontend",
      `${count(pods.length, "pod")} ready in ${duration(elapsedMs)}`,
    );
    const dual = pods.every(({ addresses }) =>
      addresses.some((each) => each.includes(".")) && addresses.some((each) => each.includes(":"))
    );
    told.check("IPv4 and IPv6 for each", dual, pods[0]?.addresses.join(" ") ?? "no pod");
    const { code, stdout } = await scene.weft(told, scene.one, "node-1", ["status"], {
      show: /^weft /,
    });
    told.check("a healthy agent", code === 0, linesOf(stdout)[0] ?? `status ${code}`);
  },
};

/** 2. */
export const CURL_WORKS: Step = {
  number: 2,
  title: "Without a policy, frontend reaches backend through its Service",
  needs: ["pods"],
  async play(scene, told) {
    const bed = scene.one;
    const backend = await bed.pod("default/backend");
    const frontend = await bed.pod("default/frontend");
    const before = await logLines(bed, "default/backend");
    await using wire = await bed.capture("node-1", { interface: backend.veth, filter: "tcp" });
    const ran = await scene.run(told, bed, "default/frontend", CURL, { show: CURL_LINES });
    told.check(
      "the backend's page",
      ran.code === 0 && ran.stdout.includes(`Server name: ${backend.name}`),
      /Server name: .*/.exec(ran.stdout)?.[0] ?? `curl ends with status ${ran.code}`,
    );
    const dialled = /Connected to backend \(([^)]*)\)/.exec(ran.stderr)?.[1] ?? "nothing";
    told.check(
      "curl dials the Service's address",
      dialled.startsWith("10.96.") || dialled.startsWith("fd00:10:96:"),
      dialled,
    );
    const lines = (await logLines(bed, "default/backend")).slice(before.length);
    checkNamed(told, lines, frontend.addresses, "the application's log: frontend");
    const words = await clearWords(wire);
    told.check("the wire shows HTTP in clear", words.length > 0, words.join(", "));
  },
};

/** 3. */
export const POLICY: Step = {
  number: 3,
  title: "The seed's STRICT policy: refused at once, by the kernel",
  needs: ["pods"],
  async play(scene, told) {
    const bed = scene.one;
    const backend = await bed.pod("default/backend");
    const frontend = await bed.pod("default/frontend");
    const [address = ""] = backend.addresses;
    await using recording = await Recording.start(bed, "default/backend", { port: 7000 });
    told.screen.note("a connection to a second server in backend's pod is open all the while:");
    const script = `exec 3<>/dev/tcp/${address}/7000; while read -r line; ` +
      `do echo "$line" >&3 || exit 1; done`;
    const old = await bed.spawn("default/frontend", ["bash", "-c", script], {
      stdin: "piped",
      stdout: "null",
      stderr: "null",
    });
    const typed = old.stdin.getWriter();
    const type = (line: string) => typed.write(new TextEncoder().encode(`${line}\n`));
    told.screen.command("frontend$", `nc ${address} 7000   # types "before"`);
    await type("before");
    await recording.received("before");

    await scene.provide("policy", told);
    const before = await logLines(bed, "default/backend");
    const since = Date.now();
    await using wire = await bed.capture("default/frontend", { filter: "tcp" });
    const ran = await scene.run(told, bed, "default/frontend", CURL, { show: CURL_LINES });
    const explain = ["--from", "default/frontend", "--to", "default/backend", "--port", "80"];
    const why = await scene.weft(told, bed, "node-1", ["policy", "explain", ...explain]);

    checkRefused(told, ran);
    const sent = (await segmentsOf(wire)).filter(({ source }) =>
      frontend.addresses.includes(source)
    );
    told.check(
      "capture: no packet leaves frontend",
      sent.length === 0,
      count(sent.length, "packet"),
    );
    await checkSilent(told, bed, "default/backend", before);
    const { event, seen } = await findEvent(
      bed,
      "node-1",
      since,
      ({ reason, hook }) => reason === "mtls-required" && hook === "connect",
    );
    told.check("event: mtls-required, in connect()", event !== undefined, eventsText(event, seen));
    const named = ["backend-mtls", ".yaml:", "spec.mtls.mode", "mesh.cilium.io/enrolled"];
    const missing = named.filter((word) => !why.stdout.includes(word));
    told.check(
      "explain: policy, file, line, field, remedy",
      why.code === 1 && missing.length === 0,
      missing.length === 0 ? "all of them, on one screen" : `without ${missing.join(", ")}`,
    );

    await type("after").catch(() => undefined);
    await type("after").catch(() => undefined);
    await typed.close().catch(() => undefined);
    await old.status;
    const { text } = await recording.read();
    told.check(
      "the connection from before is cut",
      text.includes("before") && !text.includes("after"),
      `the second server got "${text.trim().replaceAll("\n", '", "')}"`,
    );
  },
};

/** What was seen, when what was looked for may not have been. */
export function eventsText(
  event: Parameters<typeof eventText>[0] | undefined,
  seen: readonly Parameters<typeof eventText>[0][],
): string {
  if (event !== undefined) return eventText(event);
  const others = [...new Set(seen.map(eventText))].slice(0, 4);
  return others.length === 0 ? "no event at all" : `only ${others.join("; ")}`;
}
