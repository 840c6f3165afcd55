/**
 * Whose policies there are: every pod and every node's host, with the specs that select it. In: the
 * snapshot and the specs. Out: sets of specs, each with the ends that share it, so that one program
 * serves all pods of the same policies.
 *
 * @module
 */

import type { NamedPort, NodeObject, PodObject } from "../../model/mod.ts";
import { labelsOfPod, type NamedPortMatch, reservedLabel } from "../../model/network_policy/mod.ts";
import { apiServerAddresses, hasOwnEnd, nodeLabels } from "./identities.ts";
import { LabelLookup } from "./peers/label_lookup.ts";
import type { OrderedSpec } from "./rules.ts";
import type { PolicySnapshot } from "./snapshot.ts";

/** Ends that the same specs govern, and whose ports have the same numbers where specs name them. */
export interface SubjectSet {
  /** One text per set. */
  readonly key: string;
  readonly kind: "pod" | "host";
  readonly specs: readonly OrderedSpec[];
  /** What the subject's containers call their ports, as far as a rule asks. */
  readonly ports: readonly NamedPort[];
  /** `pod NAMESPACE/NAME` or `host NODE`. */
  readonly members: readonly string[];
}

/** Name of a pod's end. */
export function podSubject(pod: Pick<PodObject, "namespace" | "name">): string {
  return `pod ${pod.namespace}/${pod.name}`;
}

/** Name of a node's own end. */
export function hostSubject(node: Pick<NodeObject, "name">): string {
  return `host ${node.name}`;
}

/** The host where it is not known of which node: no label tells. */
export const UNKNOWN_HOST = "host";

/** All sets, in the order of their keys. */
export function subjectSets(
  snapshot: PolicySnapshot,
  specs: readonly OrderedSpec[],
): SubjectSet[] {
  const namespaces = new Map(snapshot.namespaces.map(({ name, labels }) => [name, labels]));
  const pods = snapshot.pods.filter(hasOwnEnd);
  const podIndex = new LabelLookup(
    pods.map((pod) => labelsOfPod(pod, namespaces.get(pod.namespace))),
  );
  const servers = apiServerAddresses(snapshot);
  const hosts = [
    { member: UNKNOWN_HOST, labels: [reservedLabel("host")] },
    ...snapshot.nodes.map((node) => ({
      member: hostSubject(node),
      labels: nodeLabels(node, "host", servers),
    })),
  ];
  const hostIndex = new LabelLookup(hosts.map(({ labels }) => labels));
  const ofPods = pods.map((): OrderedSpec[] => []);
  const ofHosts = hosts.map((): OrderedSpec[] => []);
  for (const spec of specs) {
    const { kind, selector } = spec.spec.subject;
    const [index, lists] = kind === "endpoint" ? [podIndex, ofPods] : [hostIndex, ofHosts];
    for (const member of index.matching(selector)) lists[member]?.push(spec);
  }
  const sets = new Map<string, SubjectSet & { readonly members: string[] }>();
  const add = (kind: "pod" | "host", member: string, its: OrderedSpec[], all: NamedPort[]) => {
    const ports = relevantPorts(its, all);
    const names = ports.map(({ name, proto, port }) => `${name}/${proto}=${port}`);
    const key = [kind, ...its.map(({ index }) => index), ...names].join(" ");
    const known = sets.get(key);
    if (known) known.members.push(member);
    else sets.set(key, { key, kind, specs: its, ports, members: [member] });
  };
  for (const [index, pod] of pods.entries()) {
    add("pod", podSubject(pod), ofPods[index] ?? [], [...pod.ports]);
  }
  for (const [index, { member }] of hosts.entries()) add("host", member, ofHosts[index] ?? [], []);
  return [...sets.values()].sort((a, b) => a.key < b.key ? -1 : a.key > b.key ? 1 : 0);
}

/** The ports whose names the ingress rules of these specs ask for. */
function relevantPorts(specs: readonly OrderedSpec[], ports: readonly NamedPort[]): NamedPort[] {
  if (ports.length === 0) return [];
  const asked = specs.flatMap(({ namedIngressPorts }) => namedIngressPorts);
  return ports.filter((port) => asked.some((name) => isCalled(port, name)))
    .sort((a, b) => a.port - b.port || (a.name < b.name ? -1 : 1));
}

/** Whether a container's port has the name and the protocol that a rule asks for. */
export function isCalled(port: NamedPort, { name, transport }: NamedPortMatch): boolean {
  return port.proto === transport && port.name.toLowerCase() === name;
}
