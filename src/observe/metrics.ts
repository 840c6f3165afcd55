/**
 * Prometheus metrics. In comes the agent's view, out goes text in the exposition format. Invariant:
 * every reason is there from the first scrape, at zero (an alert on a series that does not exist
 * yet never fires), and no label takes values from the traffic, so the number of series is bounded
 * by the node's own pods. Values are read when somebody scrapes; nothing is kept twice.
 *
 * @module
 */
import { Counter, Gauge, Registry } from "prom-client";
import type { Counter as RelayCounter } from "../relay/mod.ts";
import { REFUSAL_REASONS } from "../reasons.ts";
import { VERSION } from "../version.ts";
import { type CounterName, counterOf } from "./counters.ts";
import type { Observer } from "./observer.ts";
import type { AgentView, DatapathView, RelayWorkerView } from "./view.ts";

/** The whole page, for one scrape. */
export function metricsText(view: AgentView, observer: Observer): Promise<string> {
  const registry = new Registry();
  const page = new Page(registry);
  const datapath = view.datapath();
  agentMetrics(page, view, datapath.revision);
  refusalMetrics(page, observer);
  datapathMetrics(page, datapath);
  relayMetrics(page, view);
  identityMetrics(page, view);
  return registry.metrics();
}

/** Content type of the page. */
export const METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8";

type Labels = Readonly<Record<string, string | number>>;

/** Metrics are made anew for each scrape: from numbers that are kept elsewhere. */
class Page {
  readonly #registers: Registry[];

  constructor(registry: Registry) {
    this.#registers = [registry];
  }

