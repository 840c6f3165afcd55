/**
 * What a network policy says, after it was read, checked and filled in: plain data, the same for
 * CiliumNetworkPolicy (CNP), CiliumClusterwideNetworkPolicy (CCNP) and Kubernetes' NetworkPolicy
 * (KNP). `src/watch/policies/` makes it; the reference evaluator and the compiler read it. Each
 * field names the section of SEMANTICS.md that gives it its meaning.
 *
 * How it is read, for one flow and one direction at one end:
 * 1. The specs whose `subject` selects the end count; the others do not exist for it (B.1).
 * 2. A deny rule whose peers and ports match: denied, whatever else there is (B.3).
 * 3. Allow rules are a union (B.3): one without a Layer 7 part lets everything pass; of those with
 *    one it is enough that any admits the payload.
 * 4. Nothing allows: denied if any selecting spec has `defaultDeny` for the direction, else allowed
 *    (B.2). The flow must be allowed at both ends, egress of its source first.
 *
 * Invariant: nothing is left to be defaulted or scoped by the reader. Namespaces, clusters and
 * sources are written into the selectors (B.5, B.6), protocols are spelt out (B.9), the difference
 * between "absent" and "empty" is in `peers` (B.4), a KNP has `defaultDeny` for its policyTypes
 * (B.15), and rules whose spec denies nothing by default carry the Layer 7 rule that matches all
 * (D.3).
 *
 * @module
 */

import type { Cidr } from "../address.ts";
import type { FieldPath } from "../change.ts";
import type { Labels } from "../selector.ts";
import type { Entity } from "./entity.ts";
import type { LabelSelector } from "./label_selector.ts";
import type { NamePattern } from "./name_pattern.ts";

/** As the API names them. */
export type PolicyKind =
  | "CiliumNetworkPolicy"
  | "CiliumClusterwideNetworkPolicy"
  | "NetworkPolicy";

/** Seen from the subject. */
export type Direction = "ingress" | "egress";

/** One policy object. */
export interface NetworkPolicyObject {
  readonly kind: PolicyKind;
  /** Empty for a CCNP. */
  readonly namespace: string;
  readonly name: string;
  /** `spec`, then `specs` in order (B.6.7). A KNP has one. */
  readonly specs: readonly PolicySpec[];
  /** Where it was written. */
  readonly file: string | undefined;
}

/** One `spec`, or one entry of `specs`. */
export interface PolicySpec {
  /** `["spec"]`, `["specs", 2]`; `formatPath` makes text of it. */
  readonly path: FieldPath;
  readonly subject: Subject;
  /** Whether what no rule allows is denied, by direction (B.2, B.15). */
  readonly defaultDeny: Readonly<Record<Direction, boolean>>;
  readonly rules: readonly Rule[];
}

/** Whose traffic a spec governs. */
export type Subject =
  /** Pods (and other endpoints that are not the host) with these labels (B.6.1, B.6.3). */
  | { readonly kind: "endpoint"; readonly selector: LabelSelector }
  /** The host endpoint of the nodes with these labels, of source `k8s` (B.6.6). CCNP only. */
  | { readonly kind: "node"; readonly selector: LabelSelector };

/** One entry of `ingress`, `ingressDeny`, `egress` or `egressDeny`. Peers and ports are ANDed. */
export interface Rule {
  /** `["specs", 2, "egress", 1]` */
  readonly path: FieldPath;
  /** In the file, from 1; where it is known. */
  readonly line: number | undefined;
  readonly direction: Direction;
  readonly action: "allow" | "deny";
  /** `any`: whoever it is, world and host too. Empty: nobody, ever (B.4). */
  readonly peers: "any" | readonly Peer[];
  /** `any`: all ports of all protocols, ICMP too. Else alternatives, never empty (B.4, B.9). */
  readonly ports: "any" | readonly PortClause[];
  /** Allow rules only; undefined: none is written (B.14, D.13). */
  readonly authentication: AuthenticationMode | undefined;
}

/** In order of strength. */
export const AUTHENTICATION_MODES = ["disabled", "required", "test-always-fail"] as const;

/** What a rule demands of the identity of its peer (D.13). */
export type AuthenticationMode = typeof AUTHENTICATION_MODES[number];

/** One alternative of a rule's peers: the source of ingress, the destination of egress. */
export type Peer =
  /** fromEndpoints, fromNodes, podSelector, namespaceSelector: labels of the identity (B.6). */
  | { readonly kind: "labels"; readonly selector: LabelSelector }
  | { readonly kind: "entity"; readonly entity: Entity }
  | CidrPeer
  | CidrGroupPeer
  | ServicePeer
  /** toFQDNs: addresses that the source was given for a name, no pod's or node's (B.12). */
  | { readonly kind: "name"; readonly pattern: NamePattern };

/** An address in `cidr` and in none of `except` (B.8). */
export interface CidrPeer {
  readonly kind: "cidr";
  readonly cidr: Cidr;
  readonly except: readonly Cidr[];
  /** `outside`: of nothing in the cluster (CNP). `everywhere`: of pods too (KNP ipBlock; D.1). */
  readonly scope: "outside" | "everywhere";
}

/**
 * Like `cidr`, for each range of the CiliumCIDRGroups; a group that is not there has none (B.8).
 */
