/**
 * What a cluster would write into the documents: addresses of Services, Nodes, the cluster's DNS,
 * Pods of Deployments, placement and status of Pods, and the names that DNS answers.
 *
 * Invariant: changes a `Source` in memory only, and knows nothing of processes or namespaces.
 *
 * @module
 */
import type { Document } from "yaml";
import type { DnsRecords } from "../host/dns.ts";
import { TestbedError } from "../host/process.ts";
import type { NodeState, PodState, TestbedState } from "../state.ts";
import * as plan from "./plan.ts";
import type { Manifest, ObjectKey, Source } from "./source.ts";

/**
 * Writes a Node document per node, and the Service of the cluster's DNS with its EndpointSlices.
 */
export function writeCluster(state: TestbedState, source: Source): void {
  for (const node of state.nodes) source.putValue(nodeObject(node));
  const metadata = { name: "kube-dns", namespace: "kube-system" };
  const ports = ["UDP", "TCP"].map((protocol) => ({
    name: protocol === "UDP" ? "dns" : "dns-tcp",
    port: 53,
    protocol,
  }));
  if (source.get({ kind: "Service", ...metadata }) !== undefined) return;
  const { v4, v6 } = plan.DNS_SERVICE;
  source.putValue({
    apiVersion: "v1",
    kind: "Service",
    metadata,
    spec: {
      clusterIP: v4,
      clusterIPs: [v4, v6],
      ipFamilyPolicy: "RequireDualStack",
      ports: ports.map((port) => ({ ...port, targetPort: 53 })),
    },
  });
  for (const [family, address] of [["IPv4", plan.DNS.v4], ["IPv6", plan.DNS.v6]] as const) {
    source.putValue({
      apiVersion: "discovery.k8s.io/v1",
      kind: "EndpointSlice",
      metadata: {
        name: `kube-dns-${family.toLowerCase()}`,
        namespace: "kube-system",
        labels: { "kubernetes.io/service-name": "kube-dns" },
      },
      addressType: family,
      endpoints: [{ addresses: [address], conditions: { ready: true } }],
      ports,
    });
  }
}

/** Gives addresses to Services that have none; `earlier` are those a Service had before. */
export function allocateServices(
  state: TestbedState,
  source: Source,
  earlier: ReadonlyMap<string, readonly string[]> = new Map(),
): void {
  const services = source.objects().filter(({ kind }) => kind === "Service");
  const taken = new Set(services.flatMap(clusterIps));
  for (const service of services) {
    const spec = service.value.spec ?? {};
    if (spec.clusterIP !== undefined || spec.type === "ExternalName") continue;
    const before = earlier.get(`${service.namespace}/${service.name}`);
    const addresses = before ?? chooseAddresses(state, taken, spec);
    source.edit(service, (document) => {
      document.setIn(["spec", "clusterIP"], addresses[0]);
      document.setIn(["spec", "clusterIPs"], addresses);
    });
  }
}

/** Cluster addresses of a Service; none for a headless one. */
export function clusterIps({ value }: Manifest): string[] {
  const { clusterIP, clusterIPs } = value.spec ?? {};
  if (clusterIP === undefined || clusterIP === "None") return [];
  return [...new Set<string>([clusterIP, ...clusterIPs ?? []])];
}

/** Writes a pod's document: for one of a Deployment all of it, for any its placement and status. */
export function writePod(
  source: Source,
  pod: PodState,
  node: NodeState,
  options: { readonly deleted?: boolean } = {},
): void {
  const key = podKey(pod);
  if (source.get(key) === undefined) {
    source.putValue({
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name: pod.name, namespace: pod.namespace },
      spec: JSON.parse(pod.spec),
    });
  }
  source.edit(key, (document) => {
    if (pod.owner !== undefined) copyTemplate(source, pod, document);
    document.setIn(["metadata", "uid"], pod.uid);
    if (options.deleted) {
      document.setIn(["metadata", "deletionTimestamp"], new Date().toISOString());
    }
    if (!pod.hostNetwork) {
      document.setIn(["metadata", "annotations", "mesh.cilium.io/netns"], pod.netns);
    }
    document.setIn(["spec", "nodeName"], pod.node);
    setPlain(document, ["status"], {
      phase: "Running",
      hostIP: node.addresses[0],
      hostIPs: node.addresses.map((ip) => ({ ip })),
      podIP: pod.addresses[0],
      podIPs: pod.addresses.map((ip) => ({ ip })),
      conditions: [{ type: "Ready", status: pod.ready && !options.deleted ? "True" : "False" }],
    });
  });
}