  counter(name: string, help: string, rows: readonly (readonly [Labels, number])[]): void {
    const counter = new Counter({ ...this.#shape(name, help, rows) });
    for (const [labels, value] of rows) counter.inc(labels, Math.max(value, 0));
  }

  gauge(name: string, help: string, rows: readonly (readonly [Labels, number])[]): void {
    const gauge = new Gauge({ ...this.#shape(name, help, rows) });
    for (const [labels, value] of rows) gauge.set(labels, value);
  }

  #shape(name: string, help: string, rows: readonly (readonly [Labels, number])[]): Shape {
    const labelNames = Object.keys(rows[0]?.[0] ?? {});
    return { name, help, labelNames, registers: this.#registers };
  }
}

interface Shape {
  name: string;
  help: string;
  labelNames: string[];
  registers: Registry[];
}

function agentMetrics(page: Page, view: AgentView, revision: number): void {
  const state = view.state();
  page.gauge("weft_build_info", "Version of the agent", [[{ version: VERSION }, 1]]);
  page.gauge("weft_start_time_seconds", "When the agent started", [[{}, view.startedMs / 1000]]);
  page.gauge("weft_ready", "1 when everything is in place", [[
    {},
    view.unready().length === 0 ? 1 : 0,
  ]]);
  page.gauge("weft_source_ready", "1 when the source has been read and can be read", [[
    {},
    state.source.ready && state.source.failure === undefined ? 1 : 0,
  ]]);
  page.gauge("weft_source_rejected_documents", "Documents that were not accepted", [[
    {},
    state.rejections.length,
  ]]);
  page.gauge("weft_plan_revision", "Revision of the plan in force", [[
    {},
    revision,
  ]]);
  page.gauge("weft_local_pods", "Pods of this node by mode of their ports", localPodsByMode(view));
}

function localPodsByMode(view: AgentView): [Labels, number][] {
  const counts = new Map([["STRICT", 0], ["PERMISSIVE", 0], ["DISABLE", 0]]);
  for (const workload of view.state().workloads.values()) {
    if (!workload.local || workload.hostNetwork || !workload.live) continue;
    counts.set(workload.mode.mode, (counts.get(workload.mode.mode) ?? 0) + 1);
  }
  return [...counts].map(([mode, count]) => [{ mode }, count]);
}

function refusalMetrics(page: Page, observer: Observer): void {
  page.counter(
    "weft_refused_total",
    "What was refused or dropped, by reason and by who did it; the kernel counts packets",
    observer.refusals().flatMap(({ reason, kernel, relay }): [Labels, number][] => [
      [{ reason, by: "kernel" }, kernel],
      [{ reason, by: "relay" }, relay],
    ]),
  );
  const lost = observer.lost();
  page.counter("weft_events_lost_total", "Events that nobody could see", [
    [{ by: "kernel" }, lost.kernel],
    [{ by: "relay" }, lost.relay],
  ]);
  page.counter(
    "weft_kernel_events_lost_total",
    "Events of the kernel that nobody could see, by the reason of the refusal",
    REFUSAL_REASONS.map((reason) => [{ reason }, lost.kernelByReason[reason] ?? 0]),
  );
}

/** `verdict` label of weft_connections_total. */
const CONNECTIONS: readonly (readonly [string, CounterName])[] = [
  ["direct", "DIRECT"],
  ["steered-in", "STEERED_IN"],
  ["steered-out", "STEERED_OUT"],
  ["node", "NODE"],
  ["outbound", "OUTBOUND"],
  ["fallback", "FALLBACK"],
];

function datapathMetrics(page: Page, { counters, maps, failures }: DatapathView): void {
  page.counter(
    "weft_connections_total",
    "Connections that the kernel admitted, by what it did with them",
    CONNECTIONS.map(([verdict, name]) => [{ verdict }, counterOf(counters, name)]),
  );
  page.counter("weft_translated_total", "Service addresses that were translated", [[
    {},
    counterOf(counters, "TRANSLATED"),
  ]]);
  page.counter("weft_plaintext_from_mesh_total", "Plaintext connections from pods of the mesh", [[
    {},
    counterOf(counters, "PLAINTEXT_FROM_MESH"),
  ]]);
  page.gauge("weft_pods_not_attached", "Pods without their programs", [[{}, failures.length]]);
  page.gauge(
    "weft_map_entries_max",
    "Rows that a table of the kernel can hold",
    maps.map((map) => [{ map: map.name }, map.entriesMax]),
  );
  page.gauge(
    "weft_map_entries",
    "Rows in a table of the kernel",
    maps.flatMap((map) => map.entries === undefined ? [] : [[{ map: map.name }, map.entries]]),
  );
}

/** Counters of the relay that can fall. */
const RELAY_GAUGES: ReadonlySet<string> = new Set([
  "tunnels_open",
  "tunnels_idle",
  "connections_open",
]);

function relayMetrics(page: Page, view: AgentView): void {
  const { workers } = view.relay();
  page.gauge(
    "weft_relay_worker_running",
    "1 when the worker serves",
    workers.map((worker) => [{ worker: worker.index }, worker.running ? 1 : 0]),
  );
  for (const name of Object.keys(workers[0]?.counters ?? {}) as RelayCounter[]) {
    const help = `Relay: ${name.replaceAll("_", " ")}`;
    const rows = workers.map((worker: RelayWorkerView): [Labels, number] => [
      { worker: worker.index },
      worker.counters[name],
    ]);
    if (RELAY_GAUGES.has(name)) page.gauge(`weft_relay_${name}`, help, rows);
    else page.counter(`weft_relay_${name}_total`, help, rows);
  }
}

function identityMetrics(page: Page, view: AgentView): void {
  const { issuer, roots, svids } = view.identity();
  const rows: [Labels, number][] = [];
  if (issuer) rows.push([{ kind: "issuer", name: issuer.subject }, issuer.notAfterMs / 1000]);
  for (const root of roots) {
    rows.push([{ kind: "root", name: root.fingerprint.slice(0, 16) }, root.notAfterMs / 1000]);
  }
  for (const svid of svids) rows.push([{ kind: "svid", name: svid.pod }, svid.notAfterMs / 1000]);
  page.gauge(
    "weft_certificate_expiry_seconds",
    "When a certificate ends, in seconds of 1970",
    rows,
  );
}
