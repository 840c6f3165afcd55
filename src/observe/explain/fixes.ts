/**
 * What would make it work. In come the refused way and the State, out go concrete things to do,
 * each enough on its own, with the place where it is to be written. Invariant: what is proposed is
 * judged by the same model (a test applies proposals and asks again); nothing proposes to switch
 * weft off.
 *
 * @module
 */
import {
  ENROLLED_LABEL,
  nameOf,
  type PolicyModel,
  portModeOf,
  type State,
  type Workload,
} from "../../model/mod.ts";
import { REASONS } from "../../reasons.ts";
import type { Path } from "./path.ts";
import type { ExplainQuery, Party } from "./query.ts";

/** One thing to do. */
export interface Fix {
  /** an imperative without its period */
  readonly sentence: string;
  readonly file?: string;
  /** from 1 */
  readonly line?: number;
  /** the field */
  readonly path?: string;
  /** what to type, where a command does it */
  readonly command?: string;
}

/** What would make a refused way work; the most likely wish first. */
export function fixesFor(
  state: State,
  source: Party,
  path: Path,
  query: ExplainQuery,
): readonly Fix[] {
  switch (path.reason) {
    case "mtls-required":
    case "not-tls":
      return [...clientFixes(state, source, path), ...serverFixes(state, path)];
    case "not-authenticated":
      return [{ sentence: "use TCP, which mutual TLS can carry" }, ...podModeFixes(state, path)];
    case "peer-not-ready":
      return peerFixes(state, path);
    case "address-conflict":
      return conflictFixes(state, path);
    case "unknown-identity":
      return [{
        sentence: `add the Pod that has ${path.target.pod === undefined ? query.to : query.from}` +
          " to the source, or correct its status.podIPs",
      }];
    case "none":
      return [];
    default:
      return [{ sentence: REASONS[path.reason].hint }];
  }
}

/** Why a Service has nobody to choose. */
export function serviceFixes(state: State, target: Party, query: ExplainQuery): readonly Fix[] {
  if (target.kind !== "service") return [];
  const { service } = target;
  const stored = state.objects.Service.get(service.key);
  const place = placeOf(stored?.origin, ["spec", "ports"]);
  if (!service.ports.some((port) => port.port === query.port)) {
    const ports = service.ports.map((port) => `${port.port}/${port.proto}`).join(", ");
    return [{
      sentence: ports === ""
        ? "give the Service ports; of an ExternalName, explain the name that it stands for"
        : `use a port that the Service has: ${ports}`,
      ...place,
      path: "spec.ports",
    }];
  }
  const selector = stored?.object.selector;
  if (selector === undefined) {
    return [{ sentence: "give the Service a selector, or write its EndpointSlices", ...place }];
  }
  const wanted = [...selector].map(([key, value]) => `${key}=${value}`).join(",");
  return [{
    sentence: `bring up a Ready pod with the labels ${wanted} in namespace ${service.namespace}`,
    ...placeOf(stored?.origin, ["spec", "selector"]),
    path: "spec.selector",
  }];
}

/** Give the client an identity. */
function clientFixes(state: State, source: Party, path: Path): Fix[] {
  if (source.kind === "outside" || source.kind === "address") {
    return [{
      sentence: "let the client speak TLS with a certificate for outsiders",
      command: "weft cert issue --external NAME --out DIR",
    }];
  }
  if (source.kind === "node" || (source.kind === "pod" && source.workload.hostNetwork)) {
    const node = state.nodes.get(path.stages.at(-1)?.node ?? "")?.name;
    return [{
      sentence: "connect from an enrolled pod on the pod network: processes of a node have no" +
        ` identity${node ? `, and only those of node ${node} are admitted` : ""}`,
    }];
  }
  if (source.kind !== "pod") return [];
  const { workload } = source;
  const unannounced = path.stages.find(({ stage, outcome }) =>
    stage === "connect" && outcome === "absent"
  );
  if (unannounced !== undefined && workload.enrolled) {
    return [{ sentence: `start the agent on node ${workload.node}`, command: "weft run" }];
  }
  return [...enrolFixes(state, workload), ownCertificateFix(state, workload)];
}

function enrolFixes(state: State, workload: Workload): Fix[] {
  const pod = state.objects.Pod.get(workload.key);
  const labels = ["metadata", "labels"];
  const label = pod?.object.labels.has(ENROLLED_LABEL) ? [...labels, ENROLLED_LABEL] : labels;
  const enrol: Fix = {
    sentence: `enrol the client: ${label.length > 2 ? "change" : "add"} the label` +
      ` ${ENROLLED_LABEL}: "true" ${label.length > 2 ? "of" : "to"} pod ${workload.key}`,
    ...placeOf(pod?.origin, label),
    path: "metadata.labels",
  };
  if (label.length > 2) return [enrol];
  const namespace = state.objects.Namespace.get(workload.namespace);
  return [enrol, {
    sentence: `or enrol all of namespace ${workload.namespace}: the same label on the Namespace`,
    ...placeOf(namespace?.origin, labels),
    ...(namespace && { path: "metadata.labels" }),
  }];
}

