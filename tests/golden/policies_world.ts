/**
 * Worlds and questions for the tables: objects as their YAML would be, queries as `weft policy
 * eval` takes them.
 *
 * @module
 */

import assert from "node:assert/strict";
import { type Answer, type Engine, parseQuery } from "@/src/evaluate/mod.ts";
import type { Enforcement } from "@/src/model/network_policy/mod.ts";
import { type FileDocument, worldOf } from "@/src/watch/policies/mod.ts";
import { CheckedEngine } from "@/tests/property/policy_engines.ts";

/** An object, as a document holds it. */
export type Document = Readonly<Record<string, unknown>>;

/** A table of the folder `policy_tables`. */
export function readTable<Table>(name: string): Table {
  const url = new URL(`./policy_tables/${name}`, import.meta.url);
  return JSON.parse(Deno.readTextFileSync(url));
}

export interface WorldOptions {
  readonly enforcement?: Enforcement;
  /** Documents may be invalid. */
  readonly lenient?: boolean;
}

/** The reference evaluator of these documents, checked by the compiled programs. */
export function engineOf(documents: readonly Document[], options: WorldOptions = {}): Engine {
  return engineOfFiles(
    documents.map((value) => ({ file: "test.yaml", value, lineOf: () => 1 })),
    options,
  );
}

/** The same, of documents that were read from files. */
export function engineOfFiles(
  documents: readonly FileDocument[],
  { enforcement = "default", lenient = false }: WorldOptions = {},
): Engine {
  const { world, remarks } = worldOf(documents);
  const errors = remarks.filter(({ severity }) => severity === "error");
  if (!lenient) assert.deepEqual(errors, []);
  return new CheckedEngine(world, enforcement);
}

/** The answer to a query. */
export function ask(engine: Engine, query: unknown): Answer {
  const parsed = parseQuery(query);
  assert(parsed.ok, parsed.ok ? "" : parsed.error);
  assert.deepEqual(parsed.strangers, []);
  return engine.decide(parsed.query);
}

/** An answer in a word or two: `allow`, `ingress default-deny`. */
export function verdictOf(answer: Answer): string {
  if ("error" in answer) return `error ${answer.error}`;
  return answer.verdict === "allow" ? "allow" : `${answer.direction} ${answer.reason}`;
}

/** The short answer to a query. */
export function verdict(engine: Engine, query: unknown): string {
  return verdictOf(ask(engine, query));
}

export interface PodParts {
  readonly labels?: Readonly<Record<string, string>> | undefined;
  readonly ip?: string | undefined;
  readonly node?: string | undefined;
  readonly serviceAccount?: string | undefined;
  readonly ports?: readonly unknown[] | undefined;
  readonly hostNetwork?: boolean | undefined;
}

/** A running Pod; `key` is `namespace/name`. */
export function pod(key: string, parts: PodParts = {}): Document {
  const [namespace, name] = key.split("/");
  const { labels = {}, ip, node = "n1", serviceAccount, ports = [], hostNetwork } = parts;
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, namespace, labels },
    spec: {
      nodeName: node,
      ...(serviceAccount !== undefined && { serviceAccountName: serviceAccount }),
      ...(hostNetwork !== undefined && { hostNetwork }),
      containers: [{ name: "main", ports }],
    },
    status: { phase: "Running", ...(ip !== undefined && { podIPs: [{ ip }] }) },
  };
}

export function node(
  name: string,
  address: string,
  labels: Readonly<Record<string, string>> = {},
): Document {
  return {
    apiVersion: "v1",
    kind: "Node",
    metadata: { name, labels },
    status: { addresses: [{ type: "InternalIP", address }, { type: "Hostname", address: name }] },
  };
}

export function namespace(name: string, labels: Readonly<Record<string, string>> = {}): Document {
  return { apiVersion: "v1", kind: "Namespace", metadata: { name, labels } };
}

/** A CiliumNetworkPolicy of namespace default; `specs` where there are several. */
export function cnp(name: string, ...specs: readonly unknown[]): Document {
  return {
    apiVersion: "cilium.io/v2",
    kind: "CiliumNetworkPolicy",
    metadata: { name, namespace: "default" },
    ...(specs.length === 1 ? { spec: specs[0] } : { specs }),
  };
}

/** A CiliumClusterwideNetworkPolicy. */
export function ccnp(name: string, spec: unknown): Document {
  return {
    apiVersion: "cilium.io/v2",
    kind: "CiliumClusterwideNetworkPolicy",
    metadata: { name },
    spec,
  };
}

/** A NetworkPolicy of namespace default. */
export function knp(name: string, spec: unknown): Document {
  return {
    apiVersion: "networking.k8s.io/v1",
    kind: "NetworkPolicy",
    metadata: { name, namespace: "default" },
    spec,
  };
}

/** `matchLabels` */
export function labelled(matchLabels: Readonly<Record<string, string>>): Document {
  return { matchLabels };
}

/** `toPorts` of one entry. */
export function toPorts(port: string, protocol?: string, rest: Document = {}): Document[] {
  return [{ ports: [{ port, ...(protocol !== undefined && { protocol }) }], ...rest }];
}

/** A TCP query between two pods. */
export function tcp(from: string, to: string, port: number, rest: Document = {}): Document {
  return { from: { pod: from }, to: { pod: to }, protocol: "TCP", port, ...rest };
}

/** An echo request between two pods. */
export function ping(from: Document, to: Document): Document {
  return { from, to, protocol: "ICMP", icmp: { family: "IPv4", type: 8 } };
}
