/**
 * The peer fields of one rule become its peers. In: `fromEndpoints`, `toCIDRSet` and the like. Out:
 * alternatives, `any`, or nobody. SEMANTICS B.4, B.6, B.8, B.12, B.13.
 *
 * @module
 */

import {
  type Cidr,
  cidrContains,
  type FieldPath,
  parseAddress,
  parseCidr,
} from "../../../model/mod.ts";
import {
  type CidrGroupPeer,
  type CidrPeer,
  exactName,
  type NamePattern,
  namePattern,
  type Peer,
  type ServicePeer,
} from "../../../model/network_policy/mod.ts";
import type { PolicyContext } from "./context.ts";
import { nodeSelector, peerSelector, plainSelector } from "./selectors.ts";
import type { CidrRuleShape, NameSelectorShape, RuleShape, ServiceShape } from "./shapes.ts";

/** Of the spec that the rule stands in. */
export type PeerContext = PolicyContext & { readonly selectsInit: boolean };

/** Reads the peers; `any` where no field says who. */
export function peersOf(rule: RuleShape, path: FieldPath, context: PeerContext): "any" | Peer[] {
  const fields = FIELDS.filter((field) => (rule[field] ?? null) !== null);
  const filled = fields.filter((field) => (rule[field]?.length ?? 0) > 0);
  const [first, second] = filled;
  if (first !== undefined && second !== undefined) {
    const reason = `cannot be combined with ${first}: write a rule for each`;
    context.faults.push({ path: [...path, second], reason });
  }
  if (fields.length === 0) return "any";
  // A list that is there and empty selects nobody, whatever else there is.
  if (filled.length < fields.length) return [];
  return filled.flatMap((field) => readField(rule, field, [...path, field], context));
}

/** Reads the patterns of toFQDNs and of DNS rules. */
export function nameOf({ matchName, matchPattern }: NameSelectorShape): NamePattern {
  return matchName ? exactName(matchName) : namePattern(matchPattern ?? "");
}

/** Reads an address range; `bare`: an address alone is one, too. */
export function cidrOf(
  text: string,
  path: FieldPath,
  { bare, faults }: { bare: boolean; faults: PolicyContext["faults"] },
): Cidr | undefined {
  const isBare = bare && parseAddress(text) !== undefined;
  const cidr = parseCidr(isBare ? `${text}/${text.includes(":") ? 128 : 32}` : text);
  if (cidr === undefined) {
    const wanted = bare ? "an address or a CIDR" : 'a CIDR such as "10.0.0.0/8"';
    faults.push({ path, reason: `must be ${wanted}: current value is "${text}"` });
  }
  return cidr;
}

/** Reads `except`, whose ranges must lie in `cidr`, where there is one. */
export function exceptOf(
  texts: readonly string[],
  cidr: Cidr | undefined,
  path: FieldPath,
  faults: PolicyContext["faults"],
): Cidr[] {
  return texts.flatMap((text, index) => {
    const except = cidrOf(text, [...path, index], { bare: false, faults });
    if (except === undefined) return [];
    if (cidr === undefined || (except.bits >= cidr.bits && cidrContains(cidr, except.bytes))) {
      return [except];
    }
    faults.push({ path: [...path, index], reason: `"${text}" does not lie in "${cidr.text}"` });
    return [];
  });
}

const FIELDS = [
  "fromEndpoints",
  "fromNodes",
  "fromEntities",
  "fromCIDR",
  "fromCIDRSet",
  "toEndpoints",
  "toNodes",
  "toEntities",
  "toCIDR",
  "toCIDRSet",
  "toServices",
  "toFQDNs",
] as const;

function readField(
  rule: RuleShape,
  field: typeof FIELDS[number],
  path: FieldPath,
  context: PeerContext,
): Peer[] {
  switch (field) {
    case "fromEndpoints":
    case "toEndpoints":
      return (rule[field] ?? []).map((shape, index) => ({
        kind: "labels",
        selector: peerSelector(shape, [...path, index], context),
      }));
    case "fromNodes":
    case "toNodes":
      return (rule[field] ?? []).map((shape, index) => ({
        kind: "labels",
        selector: nodeSelector(shape, [...path, index], context),
      }));
    case "fromEntities":
    case "toEntities":
      return (rule[field] ?? []).map((entity) => ({ kind: "entity", entity }));
    case "fromCIDR":
    case "toCIDR":
      return (rule[field] ?? []).flatMap((text, index) =>
        outside(cidrOf(text, [...path, index], { bare: true, faults: context.faults }), [])
      );
    case "fromCIDRSet":
    case "toCIDRSet":
      return (rule[field] ?? []).flatMap((shape, index) =>
        cidrRule(shape, [...path, index], context)
      );
    case "toServices":
      return (rule[field] ?? []).flatMap((shape, index) =>
        services(shape, [...path, index], context)
      );
    case "toFQDNs":
      return (rule[field] ?? []).map((shape) => ({ kind: "name", pattern: nameOf(shape) }));
  }
}

function outside(cidr: Cidr | undefined, except: readonly Cidr[]): CidrPeer[] {
  return cidr === undefined ? [] : [{ kind: "cidr", cidr, except, scope: "outside" }];
}

function cidrRule(
  shape: CidrRuleShape,
  path: FieldPath,
  context: PolicyContext,
): (CidrPeer | CidrGroupPeer)[] {
  const { faults } = context;
  const given = [shape.cidr, shape.cidrGroupRef, shape.cidrGroupSelector]
    .filter((field) => field !== undefined && field !== null);
  if (given.length !== 1) {
    const reason = "must have exactly one of cidr, cidrGroupRef and cidrGroupSelector";
    faults.push({ path, reason });
    return [];
  }
  const texts = shape.except ?? [];
  if (typeof shape.cidr === "string") {
    const cidr = cidrOf(shape.cidr, [...path, "cidr"], { bare: false, faults });
    return outside(cidr, exceptOf(texts, cidr, [...path, "except"], faults));
  }
  const except = exceptOf(texts, undefined, [...path, "except"], faults);
  const group = shape.cidrGroupRef ? { name: shape.cidrGroupRef } : {
    selector: plainSelector(
      shape.cidrGroupSelector ?? {},
      [...path, "cidrGroupSelector"],
      context,
    ),
  };
  return [{ kind: "cidr-group", group, except }];
}

function services(
  { k8sService, k8sServiceSelector }: ServiceShape,
  path: FieldPath,
  context: PolicyContext,
): ServicePeer[] {
  const peers: ServicePeer[] = [];
  if (k8sService) {
    const service = { name: k8sService.serviceName };
    peers.push({ kind: "service", namespace: k8sService.namespace || undefined, service });
  }
  if (k8sServiceSelector) {
    const at = [...path, "k8sServiceSelector", "selector"];
    const service = { selector: plainSelector(k8sServiceSelector.selector, at, context) };
    peers.push({ kind: "service", namespace: k8sServiceSelector.namespace || undefined, service });
  }
  return peers;
}
