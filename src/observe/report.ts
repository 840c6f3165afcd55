/**
 * What the agent says of itself when asked. In come its view and the observer, out go plain values
 * for JSON, the same that `weft status -o json` prints. Invariant: `healthy` is false exactly when
 * `problems` names something, and every problem says what to do or where to look.
 *
 * @module
 */
import type { Config } from "../config.ts";
import type { MeshPolicyObject, Rejection, State, Warning } from "../model/mod.ts";
import { VERSION } from "../version.ts";
import { counterOf } from "./counters.ts";
import { descriptorProblem, type DescriptorReport, descriptorReport } from "./descriptors.ts";
import type { EventsLost, Observer, Refusals } from "./observer.ts";
import type {
  AgentView,
  CertificateView,
  DatapathView,
  IdentityView,
  RelayView,
  RelayWorkerView,
} from "./view.ts";

/** `GET /status` */
export interface StatusReport {
  readonly version: string;
  readonly node: string;
  readonly nowMs: number;
  readonly startedMs: number;
  readonly ready: boolean;
  /** what is still missing before the agent is ready */
  readonly waitingFor: readonly string[];
  readonly healthy: boolean;
  readonly problems: readonly string[];
  readonly source: SourceReport;
  readonly policies: readonly PolicyReport[];
  readonly warnings: readonly Warning[];
  /** of this node */
  readonly pods: readonly PodReport[];
  readonly nodes: readonly NodeReport[];
  readonly identity: Omit<IdentityView, "svids">;
  readonly relay: readonly RelayWorkerView[];
  readonly descriptors: DescriptorReport;
  readonly datapath: DatapathReport;
  /**
   * Only reasons that have happened. The kernel counts every packet that it drops: what follows a
   * refusal on the same connection is counted, too.
   */
  readonly refusals: readonly (Refusals & { readonly total: number })[];
  readonly eventsLost: EventsLost;
}

export interface SourceReport {
  readonly directory: string;
  readonly ready: boolean;
  readonly failure?: string;
  /** by kind; kinds without objects are left out */
  readonly objects: Readonly<Record<string, number>>;
  readonly rejections: readonly Rejection[];
}

export interface PolicyReport {
  /** "namespace/name" */
  readonly name: string;
  readonly namespace: string;
  readonly target: string;
  readonly mode: string;
  readonly sameNode?: string;
  readonly portOverrides: readonly { readonly port: number; readonly mode: string }[];
  readonly file?: string;
  readonly line?: number;
  /** live pods that it selects, on all nodes */
  readonly pods: readonly string[];
  readonly warnings: readonly string[];
}

export interface PodReport {
  readonly name: string;
  readonly addresses: readonly string[];
  readonly mode: string;
  readonly ports: readonly { readonly port: number; readonly mode: string }[];
  readonly sameNode: string;
  readonly enrolled: boolean;
  readonly enrolledBy: string;
  readonly ownCertificate: boolean;
  /** only of pods that need a certificate */
  readonly spiffeId?: string;
  readonly certificate?: CertificateView;
  /** why its programs are not in place */
  readonly failure?: string;
}

export interface NodeReport {
  readonly name: string;
  readonly local: boolean;
  readonly announced: boolean;
  readonly addresses: readonly string[];
  readonly podCidrs: readonly string[];
  readonly pods: number;
  readonly issuerFingerprint?: string;
}

export interface DatapathReport {
  readonly revision: number;
  readonly bpffs: string;
  readonly direct: number;
  readonly steeredIn: number;
  readonly steeredOut: number;
  readonly fromNode: number;
  readonly fallback: number;
  readonly plaintextFromMesh: number;
}

/** `GET /identities` */
export interface IdentityReport {
  readonly pod: string;
  readonly node: string;
  readonly addresses: readonly string[];
  readonly serviceAccount: string;
  readonly spiffeId: string;
  readonly enrolled: boolean;
  readonly enrolledBy: string;
  readonly dnsNames: readonly string[];
  /** of pods of this node that have one */
  readonly certificate?: CertificateView;
}