export interface CidrGroupPeer {
  readonly kind: "cidr-group";
  /** By name, or by the labels of the groups. */
  readonly group: { readonly name: string } | { readonly selector: LabelSelector };
  readonly except: readonly Cidr[];
}

/**
 * What is behind Services (B.13): the pods that a Service's selector selects in its namespace, or,
 * without a selector, the addresses of its EndpointSlices, outside of the cluster. No such Service:
 * nobody (D.2).
 */
export interface ServicePeer {
  readonly kind: "service";
  /** Undefined: of every namespace. */
  readonly namespace: string | undefined;
  /** By name, or by the labels of the Services. */
  readonly service: { readonly name: string } | { readonly selector: LabelSelector };
}

/** Protocols of ports. For ICMP and ICMPv6 the "port" is the type of the message (B.10). */
export type Transport =
  | "TCP"
  | "UDP"
  | "SCTP"
  | "ICMP"
  | "ICMPv6"
  /** Whole protocols: they have no ports, and no flow of a query is one. */
  | "VRRP"
  | "IGMP"
  | "GRE"
  | "IPIP"
  | "IPV6"
  | "ESP"
  | "AH";

/** One entry of `toPorts`, or all of `icmps`. Several are ORed. */
export interface PortClause {
  /** `["spec", "ingress", 0, "toPorts", 1]` */
  readonly path: FieldPath;
  /** Alternatives; never empty. */
  readonly ports: readonly PortMatch[];
  /** Undefined in deny rules, and where any payload will do. */
  readonly layer7: Layer7 | undefined;
}

/** One alternative of ports. */
export type PortMatch = PortRange | NamedPortMatch;

/** Ports by number. */
export interface PortRange {
  readonly transport: Transport;
  /** All ports: 0 to 65,535. */
  readonly first: number;
  /** Inclusive. */
  readonly last: number;
}

/**
 * A port of this name of a container: of the subject for ingress, of each destination for egress.
 * Where there is none, this alternative does not exist, also in deny rules (B.9).
 */
export interface NamedPortMatch {
  readonly transport: Transport;
  /** In lower case. */
  readonly name: string;
}

/** Which proxy reads the connection (B.11, D.11). At most one may be asked for on a port. */
export type Parser =
  | "http"
  | "dns"
  /** Server names alone: gives way to http and to a listener. */
  | "tls"
  /** A listener of an Envoy configuration. */
  | "listener";

/** What the payload of the connection must be, besides the ports (B.11, B.12, D.12). */
export interface Layer7 {
  readonly parser: Parser;
  /** Alternatives; undefined: not looked at. Never empty. */
  readonly http: readonly HttpRule[] | undefined;
  /** Names that may be asked for; as above. */
  readonly dns: readonly NamePattern[] | undefined;
  /** Names in the TLS ClientHello; as above. */
  readonly serverNames: readonly NamePattern[] | undefined;
  readonly terminatingTls: TlsContext | undefined;
  readonly originatingTls: TlsContext | undefined;
  readonly listener: Listener | undefined;
}

/** One request must fulfil all of it. Regular expressions are RE2 and match in full (B.11). */
export interface HttpRule {
  readonly method: string | undefined;
  /** Of the path with its query. */
  readonly path: string | undefined;
  /** Of the authority, with its port. */
  readonly host: string | undefined;
  readonly headers: readonly HeaderMatch[];
}

/** One header. With neither value nor secret: it must be there. */
export interface HeaderMatch {
  /** In lower case. */
  readonly name: string;
  /** Exact. Where there is a secret: what counts if the secret cannot be found. */
  readonly value: string | undefined;
  /** Its only entry is the value. */
  readonly secret: SecretRef | undefined;
  /** What the proxy does about a mismatch; undefined: the request does not match. */
  readonly mismatch: MismatchAction | undefined;
}

/** What a proxy can do about a header with another value. */
export const MISMATCH_ACTIONS = ["LOG", "ADD", "DELETE", "REPLACE"] as const;

/** One of them: the request matches all the same. */
export type MismatchAction = typeof MISMATCH_ACTIONS[number];

/** Names a Secret. */
export interface SecretRef {
  readonly namespace: string;
  readonly name: string;
}

/** Keys and certificates of one side of a connection that the relay opens and closes. */
export interface TlsContext {
  readonly secret: SecretRef;
  /** Entries of the secret; undefined: the usual names. */
  readonly trustedCa: string | undefined;
  readonly certificate: string | undefined;
  readonly privateKey: string | undefined;
}

/** A listener of an Envoy configuration, which weft does not have (D.12). */
export interface Listener {
  readonly configKind: string | undefined;
  readonly configName: string;
  readonly name: string;
  readonly priority: number | undefined;
}

/** A CiliumCIDRGroup. */
export interface CidrGroupObject {
  readonly kind: "CiliumCIDRGroup";
  readonly name: string;
  readonly labels: Labels;
  readonly cidrs: readonly Cidr[];
}

/** A Secret that rules refer to. Its values are never printed. */
export interface SecretObject {
  readonly kind: "Secret";
  readonly namespace: string;
  readonly name: string;
  readonly entries: ReadonlyMap<string, Uint8Array>;
}
