/**
 * What is asked of `explain`, and who is meant by it. In come the words of the command line, out go
 * a checked query and the parties that it names. Invariant: a name is never guessed silently: where
 * it could mean several things, a note says which was taken.
 *
 * @module
 */
import { NotFoundError, UsageError } from "../../errors.ts";
import { canonicalAddress, type ServiceModel, type State, type Workload } from "../../model/mod.ts";

/** One question. */
export interface ExplainQuery {
  /** "namespace/pod", an address, "outside", "node" or "node/NAME" */
  readonly from: string;
  /** "namespace/pod", "namespace/service", a name in "default", or an address */
  readonly to: string;
  readonly port: number;
  readonly protocol: "TCP" | "UDP" | "ICMP";
}

/** One end of it. */
export type Party =
  | {
    readonly kind: "pod";
    readonly workload: Workload;
    /** the one that was asked for; else all of the pod's */
    readonly address?: string;
  }
  | { readonly kind: "service"; readonly service: ServiceModel }
  | { readonly kind: "node"; readonly node: string }
  | { readonly kind: "address"; readonly address: string }
  | { readonly kind: "outside" };

/** A party and what should be said about how it was found. */
export interface Found {
  readonly party: Party;
  readonly notes: readonly string[];
}

/** Checks the words of a query. */
export function parseExplainQuery(words: Readonly<Record<string, string>>): ExplainQuery {
  const { from, to } = words;
  if (!from) throw new UsageError('Cannot explain without "from": say who connects');
  if (!to) throw new UsageError('Cannot explain without "to": say who is connected to');
  const protocol = (words["protocol"] ?? "TCP").toUpperCase();
  if (protocol !== "TCP" && protocol !== "UDP" && protocol !== "ICMP") {
    throw new UsageError(`"protocol" must be TCP, UDP or ICMP: current value is "${protocol}"`);
  }
  const text = words["port"] ?? (protocol === "ICMP" ? "0" : "");
  const port = Number(text);
  if (text === "") {
    throw new UsageError('Cannot explain without "port": say which one is dialled (--port 80)');
  }
  if (!/^\d+$/.test(text) || port > 65535 || (port === 0 && protocol !== "ICMP")) {
    throw new UsageError(`"port" must be between 1 and 65535: current value is "${text}"`);
  }
  return { from, to, port, protocol };
}

/** Who connects. */
export function findSource(state: State, text: string): Found {
  if (text === "outside") return { party: { kind: "outside" }, notes: [] };
  if (text === "node") return { party: { kind: "node", node: state.config.node }, notes: [] };
  if (text.startsWith("node/")) return { party: findNode(state, text.slice(5)), notes: [] };
  const address = canonicalAddress(text);
  if (address !== undefined) return { party: partyAt(state, address), notes: [] };
  return findPod(state, keyFrom(text)) ?? notFound(`pod "${keyFrom(text)}"`, state, text);
}

/** Who is connected to. A pod comes before a Service of the same name. */
export function findTarget(state: State, text: string): Found {
  const address = canonicalAddress(text);
  if (address !== undefined) {
    const service = serviceAt(state, address);
    return { party: service ?? partyAt(state, address), notes: [] };
  }
  if (text.startsWith("node/")) return { party: findNode(state, text.slice(5)), notes: [] };
  const [, prefix, rest] = /^(pod|svc|service)\/(.*)$/.exec(text) ?? [];
  const key = keyFrom(rest ?? text);
  const service = state.services.get(key);
  const found = prefix === "svc" || prefix === "service" ? undefined : findPod(state, key);
  const exact = found?.party.kind === "pod" && found.party.workload.key === key;
  if (service !== undefined && prefix !== "pod" && !exact) {
    return { party: { kind: "service", service }, notes: [] };
  }
  if (found === undefined) return notFound(`pod or Service "${key}"`, state, text);
  const both = service !== undefined && prefix === undefined;
  const note = `"${key}" is a pod and a Service; this is about the pod (the Service: svc/${key})`;
  return both ? { ...found, notes: [...found.notes, note] } : found;
}

/** Whose an address is. */
export function partyAt(state: State, address: string): Party {
  const owner = state.owners.get(address);
  if (owner?.kind === "pod") return { kind: "pod", workload: owner.workload, address };
  if (owner?.kind === "node") return { kind: "node", node: owner.node };
  return { kind: "address", address };
}

/** A name without a namespace is one of "default". */
function keyFrom(text: string): string {
  return text.includes("/") ? text : `default/${text}`;
}

/** A pod by its name, or one of those that a Deployment of the name has made. */
function findPod(state: State, key: string): Found | undefined {
  const exact = state.workloads.get(key);
  if (exact !== undefined) return { party: { kind: "pod", workload: exact }, notes: [] };
  const made = [...state.workloads.values()]
    .filter((workload) => workload.live && workload.key.startsWith(`${key}-`));
  const [first] = made;
  if (first === undefined) return undefined;
  const note = made.length === 1
    ? `"${key}" names the pod "${first.key}"`
    : `"${key}" names ${made.length} pods; this is about "${first.key}"`;
  return { party: { kind: "pod", workload: first }, notes: [note] };
}

function findNode(state: State, name: string): Party {
  if (!state.nodes.has(name)) return notFound(`node "${name}"`, state, name);
  return { kind: "node", node: name };
}

function serviceAt(state: State, address: string): Party | undefined {
  for (const service of state.services.values()) {
    if (service.clusterIps.includes(address)) return { kind: "service", service };
  }
  return undefined;
}

/** Names what is near. */
function notFound(object: string, state: State, text: string): never {
  const name = text.slice(text.lastIndexOf("/") + 1);
  const near = [...state.workloads.keys(), ...state.services.keys()]
    .filter((key) => key.endsWith(`/${name}`) || key.includes(`/${name}-`)).slice(0, 3);
  const suggestion = near.length > 0
    ? `; there is ${near.map((key) => `"${key}"`).join(", ")}`
    : "";
  throw new NotFoundError(`Cannot find ${object}${suggestion}`, { object });
}
