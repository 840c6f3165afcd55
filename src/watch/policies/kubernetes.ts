/**
 * A Kubernetes NetworkPolicy becomes rules. In: a document whose kind and metadata are good. Out:
 * the policy of the model, with the API server's defaults; what is wrong goes to the context.
 * SEMANTICS B.15, D.1.
 *
 * @module
 */

import { z } from "zod";
import {
  expressionFault,
  type FieldPath,
  labelKeyFault,
  labelValueFault,
} from "../../model/mod.ts";
import {
  type Direction,
  K8S,
  type LabelSelector,
  NAMESPACE_KEY,
  NAMESPACE_LABELS_PREFIX,
  type NetworkPolicyObject,
  type Peer,
  type PortMatch,
  type Requirement,
  type Rule,
} from "../../model/network_policy/mod.ts";
import { faultsOf } from "../fault.ts";
import type { PolicyContext } from "./cilium/context.ts";
import { cidrOf, exceptOf } from "./cilium/peers.ts";
import type { PolicyMetadata } from "./cilium/policy.ts";
import { ALL_PORTS, isPortName } from "./cilium/ports.ts";
import { selector, type SelectorShape } from "./cilium/shapes.ts";

/** Reads a document. */
export function readKubernetesPolicy(
  document: unknown,
  { name, file }: PolicyMetadata,
  context: PolicyContext,
): NetworkPolicyObject | undefined {
  const parsed = networkPolicy.safeParse(document);
  if (!parsed.success) {
    context.faults.push(...faultsOf(parsed.error, []));
    return undefined;
  }
  const { spec } = parsed.data;
  const subject = selectorOf(spec.podSelector ?? {}, ["spec", "podSelector"], "", context);
  const types = spec.policyTypes?.length
    ? spec.policyTypes
    : spec.egress?.length
    ? ["Ingress", "Egress"]
    : ["Ingress"];
  const defaultDeny = { ingress: types.includes("Ingress"), egress: types.includes("Egress") };
  const ingress = (spec.ingress ?? []).map(({ from, ports }, index) =>
    readRule({ peers: from, ports, field: "from" }, "ingress", index, context)
  );
  const egress = (spec.egress ?? []).map(({ to, ports }, index) =>
    readRule({ peers: to, ports, field: "to" }, "egress", index, context)
  );
  return {
    kind: "NetworkPolicy",
    namespace: context.namespace,
    name,
    specs: [{
      path: ["spec"],
      subject: {
        kind: "endpoint",
        selector: { requirements: [...subject, inNamespace(context.namespace)] },
      },
      defaultDeny,
      // Rules of a direction that the policy is not for say nothing.
      rules: [...ingress, ...egress].filter(({ direction }) => defaultDeny[direction]),
    }],
    file,
  };
}

const peer = z.strictObject({
  podSelector: selector.nullish(),
  namespaceSelector: selector.nullish(),
  ipBlock: z.strictObject({ cidr: z.string(), except: z.array(z.string()).nullish() }).nullish(),
});
type PeerShape = z.output<typeof peer>;

const port = z.strictObject({
  port: z.union([z.int(), z.string()]).nullish(),
  endPort: z.int().min(1).max(65535).nullish(),
  protocol: z.enum(["TCP", "UDP", "SCTP"]).nullish(),
});
type PortShape = z.output<typeof port>;

const ports = z.array(port).nullish();

const networkPolicy = z.strictObject({
  apiVersion: z.string(),
  kind: z.string(),
  metadata: z.unknown().optional(),
  spec: z.strictObject({
    podSelector: selector.nullish(),
    policyTypes: z.array(z.enum(["Ingress", "Egress"])).max(2).nullish(),
    ingress: z.array(z.strictObject({ from: z.array(peer).nullish(), ports })).nullish(),
    egress: z.array(z.strictObject({ to: z.array(peer).nullish(), ports })).nullish(),
  }),
  status: z.unknown().optional(),
});

interface RuleParts {
  readonly peers: readonly PeerShape[] | null | undefined;
  readonly ports: readonly PortShape[] | null | undefined;
  readonly field: "from" | "to";
}