function ownCertificateFix(state: State, workload: Workload): Fix {
  const pod = state.objects.Pod.get(workload.key);
  return {
    sentence: 'or let it speak TLS itself: annotate mesh.cilium.io/own-certificate: "true", and',
    ...placeOf(pod?.origin, ["metadata", "annotations"]),
    path: "metadata.annotations",
    command: `weft cert issue --pod ${workload.key} --out DIR`,
  };
}

/** Let the server take plaintext on one port: all policies that say STRICT have to change. */
function serverFixes(state: State, path: Path): Fix[] {
  const server = serverOf(state, path);
  if (server === undefined) return [];
  const { port } = path.target;
  const strict = strictPolicies(state, server, port);
  const [first] = strict;
  if (first === undefined) {
    if (portModeOf(server, port).mode !== "STRICT") return [];
    return [{ sentence: "or start the agent with --default-mode=PERMISSIVE" }];
  }
  const { policy, index } = first;
  if (index < 0) {
    return [{
      sentence: `or accept plaintext on this port too: add {port: ${port}, mode: PERMISSIVE} to` +
        ` portOverrides of ${nameOf(policy.object)}${andOthers(strict)}`,
      ...placeOf(policy.origin, ["spec", "mtls"]),
      path: "spec.mtls.portOverrides",
    }];
  }
  return [{
    sentence: `or accept plaintext too: PERMISSIVE for port ${port} in ${nameOf(policy.object)}` +
      andOthers(strict),
    ...placeOf(policy.origin, ["spec", "mtls", "portOverrides", index, "mode"]),
    path: `spec.mtls.portOverrides[${index}].mode`,
  }];
}

/** Overrides are of TCP ports: what is not TCP has the mode of the whole pod. */
function podModeFixes(state: State, path: Path): Fix[] {
  const server = serverOf(state, path);
  const strict = server === undefined ? [] : strictPolicies(state, server, 0);
  const [first] = strict;
  if (first === undefined) return [];
  const { policy } = first;
  return [{
    sentence: "or accept what is not authenticated: PERMISSIVE in" +
      ` ${nameOf(policy.object)}${
        andOthers(strict)
      }, with STRICT for its TCP ports in portOverrides`,
    ...placeOf(policy.origin, ["spec", "mtls", "mode"]),
    path: "spec.mtls.mode",
  }];
}

function serverOf(state: State, path: Path): Workload | undefined {
  return path.target.pod === undefined ? undefined : state.workloads.get(path.target.pod);
}

interface StrictPolicy {
  readonly policy: PolicyModel;
  /** of the override for the port; -1: the policy's own mode */
  readonly index: number;
}

/** The strictest wins: all of these would have to change. */
function strictPolicies(state: State, server: Workload, port: number): StrictPolicy[] {
  return server.policies.flatMap((key) => {
    const policy = state.policies.get(key);
    if (policy === undefined) return [];
    const index = policy.object.overrides.findIndex((override) => override.port === port);
    const mode = policy.object.overrides[index]?.mode ?? policy.object.mode;
    return mode === "STRICT" ? [{ policy, index }] : [];
  });
}

function andOthers(strict: readonly StrictPolicy[]): string {
  const others = strict.slice(1).map(({ policy }) => `"${policy.key}"`).join(", ");
  return others === "" ? "" : ` and in ${others}, which say STRICT too`;
}

function peerFixes(state: State, path: Path): Fix[] {
  const server = serverOf(state, path);
  if (server === undefined) {
    return [{ sentence: `add the Pod that has ${path.target.address} to the source` }];
  }
  return [{
    sentence:
      `start the agent on node ${server.node || "(the pod is not scheduled)"}; it announces` +
      " itself when its datapath is in place",
    command: "weft run",
  }];
}

function conflictFixes(state: State, path: Path): Fix[] {
  const owner = state.owners.get(path.target.address);
  if (owner?.kind !== "conflict") return [{ sentence: REASONS["address-conflict"].hint }];
  return [{ sentence: `correct or delete the Pod that does not have it: ${owner.cause.sentence}` }];
}

/** File and line of a field, as far as they are known. */
function placeOf(
  origin:
    | { file?: string; lineOf?(path: readonly (string | number)[]): number | undefined }
    | undefined,
  field: readonly (string | number)[],
): { file?: string; line?: number } {
  const line = origin?.lineOf?.(field);
  return {
    ...(origin?.file !== undefined && { file: origin.file }),
    ...(line !== undefined && { line }),
  };
}