/** Everything on one screen. */
export function statusReport(view: AgentView, observer: Observer, nowMs: number): StatusReport {
  const seen = look(view, observer);
  const { state, waitingFor } = seen;
  const problems = problemsOf(seen);
  const { issuer, roots, failure } = seen.identity;
  return {
    version: VERSION,
    node: view.config.node,
    nowMs,
    startedMs: view.startedMs,
    ready: waitingFor.length === 0,
    waitingFor,
    healthy: problems.length === 0,
    problems,
    source: sourceReport(seen),
    policies: policyReport(state),
    warnings: state.warnings,
    pods: podReports(seen),
    nodes: nodeReports(state),
    identity: {
      ...(issuer && { issuer: certificateOnly(issuer) }),
      roots: roots.map(certificateOnly),
      ...(failure !== undefined && { failure }),
    },
    relay: seen.relay.workers,
    descriptors: seen.descriptors,
    datapath: datapathReport(seen),
    refusals: observer.refusals()
      .map((row) => ({ ...row, total: row.kernel + row.relay }))
      .filter((row) => row.total > 0)
      .sort((a, b) => b.lastMinute - a.lastMinute || b.total - a.total),
    eventsLost: observer.lost(),
  };
}

/** Every policy, with what it comes to. */
export function policyReport(state: State): PolicyReport[] {
  return [...state.policies.values()].map(({ key, object, origin, pods }) => {
    const line = origin.lineOf?.(["spec", "mtls", "mode"]);
    const subject = `CiliumServiceMeshPolicy "${key}"`;
    return {
      name: key,
      namespace: object.namespace,
      target: targetText(object),
      mode: object.mode,
      ...(object.sameNode !== undefined && { sameNode: object.sameNode }),
      portOverrides: object.overrides,
      ...(origin.file !== undefined && { file: origin.file }),
      ...(line !== undefined && { line }),
      pods,
      warnings: state.warnings.filter((warning) => warning.subject === subject)
        .map((warning) => warning.sentence),
    };
  });
}

/** Whose certificate says what; every pod that needs one, on all nodes. */
export function identityReport(state: State, identity: IdentityView): IdentityReport[] {
  const certificates = new Map(identity.svids.map((svid) => [svid.pod, svid]));
  return [...state.workloads.values()]
    .filter((workload) => workload.live && workload.certified)
    .map((workload) => {
      const certificate = certificates.get(workload.key);
      return {
        pod: workload.key,
        node: workload.node,
        addresses: workload.addresses,
        serviceAccount: `${workload.namespace}/${workload.serviceAccount}`,
        spiffeId: workload.spiffeId,
        enrolled: workload.enrolled,
        enrolledBy: workload.enrolledBy.sentence,
        dnsNames: workload.dnsNames,
        ...(certificate && { certificate: certificateOnly(certificate) }),
      };
    });
}

/** The view at one moment: counting rows of the kernel's tables costs, so it is asked once. */
interface Seen {
  readonly config: Config;
  readonly state: State;
  readonly waitingFor: readonly string[];
  readonly datapath: DatapathView;
  readonly relay: RelayView;
  readonly identity: IdentityView;
  readonly descriptors: DescriptorReport;
}

function look(view: AgentView, observer: Observer): Seen {
  return {
    config: view.config,
    state: view.state(),
    waitingFor: view.unready(),
    datapath: view.datapath(),
    relay: view.relay(),
    identity: view.identity(),
    descriptors: descriptorReport(observer.acceptsRefused()),
  };
}

/** Why the agent is not healthy. Rejected documents are shown, but no failure of the agent. */
function problemsOf({ state, waitingFor, datapath, relay, identity, descriptors }: Seen): string[] {
  const problems = waitingFor.map((what) => `not ready: ${what}`);
  if (state.source.failure !== undefined) {
    problems.push(`the source cannot be read: ${state.source.failure}; everything stays in force`);
  }
  if (state.source.problem !== undefined) problems.push(state.source.problem);
  for (const { map, entriesMax, sentence } of datapath.shortages) {
    problems.push(`map "${map}" is full (${entriesMax} rows): ${sentence}`);
  }
  for (const { name, entries = 0, entriesMax } of datapath.maps) {
    if (LEARNED.has(name) && entries >= entriesMax) {
      const sentence = "new connections are refused until others end";
      problems.push(`map "${name}" is full (${entriesMax} rows): ${sentence}`);
    }
  }
  for (const { pod, reason } of datapath.failures) {
    problems.push(`pod ${pod} is NOT GUARDED: ${bareReason(reason)}`);
  }
  for (const worker of relay.workers) {
    if (worker.running && worker.silent) {
      problems.push(
        `relay worker ${worker.index} is stuck: its connections wait, new ones go to the other ` +
          `workers and are refused without any; restart the agent if it stays so`,
      );
    }
    if (!worker.running) {
      problems.push(
        `relay worker ${worker.index} has failed ${worker.failures} times and is not running: ` +
          `its share of connections goes to the others, and is refused without any, until the ` +
          `agent is restarted; it said ` +
          `"${worker.lastError ?? "nothing"}", the agent's log says more`,
      );
    }
  }
  const short = descriptorProblem(descriptors);
  if (short !== undefined) problems.push(short);
  if (identity.failure !== undefined) problems.push(`certificates: ${identity.failure}`);
  return problems;
}

