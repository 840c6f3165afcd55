/**
 * Step 4: what a host outside of the mesh may try without a certificate.
 *
 * Three ways, to the page and to a server that writes down every byte: a whole request, the same
 * byte by byte, and bytes that start like a TLS record. The host is deaf to resets, so each sender
 * goes on sending after it was refused, and the capture in the pod can show that the guard lets no
 * more of it pass.
 *
 * @module
 */
import type { Capture } from "@/tests/testbed/capture.ts";
import type { Testbed } from "@/tests/testbed/mod.ts";
import { findEvent } from "../events.ts";
import { Inside } from "../inside.ts";
import { checkNothingInside, checkSilent, logLines, segmentsTo } from "../look.ts";
import { Recording } from "../recording.ts";
import type { Scene } from "../scene.ts";
import type { Step, Told } from "../step.ts";
import { payloadBytes, type Segment, segmentsOf } from "../wire.ts";
import { count } from "../words.ts";
import { eventsText } from "./plain.ts";

/** Between two writes of a sender: far more than a packet and a refusal take. */
const PAUSE = "0.05";
/** What was on its way when the refusal was written. */
const IN_FLIGHT_MS = 25;
const RECORDER_PORT = 7000;

interface Way {
  readonly name: string;
  readonly reason: string;
  /** shell: writes to descriptor 3 */
  readonly send: string;
  readonly shown: string;
}

const WAYS: readonly Way[] = [
  {
    name: "a plain request",
    reason: "not-tls",
    send: `for i in 1 2 3 4; do printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3; sleep ${PAUSE}; done`,
    shown: "printf 'GET / HTTP/1.0\\r\\n\\r\\n'; …",
  },
  {
    name: "byte by byte",
    reason: "not-tls",
    send: `t='GET / HTTP/1.0'; for ((i = 0; i < \${#t}; i++)); ` +
      `do printf %s "\${t:i:1}" >&3; sleep ${PAUSE}; done`,
    shown: "printf G; printf E; printf T; …",
  },
  {
    name: "like a TLS record",
    reason: "not-tls",
    send: `printf '\\x16\\x03\\x01\\x00\\x10GET / HTTP/1.0\\r\\n' >&3; sleep ${PAUSE}; ` +
      `for i in 1 2 3; do printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3; sleep ${PAUSE}; done`,
    shown: "printf '\\x16\\x03\\x01\\x00\\x10GET / HTTP/1.0\\r\\n'; …",
  },
];

/** 4. */
export const OUTSIDE: Step = {
  number: 4,
  title: "A host outside the mesh sends plaintext: nothing reaches the application",
  needs: ["policy"],
  async play(scene, told) {
    const bed = scene.one;
    const backend = await bed.pod("default/backend");
    const before = await logLines(bed, "default/backend");
    await using recording = await Recording.start(bed, "default/backend", { port: RECORDER_PORT });
    await using inside = await Inside.start(bed, "default/backend", 80);
    await using _deaf = await ignoreResets(bed);
    for (const way of WAYS) {
      // deno-lint-ignore no-await-in-loop -- one after the other, as they are told
      await tryWay(scene, told, way, { address: backend.addresses[0] ?? "", port: 80 });
    }
    const [plain] = WAYS;
    if (plain !== undefined) {
      const [, v6 = ""] = backend.addresses;
      await tryWay(scene, told, { ...plain, name: "by IPv6" }, { address: v6, port: 80 });
      const target = { address: backend.addresses[0] ?? "", port: RECORDER_PORT };
      await tryWay(scene, told, { ...plain, name: "to the second server" }, target);
    }
    await checkSilent(told, bed, "default/backend", before);
    await checkNothingInside(told, inside);
    const { clients, text } = await recording.read();
    told.check(
      "the second server's record: nothing",
      clients.length === 0 && text === "",
      `${count(clients.length, "connection")}, ${count(text.length, "byte")}`,
    );
  },
};

/** Keeps resets from the outside host's TCP, until disposed of. */
async function ignoreResets(bed: Testbed): Promise<AsyncDisposable> {
  const nft = async (rules: string) => {
    const { code, stderr } = await bed.exec("outside", ["nft", rules]);
    if (code !== 0) throw new Error(`Cannot filter resets of the outside host: ${stderr.trim()}`);
  };
  await nft(
    "table inet deaf { chain input { type filter hook input priority 0; " +
      "tcp flags & rst == rst drop; }; }",
  );
  return { [Symbol.asyncDispose]: () => nft("delete table inet deaf") };
}

async function tryWay(
  scene: Scene,
  told: Told,
  way: Way,
  { address, port }: { readonly address: string; readonly port: number },
): Promise<void> {
  const bed = scene.one;
  const filter = `tcp port ${port}`;
  await using sent = await bed.capture("outside", { filter });
  await using arrived = await bed.capture("default/backend", { filter });
  const since = Date.now();
  const script = `trap '' PIPE; exec 3<>/dev/tcp/${address}/${port} || exit 7; ${way.send}; ` +
    `timeout 0.5 cat <&3`;
  const host = address.includes(":") ? `[${address}]` : address;
  const ran = await scene.run(told, bed, "outside", ["bash", "-c", script], {
    as: `{ ${way.shown}; } >/dev/tcp/${host}/${port}`,
    show: "nothing",
    timeoutMs: 10_000,
  });
  const { event, seen } = await findEvent(
    bed,
    "node-1",
    since,
    ({ reason, target }) =>
      reason === way.reason && target.port === port && target.address === address,
  );
  told.check(`${way.name}: refused`, event !== undefined, eventsText(event, seen));
  checkStopped(told, await traffic(sent, address, port), await traffic(arrived, address, port));
  const answered = ran.stdout.includes("Server name");
  if (answered) told.check("no page", false, "the application has answered");
}

interface Traffic {
  readonly there: Segment[];
  readonly back: Segment[];
}

async function traffic(capture: Capture, address: string, port: number): Promise<Traffic> {
  const segments = await segmentsOf(capture);
  const back = segments.filter((each) => each.source === address && each.sourcePort === port);
  return { there: segmentsTo(segments, address, port), back };
}

/** After the relay has said no, the sender's bytes are on the wire and not in the pod. */
function checkStopped(told: Told, sent: Traffic, arrived: Traffic): void {
  const refusal = arrived.back.find(({ payloadBytes, flags }) =>
    payloadBytes > 0 || flags.fin || flags.rst
  );
  const later = arrived.there.filter(({ timeMs, payloadBytes }) =>
    refusal !== undefined && payloadBytes > 0 && timeMs > refusal.timeMs + IN_FLIGHT_MS
  );
  const onWire = payloadBytes(sent.there);
  const inPod = payloadBytes(arrived.there);
  told.check(
    "  capture: dropped after the refusal",
    refusal !== undefined && later.length === 0 && inPod < onWire,
    refusal === undefined
      ? "the pod never said no"
      : `${onWire} bytes sent, ${inPod} reached the relay, ${payloadBytes(later)} after its no`,
  );
}