function readRule(
  parts: RuleParts,
  direction: Direction,
  index: number,
  context: PolicyContext,
): Rule {
  const path = ["spec", direction, index];
  const peers = (parts.peers ?? []).map((shape, at) =>
    readPeer(shape, [...path, parts.field, at], context)
  );
  const matches = (parts.ports ?? []).flatMap((shape, at) =>
    readPort(shape, [...path, "ports", at], context)
  );
  return {
    path,
    line: context.lineOf(path),
    direction,
    action: "allow",
    // Absent and empty are the same here: everybody.
    peers: peers.length === 0 ? "any" : peers.flat(),
    ports: matches.length === 0
      ? "any"
      : [{ path: [...path, "ports"], ports: matches, layer7: undefined }],
    authentication: undefined,
  };
}

function readPeer(shape: PeerShape, path: FieldPath, context: PolicyContext): Peer[] {
  const { podSelector, namespaceSelector, ipBlock } = shape;
  if (ipBlock) {
    if (podSelector || namespaceSelector) {
      const reason = "cannot be combined with podSelector or namespaceSelector";
      context.faults.push({ path: [...path, "ipBlock"], reason });
    }
    const { faults } = context;
    const cidr = cidrOf(ipBlock.cidr, [...path, "ipBlock", "cidr"], { bare: false, faults });
    const except = exceptOf(ipBlock.except ?? [], cidr, [...path, "ipBlock", "except"], faults);
    return cidr === undefined ? [] : [{ kind: "cidr", cidr, except, scope: "everywhere" }];
  }
  if (!podSelector && !namespaceSelector) {
    const reason = "must have a podSelector, a namespaceSelector or an ipBlock";
    context.faults.push({ path, reason });
    return [];
  }
  const pods = selectorOf(podSelector ?? {}, [...path, "podSelector"], "", context);
  const at = [...path, "namespaceSelector"];
  const namespaces: Requirement[] = namespaceSelector
    ? [
      ...selectorOf(namespaceSelector, at, NAMESPACE_LABELS_PREFIX, context),
      // Pods alone have a namespace: the world does not match, whatever is negated.
      { source: K8S, key: NAMESPACE_KEY, operator: "Exists", values: [] },
    ]
    : [inNamespace(context.namespace)];
  return [{ kind: "labels", selector: { requirements: [...pods, ...namespaces] } }];
}

function readPort(shape: PortShape, path: FieldPath, context: PolicyContext): PortMatch[] {
  const transport = shape.protocol ?? "TCP";
  const { port, endPort } = shape;
  const fail = (field: string, reason: string): [] => {
    context.faults.push({ path: [...path, field], reason });
    return [];
  };
  if (endPort && typeof port !== "number") return fail("endPort", "needs a port with a number");
  if (port === undefined || port === null) return [{ transport, ...ALL_PORTS }];
  if (typeof port === "string") {
    if (isPortName(port) && port === port.toLowerCase()) return [{ transport, name: port }];
    return fail("port", `must be a number or a port's name: current value is "${port}"`);
  }
  if (port < 1 || port > 65535) return fail("port", `must be 1 to 65535: current value is ${port}`);
  if (endPort && endPort < port) {
    return fail("endPort", `must be at least the port, ${port}: current value is ${endPort}`);
  }
  return [{ transport, first: port, last: endPort ?? port }];
}

/** All keys are of source k8s; `prefix` stands in front of each. */
function selectorOf(
  shape: SelectorShape,
  path: FieldPath,
  prefix: string,
  { faults }: PolicyContext,
): LabelSelector["requirements"] {
  const expressions = [
    ...Object.entries(shape.matchLabels ?? {}).map(([key, value]) => ({
      at: [...path, "matchLabels", key],
      expression: { key, operator: "In" as const, values: [value] },
    })),
    ...(shape.matchExpressions ?? []).map(({ key, operator, values }, index) => ({
      at: [...path, "matchExpressions", index],
      expression: { key, operator, values: values ?? [] },
    })),
  ];
  return expressions.map(({ at, expression }) => {
    const { key, operator, values } = expression;
    const reasons = [
      labelKeyFault(key),
      expressionFault(expression),
      ...values.map(labelValueFault),
    ];
    for (const reason of reasons) if (reason !== undefined) faults.push({ path: at, reason });
    return { source: K8S, key: `${prefix}${key}`, operator, values };
  });
}

function inNamespace(namespace: string): Requirement {
  return { source: K8S, key: NAMESPACE_KEY, operator: "In", values: [namespace] };
}