/** Maps that connections fill, not the plan. */
const LEARNED: ReadonlySet<string> = new Set(["connections", "steered", "clients"]);

function sourceReport({ config, state }: Seen): SourceReport {
  const { source, objects, rejections } = state;
  const counts = Object.entries(objects).map(([kind, table]) => [kind, table.size] as const);
  return {
    directory: config.source.directory,
    ready: source.ready,
    ...(source.failure !== undefined && { failure: source.failure }),
    objects: Object.fromEntries(counts.filter(([, size]) => size > 0)),
    rejections,
  };
}

function podReports({ state, identity, datapath }: Seen): PodReport[] {
  const certificates = new Map(identity.svids.map((svid) => [svid.pod, svid]));
  const failures = new Map(datapath.failures.map(({ pod, reason }) => [pod, reason]));
  return [...state.workloads.values()]
    .filter((workload) => workload.local && workload.live && !workload.hostNetwork)
    .map((workload) => {
      const certificate = certificates.get(workload.key);
      const failure = failures.get(workload.key);
      return {
        name: workload.key,
        addresses: workload.addresses,
        mode: workload.mode.mode,
        ports: workload.ports.map(({ port, mode }) => ({ port, mode })),
        sameNode: workload.mode.sameNode,
        enrolled: workload.enrolled,
        enrolledBy: workload.enrolledBy.sentence,
        ownCertificate: workload.ownCertificate,
        ...(workload.certified && { spiffeId: workload.spiffeId }),
        ...(certificate && { certificate: certificateOnly(certificate) }),
        ...(failure !== undefined && { failure: bareReason(failure) }),
      };
    });
}

/** The pod is named beside it. */
function bareReason(reason: string): string {
  return reason.replace(/^Cannot guard pod "[^"]*": /, "");
}

function nodeReports(state: State): NodeReport[] {
  const pods = new Map<string, number>();
  for (const { node, live } of state.workloads.values()) {
    if (live) pods.set(node, (pods.get(node) ?? 0) + 1);
  }
  return [...state.nodes.values()].map((node) => ({
    name: node.name,
    local: node.local,
    announced: node.announced,
    addresses: node.addresses,
    podCidrs: node.podCidrs.map((cidr) => cidr.text),
    pods: pods.get(node.name) ?? 0,
    ...(node.issuerFingerprint !== undefined && { issuerFingerprint: node.issuerFingerprint }),
  }));
}

function datapathReport({ config, datapath: { revision, counters } }: Seen): DatapathReport {
  return {
    revision,
    bpffs: config.bpffs,
    direct: counterOf(counters, "DIRECT"),
    steeredIn: counterOf(counters, "STEERED_IN"),
    steeredOut: counterOf(counters, "STEERED_OUT"),
    fromNode: counterOf(counters, "NODE"),
    fallback: counterOf(counters, "FALLBACK"),
    plaintextFromMesh: counterOf(counters, "PLAINTEXT_FROM_MESH"),
  };
}

/** `app=backend` in `default`, as a person would say it. */
function targetText({ target: { namespace, selector } }: MeshPolicyObject): string {
  const parts = [
    ...[...selector.matchLabels].map(([key, value]) => `${key}=${value}`),
    ...selector.matchExpressions.map(({ key, operator, values }) =>
      values.length > 0 ? `${key} ${operator} (${values.join(", ")})` : `${key} ${operator}`
    ),
  ];
  return `${namespace}: ${parts.length > 0 ? parts.join(", ") : "every pod"}`;
}

/** No more than that: what else an agent knows of a certificate is not for everybody. */
function certificateOnly(view: CertificateView): CertificateView {
  const { subject, fingerprint, notBeforeMs, notAfterMs } = view;
  return { subject, fingerprint, notBeforeMs, notAfterMs };
}