/** The key of a pod's document. */
export function podKey(pod: PodState): ObjectKey {
  return { kind: "Pod", namespace: pod.namespace, name: pod.name };
}

/** What DNS answers: the addresses of each Service, or of its ready pods where it is headless. */
export function dnsRecords(source: Source): DnsRecords {
  const objects = source.objects();
  const pods = objects.filter(({ kind }) => kind === "Pod");
  const services = objects.filter(({ kind }) => kind === "Service").toSorted(byName);
  return new Map(services.map((service) => {
    const name = `${service.name}.${service.namespace}.svc.cluster.local`;
    const headless = service.value.spec?.clusterIP === "None";
    const addresses = headless ? podAddressesOf(service, pods) : clusterIps(service);
    return [name, addresses];
  }));
}

function nodeObject(node: NodeState): unknown {
  const { v4, v6 } = plan.podCidrs(node.index);
  return {
    apiVersion: "v1",
    kind: "Node",
    metadata: { name: node.name, uid: node.uid, labels: nodeLabels(node) },
    spec: { podCIDR: v4, podCIDRs: [v4, v6] },
    status: {
      addresses: [
        ...node.addresses.map((address) => ({ type: "InternalIP", address })),
        { type: "Hostname", address: node.name },
      ],
      conditions: [{ type: "Ready", status: "True" }],
    },
  };
}

/** Labels of a node, for `nodeSelector`. */
export function nodeLabels(node: NodeState): Record<string, string> {
  return { "kubernetes.io/hostname": node.name, "kubernetes.io/os": "linux" };
}

function chooseAddresses(
  state: TestbedState,
  taken: Set<string>,
  // deno-lint-ignore no-explicit-any -- a document as it was written
  spec: any,
): string[] {
  for (;;) {
    const number = Math.max(++state.serviceNumber, plan.SERVICE_FIRST);
    state.serviceNumber = number;
    if (number > 0xfffe) throw new TestbedError("Cannot allocate a Service address: all are taken");
    const { v4, v6 } = plan.serviceAddresses(number);
    if (taken.has(v4) || taken.has(v6)) continue;
    const families: readonly string[] = spec.ipFamilies ??
      (spec.ipFamilyPolicy === "SingleStack" ? ["IPv4"] : ["IPv4", "IPv6"]);
    return families.map((family) => family === "IPv6" ? v6 : v4);
  }
}

/** Labels and annotations are the template's: changing them there changes them in the pods. */
function copyTemplate(source: Source, pod: PodState, document: Document): void {
  const [kind, namespace, name] = pod.owner?.split("/") ?? [];
  if (kind === undefined || namespace === undefined || name === undefined) return;
  const deployment = source.get({ kind, namespace, name });
  if (deployment === undefined) return;
  const template = deployment.value.spec?.template?.metadata ?? {};
  setPlain(document, ["metadata", "labels"], template.labels ?? {});
  setPlain(document, ["metadata", "annotations"], template.annotations ?? {});
  setPlain(document, ["metadata", "ownerReferences"], [
    { apiVersion: deployment.value.apiVersion, kind, name, controller: true },
  ]);
}

function setPlain(document: Document, path: readonly string[], value: unknown): void {
  document.setIn(path, document.createNode(value, { aliasDuplicateObjects: false }));
}

function podAddressesOf(service: Manifest, pods: readonly Manifest[]): string[] {
  const selector = Object.entries(service.value.spec?.selector ?? {});
  return pods.filter(({ namespace, value }) =>
    selector.length > 0 && namespace === service.namespace &&
    selector.every(([label, wanted]) => value.metadata?.labels?.[label] === wanted) &&
    value.metadata?.deletionTimestamp === undefined &&
    value.status?.conditions?.some((condition: { type: string; status: string }) =>
      condition.type === "Ready" && condition.status === "True"
    )
  ).flatMap(({ value }) => value.status.podIPs.map(({ ip }: { ip: string }) => ip));
}

function byName(a: Manifest, b: Manifest): number {
  return `${a.namespace}/${a.name}` < `${b.namespace}/${b.name}` ? -1 : 1;
}
