/**
 * A workload: one pod with everything that the model has joined to it. In: the pod, its namespace,
 * the policies that target it, the Services that select it. Out: whether it is in the mesh, who it
 * is, and what each of its ports asks for, each with its cause.
 *
 * Two things are kept apart on purpose. *Enrolled* governs what goes out: the pod's connections are
 * intercepted. The *mode* governs what may come in. The label "false" stops the first, never the
 * second (DESIGN §3): nobody unlocks a STRICT port by a label on the pod.
 *
 * @module
 */

import { type Cause, causeIn } from "./cause.ts";
import type { Origin } from "../change.ts";
import type { MeshConfig } from "../config.ts";
import type { SameNode } from "../mode.ts";
import type { NamedPort, NamespaceObject, PodObject, ServiceObject } from "../object.ts";
import {
  joinPolicies,
  policiesOf,
  type PolicyVerdict,
  type PortMode,
  type StoredPolicy,
} from "./policy.ts";
import { spiffeIdOf } from "../principal.ts";
import { includesLabels, type Labels } from "../selector.ts";

/** Label of pods and namespaces: "true" enrols, "false" stops outbound interception. */
export const ENROLLED_LABEL = "mesh.cilium.io/enrolled";

export interface Workload {
  /** "namespace/name" */
  readonly key: string;
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly labels: Labels;
  /** Empty while it is not scheduled. */
  readonly node: string;
  /** Lives on this node. */
  readonly local: boolean;
  readonly addresses: readonly string[];
  readonly serviceAccount: string;
  /** Of its ServiceAccount. */
  readonly spiffeId: string;
  /** Path of its network namespace, where the source names one. */
  readonly netns?: string;
  /** In the mesh: it has an identity and its outbound connections are intercepted. */
  readonly enrolled: boolean;
  /** Why it is enrolled, or why not. */
  readonly enrolledBy: Cause;
  /**
   * Needs a certificate: it is enrolled, or some port of it authenticates who comes in, or it
   * speaks TLS itself with a certificate of `weft cert issue`.
   */
  readonly certified: boolean;
  /** Speaks TLS itself. */
  readonly ownCertificate: boolean;
  readonly hostNetwork: boolean;
  readonly ready: boolean;
  /** Neither Succeeded nor Failed. */
  readonly live: boolean;
  readonly terminating: boolean;
  readonly namedPorts: readonly NamedPort[];
  /** Names of the Services that select it, for its certificate; sorted. */
  readonly dnsNames: readonly string[];
  /** Of all ports without an entry in `ports`. */
  readonly mode: PortMode;
  /** Ports that some policy names, sorted. */
  readonly ports: readonly PortMode[];
  /** Keys of the policies that select it, in the order in which they were asked. */
  readonly policies: readonly string[];
}

/** What a workload is derived from. */
export interface WorkloadInputs {
  readonly pod: { readonly object: PodObject; readonly origin: Origin };
  readonly namespace: { readonly object: NamespaceObject; readonly origin: Origin } | undefined;
  /** All policies that target the pod's namespace, sorted by key. */
  readonly policies: readonly StoredPolicy[];
  /** All Services of the pod's namespace, sorted by key. */
  readonly services: readonly ServiceObject[];
  readonly config: MeshConfig;
}

/** Derives one workload. */
export function deriveWorkload(inputs: WorkloadInputs): Workload {
  const { pod: { object: pod }, config } = inputs;
  // A host-network pod is its node: what policies ask for cannot be enforced on it.
  const selecting = pod.hostNetwork ? [] : policiesOf(inputs.policies, pod.labels);
  const verdict = joinPolicies(selecting);
  const enrolment = deriveEnrolment(inputs, verdict);
  const modes = deriveModes(enrolment, verdict, config);
  const certified = !pod.hostNetwork && (enrolment.enrolled || pod.ownCertificate ||
    [modes.mode, ...modes.ports].some(({ mode }) => mode !== "DISABLE"));
  return {
    key: `${pod.namespace}/${pod.name}`,
    namespace: pod.namespace,
    name: pod.name,
    uid: pod.uid,
    labels: pod.labels,
    node: pod.node,
    local: pod.node === config.node,
    addresses: pod.addresses,
    serviceAccount: pod.serviceAccount,
    spiffeId: spiffeIdOf(pod.namespace, pod.serviceAccount, config.trustDomain),
    ...(pod.netns !== undefined && { netns: pod.netns }),
    enrolled: enrolment.enrolled,
    enrolledBy: enrolment.cause,
    certified,
    ownCertificate: pod.ownCertificate,
    hostNetwork: pod.hostNetwork,
    ready: pod.ready,
    live: !pod.finished,
    terminating: pod.terminating,
    namedPorts: pod.ports,
    dnsNames: dnsNamesOf(inputs),
    ...modes,
    policies: selecting.map(({ object }) => `${object.namespace}/${object.name}`),
  };
}

