/**
 * Small worlds for tests of the model and the compiler: objects with everything but what a test
 * cares about filled in.
 *
 * @module
 */

import {
  applyChanges,
  type Change,
  type Cidr,
  emptyState,
  type EndpointSliceObject,
  type MeshConfig,
  type MeshPolicyObject,
  type ModelObject,
  type NamespaceObject,
  type NodeObject,
  parseCidr,
  type PodObject,
  type ServiceObject,
  type State,
  type WeftNodeObject,
} from "@/src/model/mod.ts";

export const CONFIG: MeshConfig = {
  node: "node-a",
  trustDomain: "cluster.local",
  systemNamespace: "kube-system",
  enroll: "label",
  defaultMode: "PERMISSIVE",
  sameNode: "encrypt",
};

/** A State of these objects, read completely. */
export function worldOf(objects: readonly ModelObject[], config: Partial<MeshConfig> = {}): State {
  const changes: Change[] = objects.map((object) => put(object));
  return applyChanges(emptyState({ ...CONFIG, ...config }), [
    ...changes,
    { type: "source", ready: true },
  ]);
}

/** A change that puts an object, from a file whose fields are all on the line of their depth. */
export function put(object: ModelObject): Change {
  const file = `${object.kind}-${object.name}.yaml`;
  return { type: "put", object, origin: { file, document: 1, lineOf: (path) => path.length } };
}

type Fields<Object extends ModelObject> = Partial<Omit<Object, "kind" | "labels">> & {
  readonly labels?: Readonly<Record<string, string>>;
};

function meta(fields: Fields<ModelObject>, namespace: string) {
  const labels = new Map(Object.entries(fields.labels ?? {}));
  return { namespace, name: "thing", uid: "", ...fields, labels };
}

export function pod(fields: Fields<PodObject>): PodObject {
  return {
    kind: "Pod",
    node: "node-a",
    serviceAccount: "default",
    hostNetwork: false,
    addresses: [],
    finished: false,
    terminating: false,
    ready: true,
    ownCertificate: false,
    ports: [],
    ...fields,
    ...meta(fields, fields.namespace ?? "default"),
  };
}

export function namespace(name: string, labels: Record<string, string> = {}): NamespaceObject {
  return { kind: "Namespace", ...meta({ name, labels }, "") };
}

export function node(
  fields: Omit<Fields<NodeObject>, "podCidrs"> & { readonly podCidrs?: readonly string[] },
): NodeObject {
  const { podCidrs = [], ...rest } = fields;
  return { kind: "Node", addresses: [], ...rest, podCidrs: podCidrs.map(cidr), ...meta(rest, "") };
}

export function weftNode(fields: Fields<WeftNodeObject>): WeftNodeObject {
  return {
    kind: "WeftNode",
    node: fields.name ?? "",
    nodeUid: "",
    issuerFingerprint: "f00d",
    datapathVersion: "1",
    ready: true,
    ...fields,
    ...meta(fields, ""),
  };
}

export function service(fields: Fields<ServiceObject>): ServiceObject {
  return {
    kind: "Service",
    clusterIps: ["10.96.0.1"],
    ports: [{ name: "", port: 80, proto: "TCP", target: 8080 }],
    selector: new Map([["app", "web"]]),
    publishNotReady: false,
    localOnly: false,
    ...fields,
    ...meta(fields, fields.namespace ?? "default"),
  };
}

export function slice(fields: Fields<EndpointSliceObject>): EndpointSliceObject {
  return {
    kind: "EndpointSlice",
    service: "thing",
    ports: [{ name: "", port: 8080, proto: "TCP" }],
    endpoints: [],
    ...fields,
    ...meta(fields, fields.namespace ?? "default"),
  };
}

export function policy(
  fields: Fields<MeshPolicyObject> & {
    readonly select?: Readonly<Record<string, string>>;
    readonly target?: never;
    readonly targetNamespace?: string;
  },
): MeshPolicyObject {
  const { select = {}, targetNamespace, target: _, ...rest } = fields;
  const namespace = rest.namespace ?? "default";
  const selector = { matchLabels: new Map(Object.entries(select)), matchExpressions: [] };
  return {
    kind: "MeshPolicy",
    mode: "STRICT",
    sameNode: undefined,
    overrides: [],
    ...rest,
    target: { namespace: targetNamespace ?? namespace, selector },
    ...meta(rest, namespace),
  };
}

function cidr(text: string): Cidr {
  const range = parseCidr(text);
  if (range === undefined) throw new TypeError(`"${text}" is no CIDR`);
  return range;
}
