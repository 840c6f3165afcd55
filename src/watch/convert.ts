/**
 * One document becomes one object of the model. In: a parsed document, from a file or the API. Out:
 * the object, or every fault with the path of its field, or the word that weft has no use for it.
 *
 * A policy that weft cannot enforce yet is never ignored quietly: whoever wrote it believes in it.
 *
 * @module
 */

import { FAULTS_SHOWN_MAX } from "../limits.ts";
import type { Kind, ModelObject, ObjectRef } from "../model/mod.ts";
import { type Fault, faultsOf } from "./fault.ts";
import {
  convertEndpointSlice,
  type Converter,
  convertMeshPolicy,
  convertNode,
  convertPod,
  convertService,
  convertWeftNode,
} from "./kinds.ts";
import { MESH_POLICY_API_VERSION, WEFT_NODE_API_VERSION } from "./policy_schema.ts";
import { header, metadata } from "./schema.ts";

export interface ConvertOptions {
  /** Policies there may target any namespace. */
  readonly systemNamespace: string;
  /** Of objects that name none. */
  readonly defaultNamespace: string;
  /** `mesh.cilium.io/netns` is read. Only files may say it: it can name the host's namespace. */
  readonly netnsAnnotation: boolean;
}

/** An object as its author named it. */
export interface ForeignRef {
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
}

export type Converted =
  | { readonly type: "object"; readonly object: ModelObject; readonly generation?: number }
  /** Of no use to weft. */
  | { readonly type: "ignored"; readonly kind: string }
  /** A policy of a kind that weft does not enforce. */
  | { readonly type: "unsupported"; readonly ref?: ForeignRef; readonly fault: Fault }
  | {
    readonly type: "invalid";
    /** How it is shown, as far as it can be read. */
    readonly ref?: ForeignRef;
    /** The object of the model that it would have been. */
    readonly target?: ObjectRef;
    readonly faults: readonly Fault[];
  };

/** Converts one document. */
export function convertDocument(document: unknown, options: ConvertOptions): Converted {
  const head = header.safeParse(document);
  if (!head.success) return { type: "invalid", faults: faultsOf(head.error, []) };
  const { apiVersion, kind } = head.data;
  const group = apiVersion.includes("/") ? apiVersion.slice(0, apiVersion.indexOf("/")) : "";
  const rule = KINDS.get(`${group}/${kind}`);
  if (rule === undefined) return convertForeign(document, { group, kind }, options);
  const meta = metadata.safeParse((document as { metadata?: unknown }).metadata);
  if (!meta.success) {
    return { type: "invalid", faults: faultsOf(meta.error, ["metadata"]) };
  }
  const namespace = rule.namespaced ? meta.data.namespace ?? options.defaultNamespace : "";
  const target: ObjectRef = { kind: rule.kind, namespace, name: meta.data.name };
  const ref: ForeignRef = { ...target, kind };
  const invalid = (faults: readonly Fault[]): Converted => ({
    type: "invalid",
    ref,
    target,
    faults: faults.slice(0, FAULTS_SHOWN_MAX),
  });
  if (apiVersion !== rule.apiVersion) {
    const reason = `must be "${rule.apiVersion}": current value is "${apiVersion}"`;
    return invalid([{ path: ["apiVersion"], reason }]);
  }
  const result = rule.convert(document as object, meta.data, { ...options, namespace });
  if ("faults" in result) return invalid(result.faults);
  const { generation } = meta.data;
  return {
    type: "object",
    object: result.object,
    ...(typeof generation === "number" && { generation }),
  };
}

interface KindRule {
  readonly kind: Kind;
  readonly apiVersion: string;
  readonly namespaced: boolean;
  readonly convert: Converter;
}

/** By API group and kind: other groups have kinds of the same name (a Knative Service). */
const KINDS: ReadonlyMap<string, KindRule> = new Map([
  ["/Pod", rule("Pod", "v1", convertPod)],
  ["/Service", rule("Service", "v1", convertService)],
  ["/ServiceAccount", rule("ServiceAccount", "v1", plain("ServiceAccount"))],
  ["/Namespace", { ...rule("Namespace", "v1", plain("Namespace")), namespaced: false }],
  ["/Node", { ...rule("Node", "v1", convertNode), namespaced: false }],
  [
    "discovery.k8s.io/EndpointSlice",
    rule("EndpointSlice", "discovery.k8s.io/v1", convertEndpointSlice),
  ],
  [
    "cilium.io/CiliumServiceMeshPolicy",
    rule("MeshPolicy", MESH_POLICY_API_VERSION, convertMeshPolicy),
  ],
  [
    "mesh.cilium.io/WeftNode",
    { ...rule("WeftNode", WEFT_NODE_API_VERSION, convertWeftNode), namespaced: false },
  ],
]);

function rule(kind: Kind, apiVersion: string, convert: Converter): KindRule {
  return { kind, apiVersion, namespaced: true, convert };
}

/** Kinds of which weft needs the metadata alone. */
function plain(kind: "ServiceAccount" | "Namespace"): Converter {
  return (_document, meta, { namespace }) => ({
    object: {
      kind,
      namespace,
      name: meta.name,
      uid: meta.uid ?? "",
      labels: new Map(Object.entries(meta.labels ?? {})),
    },
  });
}

/** API groups whose kinds say who may talk to whom, or how: silence would be a lie. */
const POLICY_GROUPS = new Set([
  "cilium.io",
  "mesh.cilium.io",
  "networking.k8s.io/NetworkPolicy",
  "policy.networking.k8s.io",
  "gateway.networking.k8s.io",
]);

function convertForeign(
  document: unknown,
  { group, kind }: { group: string; kind: string },
  options: ConvertOptions,
): Converted {
  if (!POLICY_GROUPS.has(group) && !POLICY_GROUPS.has(`${group}/${kind}`)) {
    return { type: "ignored", kind };
  }
  const meta = metadata.pick({ name: true, namespace: true })
    .safeParse((document as { metadata?: unknown }).metadata);
  const namespace = kind.startsWith("CiliumClusterwide")
    ? ""
    : meta.data?.namespace ?? options.defaultNamespace;
  return {
    type: "unsupported",
    ...(meta.success && { ref: { kind, namespace, name: meta.data.name } }),
    fault: { path: ["kind"], reason: `${kind} is not supported yet: it is not enforced` },
  };
}
