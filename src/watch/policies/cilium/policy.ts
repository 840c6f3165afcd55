/**
 * A CiliumNetworkPolicy or CiliumClusterwideNetworkPolicy becomes rules. In: a document whose kind
 * and metadata are good. Out: the policy of the model; what is wrong with it goes to the context.
 * SEMANTICS B.1 to B.14.
 *
 * Invariant: all or nothing. One fault in one entry of `specs` refuses the whole object (B.6.7).
 *
 * @module
 */

import type { FieldPath } from "../../../model/mod.ts";
import type {
  Direction,
  NetworkPolicyObject,
  PolicySpec,
  PortClause,
  Rule,
  Subject,
} from "../../../model/network_policy/mod.ts";
import { faultsOf } from "../../fault.ts";
import type { PolicyContext } from "./context.ts";
import { icmpMatches } from "./icmp.ts";
import { layer7Of } from "./layer7.ts";
import { peersOf } from "./peers.ts";
import { portMatches } from "./ports.ts";
import { plainSelector, selectsInit, subjectSelector } from "./selectors.ts";
import { ciliumPolicy, type RuleShape, type SpecShape } from "./shapes.ts";

/** What is known before the document is read. */
export interface PolicyMetadata {
  readonly name: string;
  readonly file: string | undefined;
}

/** Reads a document. */
export function readCiliumPolicy(
  document: unknown,
  { name, file }: PolicyMetadata,
  context: PolicyContext,
): NetworkPolicyObject | undefined {
  const parsed = ciliumPolicy.safeParse(document);
  if (!parsed.success) {
    context.faults.push(...faultsOf(parsed.error, []));
    return undefined;
  }
  const { spec, specs } = parsed.data;
  const written: [FieldPath, SpecShape][] = [
    ...(spec ? [[["spec"], spec] as [FieldPath, SpecShape]] : []),
    ...(specs ?? []).map((one, index): [FieldPath, SpecShape] => [["specs", index], one]),
  ];
  if (written.length === 0) {
    context.faults.push({ path: ["spec"], reason: "is required, or specs is" });
  }
  return {
    kind: context.namespace === "" ? "CiliumClusterwideNetworkPolicy" : "CiliumNetworkPolicy",
    namespace: context.namespace,
    name,
    specs: written.flatMap(([path, shape]) => readSpec(shape, path, context) ?? []),
    file,
  };
}

const SECTIONS = [
  { field: "ingress", direction: "ingress", action: "allow" },
  { field: "ingressDeny", direction: "ingress", action: "deny" },
  { field: "egress", direction: "egress", action: "allow" },
  { field: "egressDeny", direction: "egress", action: "deny" },
] as const;

function readSpec(
  shape: SpecShape,
  path: FieldPath,
  context: PolicyContext,
): PolicySpec | undefined {
  const subject = readSubject(shape, path, context);
  if (subject === undefined) return undefined;
  const isFilled = (direction: Direction) =>
    SECTIONS.some((section) => section.direction === direction && shape[section.field]?.length);
  if (!isFilled("ingress") && !isFilled("egress")) {
    const reason = "must have at least one entry in ingress, ingressDeny, egress or egressDeny";
    context.faults.push({ path, reason });
  }
  const defaultDeny = {
    ingress: shape.enableDefaultDeny?.ingress ?? isFilled("ingress"),
    egress: shape.enableDefaultDeny?.egress ?? isFilled("egress"),
  };
  const ruleContext = {
    ...context,
    selectsInit: context.namespace === "" && selectsInit(subject.selector),
    isHost: subject.kind === "node",
  };
  const rules = SECTIONS.flatMap(({ field, direction, action }) =>
    (shape[field] ?? []).map((rule, index) =>
      readRule(rule as RuleShape, [...path, field, index], {
        ...ruleContext,
        direction,
        action,
        defaultDeny: defaultDeny[direction],
      })
    )
  );
  return { path, subject, defaultDeny, rules };
}

function readSubject(
  { endpointSelector, nodeSelector }: SpecShape,
  path: FieldPath,
  context: PolicyContext,
): Subject | undefined {
  if (endpointSelector && nodeSelector) {
    const reason = "cannot be combined with endpointSelector";
    context.faults.push({ path: [...path, "nodeSelector"], reason });
    return undefined;
  }
  if (endpointSelector) {
    const at = [...path, "endpointSelector"];
    return { kind: "endpoint", selector: subjectSelector(endpointSelector, at, context) };
  }
  const at = [...path, "nodeSelector"];
  if (!nodeSelector) {
    const reason = context.namespace === "" ? "is required, or nodeSelector is" : "is required";
    context.faults.push({ path: [...path, "endpointSelector"], reason });
    return undefined;
  }
  if (context.namespace !== "") {
    const reason = "is for CiliumClusterwideNetworkPolicy alone: a node belongs to no namespace";
    context.faults.push({ path: at, reason });
    return undefined;
  }
  return { kind: "node", selector: plainSelector(nodeSelector, at, context) };
}

type RuleContext = Parameters<typeof layer7Of>[2] & Parameters<typeof peersOf>[2] & {
  readonly action: Rule["action"];
};

function readRule(shape: RuleShape, path: FieldPath, context: RuleContext): Rule {
  const peers = peersOf(shape, path, context);
  const clauses = readPorts(shape, path, context);
  // Neither who nor where: it allows nothing, and only turns default deny on.
  const isBare = peers === "any" && clauses === "any";
  return {
    path,
    line: context.lineOf(path),
    direction: context.direction,
    action: context.action,
    peers: isBare || clauses.length === 0 ? [] : peers,
    ports: clauses.length === 0 ? "any" : clauses,
    authentication: shape.authentication?.mode,
  };
}

/** The alternatives; empty: of messages that nobody can send. */
function readPorts(
  shape: RuleShape,
  path: FieldPath,
  context: RuleContext,
): "any" | PortClause[] {
  const [entries, messages] = [shape.toPorts ?? [], shape.icmps ?? []];
  if (entries.length > 0 && messages.length > 0) {
    const reason = "cannot be combined with toPorts: write a rule for each";
    context.faults.push({ path: [...path, "icmps"], reason });
  }
  if (messages.length > 0) {
    const at = [...path, "icmps"];
    const ports = icmpMatches(messages, at, context);
    return ports.length === 0 ? [] : [{ path: at, ports, layer7: undefined }];
  }
  if (entries.length === 0) return "any";
  return entries.map((entry, index) => {
    const at = [...path, "toPorts", index];
    const ports = portMatches(entry.ports ?? [], [...at, "ports"], context);
    return { path: at, ports, layer7: layer7Of(entry, at, context) };
  });
}
