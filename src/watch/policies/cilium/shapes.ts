/**
 * The shapes of CiliumNetworkPolicy and CiliumClusterwideNetworkPolicy, after Cilium's CRDs. In: a
 * parsed document. Out: its fields with their types. What one field means for another is checked by
 * the files beside this one.
 *
 * Invariant: a field that is not known is an error, and one that Cilium has removed says so by
 * name: dropped in silence, it would leave open what its author has closed. `null` means absent, as
 * in the API; a list that is absent and one that is empty stay different (SEMANTICS B.4).
 *
 * @module
 */

import { z } from "zod";
import {
  AUTHENTICATION_MODES,
  ENTITIES,
  MISMATCH_ACTIONS,
} from "../../../model/network_policy/mod.ts";
import { OPERATORS } from "../../../model/mod.ts";

/** A field that may not be there, with what its author should know. */
function refused(reason: string) {
  return z.unknown().optional().superRefine((value, context) => {
    if (value === undefined || value === null) return;
    context.addIssue({ code: "custom", message: reason });
  });
}

const REQUIRES =
  "was removed from Cilium (1.19): write the requirement into the endpoint selectors";
const GROUPS = "asks a cloud provider for addresses, which weft does not: use a CiliumCIDRGroup";
const PARSER = "was removed from Cilium: of the Layer 7 rules only http and dns are left";
const AUTH = "was removed from Cilium: write authentication.mode";
const DENY = "is not for deny rules, which end at Layer 4";

/** The shape of a label selector. */
export const selector = z.strictObject({
  matchLabels: z.record(z.string(), z.string()).nullish(),
  matchExpressions: z.array(z.strictObject({
    key: z.string(),
    operator: z.enum(OPERATORS),
    values: z.array(z.string()).nullish(),
  })).nullish(),
});
/** A label selector. */
export type SelectorShape = z.output<typeof selector>;

const cidrRule = z.strictObject({
  cidr: z.string().nullish(),
  cidrGroupRef: z.string().min(1).max(253).nullish(),
  cidrGroupSelector: selector.nullish(),
  except: z.array(z.string()).nullish(),
});
/** An entry of fromCIDRSet or toCIDRSet. */
export type CidrRuleShape = z.output<typeof cidrRule>;

const service = z.strictObject({
  k8sService: z.strictObject({
    serviceName: z.string().min(1),
    namespace: z.string().nullish(),
  }).nullish(),
  k8sServiceSelector: z.strictObject({ selector, namespace: z.string().nullish() }).nullish(),
}).refine(({ k8sService, k8sServiceSelector }) => k8sService ?? k8sServiceSelector, {
  error: "must have k8sService or k8sServiceSelector",
});
/** An entry of toServices. */
export type ServiceShape = z.output<typeof service>;

/** `^([-a-zA-Z0-9_]+[.]?)+$` of the CRD, written without its exponential backtracking. */
const name = z.string().max(255).regex(
  /^[-a-zA-Z0-9_]+([.][-a-zA-Z0-9_]+)*[.]?$/,
  "must be a DNS name of letters, digits, hyphens and underscores",
);
const pattern = z.string().max(255).regex(
  /^[-a-zA-Z0-9_*]+([.][-a-zA-Z0-9_*]+)*[.]?$/,
  'must be a DNS name in which "*" may stand for characters',
);

const nameSelector = z.strictObject({
  matchName: name.nullish(),
  matchPattern: pattern.nullish(),
}).refine(({ matchName, matchPattern }) => Boolean(matchName) !== Boolean(matchPattern), {
  error: "must have exactly one of matchName and matchPattern",
});
/** An entry of toFQDNs or of DNS rules. */
export type NameSelectorShape = z.output<typeof nameSelector>;

const icmpRule = z.strictObject({
  fields: z.array(z.strictObject({
    family: z.enum(["IPv4", "IPv6"]).nullish(),
    type: z.union([z.int(), z.string()]),
  })).max(40).nullish(),
});
/** An entry of icmps. */
export type IcmpRuleShape = z.output<typeof icmpRule>;

const PROTOCOLS = [
  "TCP",
  "UDP",
  "SCTP",
  "ICMP",
  "ICMPV6",
  "VRRP",
  "IGMP",
  "GRE",
  "IPIP",
  "IPV6",
  "ESP",
  "AH",
  "ANY",
] as const;

const port = z.strictObject({
  port: z.string().nullish(),
  endPort: z.int().min(0).max(65535).nullish(),
  protocol: z.enum(PROTOCOLS).nullish(),
});
/** An entry of ports. */
export type PortShape = z.output<typeof port>;

const ports = z.array(port).max(40).nullish();

const secret = z.strictObject({ name: z.string().min(1), namespace: z.string().nullish() });

const tls = z.strictObject({
  secret,
  certificate: z.string().nullish(),
  privateKey: z.string().nullish(),
  trustedCA: z.string().nullish(),
});
/** A TLS context. */
export type TlsShape = z.output<typeof tls>;