/** What a port of the workload asks for. */
export function portModeOf(workload: Workload, port: number): PortMode {
  return workload.ports.find((entry) => entry.port === port) ?? workload.mode;
}

interface Enrolment {
  readonly enrolled: boolean;
  readonly cause: Cause;
}

/** DESIGN §3 "Enrolment": pod label beats namespace label beats flag; a policy enrols, too. */
function deriveEnrolment(inputs: WorkloadInputs, verdict: PolicyVerdict | undefined): Enrolment {
  const { pod, namespace, config } = inputs;
  if (pod.object.hostNetwork) {
    return no(causeIn("The pod is on the host network", pod, ["spec", "hostNetwork"]));
  }
  if (pod.object.ownCertificate) {
    const path = ["metadata", "annotations", "mesh.cilium.io/own-certificate"];
    return no(causeIn("The pod speaks TLS itself, with a certificate of its own", pod, path));
  }
  const path = ["metadata", "labels", ENROLLED_LABEL];
  const label = pod.object.labels.get(ENROLLED_LABEL);
  if (label === "true") return yes(causeIn("The pod's label enrols it", pod, path));
  if (label === "false") return no(causeIn("The pod's label keeps it out", pod, path));
  const labelled = namespace?.object.labels.get(ENROLLED_LABEL);
  if (namespace !== undefined && labelled === "true") {
    return yes(causeIn("The namespace's label enrols it", namespace, path));
  }
  if (namespace !== undefined && labelled === "false") {
    return no(causeIn("The namespace's label keeps it out", namespace, path));
  }
  if (config.enroll === "all") return yes({ sentence: "The flag --enroll=all enrols every pod" });
  if (verdict?.enrols !== undefined) return yes(verdict.enrols.cause);
  return no({ sentence: "No label, no flag and no policy enrols it" });
}

const yes = (cause: Cause): Enrolment => ({ enrolled: true, cause });
const no = (cause: Cause): Enrolment => ({ enrolled: false, cause });

/** What may come in: the policies if any selects the pod, else the default of its enrolment. */
function deriveModes(
  enrolment: Enrolment,
  verdict: PolicyVerdict | undefined,
  config: MeshConfig,
): { mode: PortMode; ports: PortMode[] } {
  const sameNode: SameNode = verdict?.sameNode ?? config.sameNode;
  if (verdict !== undefined) {
    const ports = [...verdict.ports].map(([port, opinion]) => ({ port, ...opinion, sameNode }));
    return { mode: { port: 0, ...verdict.mode, sameNode }, ports };
  }
  const mode: PortMode = enrolment.enrolled
    ? { port: 0, mode: config.defaultMode, sameNode, cause: defaultCause(config) }
    : { port: 0, mode: "DISABLE", sameNode, cause: OUTSIDE };
  return { mode, ports: [] };
}

const CLUSTER_DOMAIN = "cluster.local";

/** Names under which clients dial the pod: those of the Services that select it. */
function dnsNamesOf({ pod, services, config }: WorkloadInputs): readonly string[] {
  const domain = config.clusterDomain ?? CLUSTER_DOMAIN;
  return services
    .filter(({ selector }) => selector !== undefined && includesLabels(selector, pod.object.labels))
    .flatMap(({ name, namespace }) => {
      const full = `${name}.${namespace}`;
      return [name, full, `${full}.svc`, `${full}.svc.${domain}`];
    })
    .sort();
}

const OUTSIDE: Cause = { sentence: "The pod is not in the mesh and no policy selects it" };

function defaultCause({ defaultMode }: MeshConfig): Cause {
  return {
    sentence: `No policy selects the pod, so it is ${defaultMode}, the default of enrolled pods`,
  };
}
