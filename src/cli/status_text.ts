/**
 * The status report as text: problems, source, policies, pods, nodes, relay, refusals. Pure.
 *
 * @module
 */
import type { PodReport, PolicyReport, StatusReport } from "../observe/mod.ts";
import { describeReason } from "../reasons.ts";
import { count, expiry, span, table } from "./text.ts";

/** Pods and policies shown before "and N more". */
const ROWS_MAX = 40;

/** One screen. */
export function statusText(report: StatusReport): string {
  return [
    headline(report),
    sourceLines(report),
    section("Policies", policyRows(report.policies), "none: traffic is as the pods make it"),
    warningLines(report),
    section("Pods of this node", podRows(report), "none"),
    section("Nodes", nodeRows(report), "none in the source"),
    identityLine(report),
    relayLine(report),
    refusalLines(report),
  ].filter((part) => part !== "").join("\n");
}

function headline(report: StatusReport): string {
  const state = report.healthy ? "healthy" : report.ready ? "DEGRADED" : "NOT READY";
  const up = span(report.nowMs - report.startedMs);
  const first = `weft ${report.version} on node ${report.node}: ${state}, up ${up}, plan revision` +
    ` ${report.datapath.revision}\n`;
  return first + report.problems.map((problem) => `  ! ${problem}\n`).join("");
}

function sourceLines({ source }: StatusReport): string {
  const objects = Object.entries(source.objects).map(([kind, size]) => `${size} ${kind}`).join(
    ", ",
  );
  const state = source.failure !== undefined
    ? "CANNOT BE READ"
    : source.ready
    ? objects || "no objects"
    : "being read";
  const rejected = source.rejections.map((rejection) => {
    const place = `${rejection.file}${rejection.line === undefined ? "" : `:${rejection.line}`}`;
    const field = rejection.path === undefined ? "" : ` ${rejection.path}:`;
    const kept = rejection.kept ? " (the last good version stays in force)" : "";
    return `  rejected ${place}:${field} ${rejection.reason}${kept}\n`;
  });
  return `Source ${source.directory}: ${state}\n${rejected.join("")}`;
}

function policyRows(policies: readonly PolicyReport[]): string[][] {
  return policies.map((policy) => [
    policy.name,
    [policy.mode, ...policy.portOverrides.map(({ port, mode }) => `${port}:${mode}`)].join(" "),
    policy.target,
    count(policy.pods.length, "pod"),
    policy.file === undefined ? "" : `${policy.file}${policy.line ? `:${policy.line}` : ""}`,
  ]);
}

function warningLines({ warnings }: StatusReport): string {
  if (warnings.length === 0) return "";
  return warnings.map(({ subject, sentence }) => `  ! ${subject}: ${sentence}\n`).join("");
}

function podRows({ pods, nowMs }: StatusReport): string[][] {
  return pods.map((pod) => [
    pod.name,
    pod.addresses.join(" ") || "no address",
    modeText(pod),
    enrolmentText(pod),
    certificateText(pod, nowMs),
  ]);
}

function modeText(pod: PodReport): string {
  const mode = pod.mode === "DISABLE" ? "plaintext" : pod.mode;
  const ports = pod.ports.filter((port) => port.mode !== pod.mode)
    .map(({ port, mode }) => `${port}:${mode === "DISABLE" ? "plaintext" : mode}`);
  return [mode, ...ports].join(" ");
}

function enrolmentText(pod: PodReport): string {
  if (pod.ownCertificate) return "own certificate";
  return pod.enrolled ? "in the mesh" : "not in the mesh";
}

function certificateText(pod: PodReport, nowMs: number): string {
  if (pod.failure !== undefined) return "NOT GUARDED: see above";
  if (pod.spiffeId === undefined) return "";
  const { certificate } = pod;
  return `${pod.spiffeId} ${
    certificate ? expiry(certificate.notAfterMs, nowMs) : "has no certificate yet"
  }`;
}

function nodeRows({ nodes }: StatusReport): string[][] {
  return nodes.map((node) => [
    node.local ? `${node.name} (this one)` : node.name,
    node.announced ? "announced" : "not announced",
    count(node.pods, "pod"),
    [...node.addresses, ...node.podCidrs].join(" "),
  ]);
}

function identityLine({ identity, nowMs }: StatusReport): string {
  if (identity.issuer === undefined) return "Identity: this node cannot issue certificates\n";
  const { subject, notAfterMs } = identity.issuer;
  return `Identity: issuer ${subject} ${expiry(notAfterMs, nowMs)}, ` +
    `${count(identity.roots.length, "root")} trusted\n`;
}

function relayLine({ relay, datapath }: StatusReport): string {
  const running = relay.filter((worker) => worker.running).length;
  const sum = (name: "connections_open" | "handshakes" | "handshakes_failed"): number =>
    relay.reduce((total, worker) => total + worker.counters[name], 0);
  return `Relay: ${running} of ${count(relay.length, "worker")} running, ` +
    `${sum("connections_open")} connections open, ${sum("handshakes")} handshakes ` +
    `(${sum("handshakes_failed")} failed); kernel: ${datapath.direct} direct, ` +
    `${datapath.steeredIn} in and ${datapath.steeredOut} out through the relay\n`;
}

function refusalLines({ refusals, eventsLost }: StatusReport): string {
  const rows = refusals.map(({ reason, lastMinute, total }) => [
    reason,
    `${lastMinute} in the last minute`,
    `${total} in all`,
    describeReason(reason).happened,
  ]);
  const lost = eventsLost.kernel + eventsLost.relay;
  const events = lost === 0 ? "" : `  ${count(lost, "event")} lost; the counts above are whole\n`;
  return section("Refused", rows, "nothing") + events;
}

function section(title: string, rows: readonly string[][], empty: string): string {
  if (rows.length === 0) return `${title}: ${empty}\n`;
  const more = rows.length - ROWS_MAX;
  const rest = more > 0 ? `  and ${more} more: see \`weft status -o json\`\n` : "";
  return `${title}\n${table(rows.slice(0, ROWS_MAX), "  ")}${rest}`;
}
