/**
 * One document becomes a network policy, or something that policies refer to. In: a parsed document
 * and where it stands. Out: the object, or every fault with the path of its field, or the word that
 * it is of another kind.
 *
 * The agent's source does not use this yet: it goes on saying that these kinds are not enforced
 * (`convert.ts`) until they are.
 *
 * @module
 */

import { FAULTS_SHOWN_MAX } from "../../limits.ts";
import type { FieldPath } from "../../model/mod.ts";
import type {
  CidrGroupObject,
  NetworkPolicyObject,
  SecretObject,
} from "../../model/network_policy/mod.ts";
import { type Fault, faultsOf } from "../fault.ts";
import { header, metadata } from "../schema.ts";
import { readCidrGroup, readSecret } from "./companions.ts";
import type { PolicyContext } from "./cilium/context.ts";
import { readCiliumPolicy } from "./cilium/policy.ts";
import { readKubernetesPolicy } from "./kubernetes.ts";

/** Where the document stands. */
export interface PolicyDocumentOptions {
  /** Of objects that name none. */
  readonly defaultNamespace: string;
  readonly file: string | undefined;
  /** Line of a field, from 1. */
  readonly lineOf: (path: FieldPath) => number | undefined;
}

/** A document as its author named it, as far as that can be read; else empty. */
export interface DocumentRef {
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
}

/** What a document is. */
export type PolicyDocument =
  | {
    readonly type: "object";
    readonly ref: DocumentRef;
    readonly object: NetworkPolicyObject | CidrGroupObject | SecretObject;
    readonly warnings: readonly Fault[];
  }
  | { readonly type: "invalid"; readonly ref: DocumentRef; readonly faults: readonly Fault[] }
  /** Of no kind that is read here. */
  | { readonly type: "other" };

/** Reads one document. */
export function readPolicyDocument(
  document: unknown,
  options: PolicyDocumentOptions,
): PolicyDocument {
  const head = header.safeParse(document);
  if (!head.success) return readHeadless(document, faultsOf(head.error, []));
  const { apiVersion, kind } = head.data;
  const rule = ruleOf(apiVersion, kind);
  if (rule === undefined) return { type: "other" };
  const meta = metadata.safeParse((document as { metadata?: unknown }).metadata);
  const ref = refOf(document, kind, rule.namespaced ? options.defaultNamespace : undefined);
  if (!meta.success) return invalid(ref, faultsOf(meta.error, ["metadata"]));
  if (!rule.apiVersions.includes(apiVersion)) {
    const reason = `must be "${rule.apiVersions[0]}": current value is "${apiVersion}"`;
    return invalid(ref, [{ path: ["apiVersion"], reason }]);
  }
  if (!rule.namespaced && meta.data.namespace) {
    const reason = `must be absent: a ${kind} belongs to no namespace`;
    return invalid(ref, [{ path: ["metadata", "namespace"], reason }]);
  }
  const context: PolicyContext = {
    namespace: ref.namespace,
    lineOf: options.lineOf,
    faults: [],
    warnings: [],
  };
  const labels = new Map(Object.entries(meta.data.labels ?? {}));
  const object = rule.read(document, { ...ref, labels, file: options.file }, context);
  if (object === undefined || context.faults.length > 0) return invalid(ref, context.faults);
  return { type: "object", ref, object, warnings: context.warnings };
}

interface KindRule {
  /** The one to write first. */
  readonly apiVersions: readonly string[];
  readonly namespaced: boolean;
  readonly read: (
    document: unknown,
    meta: DocumentRef & {
      readonly labels: ReadonlyMap<string, string>;
      readonly file: string | undefined;
    },
    context: PolicyContext,
  ) => NetworkPolicyObject | CidrGroupObject | SecretObject | undefined;
}

/** By API group and kind. */
const KINDS: ReadonlyMap<string, KindRule> = new Map<string, KindRule>([
  [
    "cilium.io/CiliumNetworkPolicy",
    { apiVersions: ["cilium.io/v2"], namespaced: true, read: readCiliumPolicy },
  ],
  [
    "cilium.io/CiliumClusterwideNetworkPolicy",
    { apiVersions: ["cilium.io/v2"], namespaced: false, read: readCiliumPolicy },
  ],
  [
    "networking.k8s.io/NetworkPolicy",
    { apiVersions: ["networking.k8s.io/v1"], namespaced: true, read: readKubernetesPolicy },
  ],
  [
    "cilium.io/CiliumCIDRGroup",
    {
      apiVersions: ["cilium.io/v2", "cilium.io/v2alpha1"],
      namespaced: false,
      read: readCidrGroup,
    },
  ],
  ["/Secret", { apiVersions: ["v1"], namespaced: true, read: readSecret }],
]);

/** Of another group's kind of the same name: none. No other group has kinds called Cilium…. */
function ruleOf(apiVersion: string, kind: string): KindRule | undefined {
  const slash = apiVersion.indexOf("/");
  const group = slash < 0 ? "" : apiVersion.slice(0, slash);
  const isMistaken = kind.startsWith("Cilium") || (kind === "NetworkPolicy" && OLD.includes(group));
  if (!isMistaken) return KINDS.get(`${group}/${kind}`);
  return KINDS.get(`cilium.io/${kind}`) ?? KINDS.get(`networking.k8s.io/${kind}`);
}

/** Where a NetworkPolicy once was, and where one looks for it by mistake. */
const OLD = ["", "extensions", "networking.k8s.io"];

/** What looks like an object and has no kind may have been meant as a policy. */
function readHeadless(document: unknown, faults: readonly Fault[]): PolicyDocument {
  const fields = typeof document === "object" && document !== null ? Object.keys(document) : [];
  const isObject = ["apiVersion", "kind", "metadata", "spec", "specs"]
    .some((field) => fields.includes(field));
  if (!isObject) return { type: "other" };
  const { kind } = document as { kind?: unknown };
  return invalid(refOf(document, typeof kind === "string" ? kind : "", undefined), faults);
}

function refOf(document: unknown, kind: string, defaultNamespace: string | undefined): DocumentRef {
  const meta = (document as { metadata?: unknown } | null)?.metadata as
    | { name?: unknown; namespace?: unknown }
    | null
    | undefined;
  const text = (value: unknown) => typeof value === "string" ? value : "";
  return {
    kind,
    namespace: defaultNamespace === undefined ? "" : text(meta?.namespace) || defaultNamespace,
    name: text(meta?.name),
  };
}

function invalid(ref: DocumentRef, faults: readonly Fault[]): PolicyDocument {
  return { type: "invalid", ref, faults: faults.slice(0, FAULTS_SHOWN_MAX) };
}