const httpRule = z.strictObject({
  method: z.string().nullish(),
  path: z.string().nullish(),
  host: z.string().nullish(),
  headers: z.array(z.string()).nullish(),
  headerMatches: z.array(z.strictObject({
    name: z.string().min(1),
    value: z.string().nullish(),
    secret: secret.nullish(),
    mismatch: z.enum(MISMATCH_ACTIONS).nullish(),
  })).nullish(),
});
/** An HTTP rule. */
export type HttpRuleShape = z.output<typeof httpRule>;

const portRule = z.strictObject({
  ports,
  rules: z.strictObject({
    http: z.array(httpRule).nullish(),
    dns: z.array(nameSelector).nullish(),
    kafka: refused(PARSER),
    l7proto: refused(PARSER),
    l7: refused(PARSER),
  }).nullish(),
  serverNames: z.array(pattern).min(1).nullish(),
  terminatingTLS: tls.nullish(),
  originatingTLS: tls.nullish(),
  listener: z.strictObject({
    envoyConfig: z.strictObject({
      kind: z.enum(["CiliumEnvoyConfig", "CiliumClusterwideEnvoyConfig"]).nullish(),
      name: z.string().min(1),
    }),
    name: z.string().min(1),
    priority: z.int().min(1).max(100).nullish(),
  }).nullish(),
});
/** An entry of toPorts. */
export type PortRuleShape = z.output<typeof portRule>;

const portDenyRule = z.strictObject({
  ports,
  rules: refused(DENY),
  serverNames: refused(DENY),
  terminatingTLS: refused(DENY),
  originatingTLS: refused(DENY),
  listener: refused(DENY),
});

const common = { icmps: z.array(icmpRule).nullish(), auth: refused(AUTH) };

const allow = {
  toPorts: z.array(portRule).nullish(),
  authentication: z.strictObject({ mode: z.enum(AUTHENTICATION_MODES) }).nullish(),
};

const deny = { toPorts: z.array(portDenyRule).nullish(), authentication: refused(DENY) };

const ingress = {
  fromEndpoints: z.array(selector).nullish(),
  fromNodes: z.array(selector).nullish(),
  fromEntities: z.array(z.enum(ENTITIES)).nullish(),
  fromCIDR: z.array(z.string()).nullish(),
  fromCIDRSet: z.array(cidrRule).nullish(),
  fromGroups: refused(GROUPS),
  fromRequires: refused(REQUIRES),
};

const egress = {
  toEndpoints: z.array(selector).nullish(),
  toNodes: z.array(selector).nullish(),
  toEntities: z.array(z.enum(ENTITIES)).nullish(),
  toCIDR: z.array(z.string()).nullish(),
  toCIDRSet: z.array(cidrRule).nullish(),
  toServices: z.array(service).nullish(),
  toGroups: refused(GROUPS),
  toRequires: refused(REQUIRES),
};

const spec = z.strictObject({
  description: z.string().nullish(),
  labels: z.array(z.strictObject({
    key: z.string(),
    source: z.string().nullish(),
    value: z.string().nullish(),
  })).nullish(),
  log: z.strictObject({ value: z.string().max(32).nullish() }).nullish(),
  endpointSelector: selector.nullish(),
  nodeSelector: selector.nullish(),
  enableDefaultDeny: z.strictObject({
    ingress: z.boolean().nullish(),
    egress: z.boolean().nullish(),
  }).nullish(),
  ingress: z.array(z.strictObject({ ...common, ...allow, ...ingress })).nullish(),
  ingressDeny: z.array(z.strictObject({ ...common, ...deny, ...ingress })).nullish(),
  egress: z.array(z.strictObject({
    ...common,
    ...allow,
    ...egress,
    toFQDNs: z.array(nameSelector).nullish(),
  })).nullish(),
  egressDeny: z.array(z.strictObject({ ...common, ...deny, ...egress, toFQDNs: refused(DENY) }))
    .nullish(),
});
/** `spec`, or an entry of `specs`. */
export type SpecShape = z.output<typeof spec>;

/** A whole document; `metadata` is looked at elsewhere. */
export const ciliumPolicy = z.strictObject({
  apiVersion: z.string(),
  kind: z.string(),
  metadata: z.unknown().optional(),
  spec: spec.nullish(),
  specs: z.array(spec).nullish(),
  status: z.unknown().optional(),
});

/** One entry of ingress, ingressDeny, egress or egressDeny, whichever it is. */
export type RuleShape =
  & Partial<Omit<NonNullable<SpecShape["ingress"]>[number], "toPorts" | "authentication">>
  & Partial<Omit<NonNullable<SpecShape["egress"]>[number], "toPorts" | "authentication">>
  & {
    readonly toPorts?: readonly PortRuleShape[] | null | undefined;
    readonly authentication?: { readonly mode: typeof AUTHENTICATION_MODES[number] } | null;
  };
