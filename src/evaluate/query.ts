/**
 * What is asked about a connection, and what is answered. In: a JSON value. Out: a query, or what
 * keeps it from being one.
 *
 * Invariant: of a query nothing is guessed. What is not exactly one of the known forms is refused;
 * only fields that no query has are left to the caller (`strangers`).
 *
 * @module
 */

import { z } from "zod";
import { formatPath, parseAddress } from "../model/mod.ts";

/** The first packet of a new connection, after Service translation; or its payload. */
export interface Query {
  readonly from: End;
  readonly to: End;
  readonly transport: "TCP" | "UDP" | "SCTP" | "ICMP" | "ICMPv6";
  /** For ICMP the type of the message. */
  readonly port: number;
  /** Of ICMP. */
  readonly family: "IPv4" | "IPv6" | undefined;
  readonly payload: Payload | undefined;
  /** The flow is mutual TLS between authenticated identities. */
  readonly authenticated: boolean;
}

/** Who is at one end. */
export type End =
  /** `ns/name` */
  | { readonly kind: "pod"; readonly key: string }
  /** `name`: what the source was given the address for. */
  | { readonly kind: "ip"; readonly address: string; readonly name: string | undefined }
  | { readonly kind: "entity"; readonly entity: ReservedEntity }
  | { readonly kind: "labels"; readonly labels: readonly string[] };

/** Entities that are one identity each. */
export const RESERVED_ENTITIES = [
  "host",
  "remote-node",
  "world",
  "init",
  "health",
  "unmanaged",
  "ingress",
  "kube-apiserver",
  "none",
] as const;

/** The name of such an entity. */
export type ReservedEntity = typeof RESERVED_ENTITIES[number];

/** What is sent over the connection, as far as policies look at it. */
export type Payload =
  | { readonly kind: "http"; readonly request: HttpRequest }
  | { readonly kind: "dns"; readonly name: string }
  | { readonly kind: "tls"; readonly serverName: string };

/** A request, as it is sent; what is absent is empty. */
export interface HttpRequest {
  readonly method: string;
  readonly path: string;
  readonly host: string;
  /** By name in lower case. */
  readonly headers: ReadonlyMap<string, string>;
}

/** The verdict, or why there is none. */
export type Answer =
  | { readonly verdict: "allow"; readonly rule?: RuleName }
  | Denial
  | { readonly error: string };

/** A verdict against the connection or its payload. */
export interface Denial {
  readonly verdict: "deny";
  readonly direction: "egress" | "ingress";
  readonly reason: DenyReason;
  /** Of `http-denied`. */
  readonly httpStatus?: 403;
  /** Of `dns-denied`. */
  readonly dnsRcode?: "REFUSED";
  /** Of `policy-denied`. */
  readonly rule?: RuleName;
}

/** Why a connection or its payload is denied. */
export type DenyReason =
  /** A deny rule matched. */
  | "policy-denied"
  /** No rule allows, and default deny is on. */
  | "default-deny"
  | "auth-required"
  | "http-denied"
  | "dns-denied"
  | "sni-denied"
  /** Two Layer 7 parsers on one port. */
  | "policy-conflict"
  /** A rule with a Layer 7 part might allow it, and nothing reads that part. */
  | "l7-unavailable";

/** Names the rule that decided. */
export interface RuleName {
  readonly kind: string;
  /** Empty for a policy of the whole cluster. */
  readonly namespace: string;
  readonly name: string;
  /** `spec.ingressDeny[0]` */
  readonly path: string;
}

/** A query, or what keeps a value from being one. */
export type QueryResult =
  | { readonly ok: true; readonly query: Query; readonly strangers: readonly string[] }
  | { readonly ok: false; readonly error: string };

/** Reads a query. */
export function parseQuery(value: unknown): QueryResult {
  const parsed = query.safeParse(value);
  if (!parsed.success) return { ok: false, error: faultOf(parsed.error) };
  const { from, to, protocol, port, icmp, http, dns, tls, authenticated, ...rest } = parsed.data;
  const fail = (error: string): QueryResult => ({ ok: false, error });
  if ("ip" in from && from.fqdn !== undefined) return fail('"from" cannot have an fqdn');
  const payloads: Payload[] = [];
  if (http !== undefined) payloads.push({ kind: "http", request: requestOf(http) });
  if (dns !== undefined) payloads.push({ kind: "dns", name: dns.name });
  if (tls !== undefined) payloads.push({ kind: "tls", serverName: tls.serverName });
  if (payloads.length > 1) return fail("must have at most one of http, dns and tls");
  const place = placeOf(protocol, port, icmp);
  if (typeof place === "string") return fail(place);
  const query_: Query = {
    from: endOf(from),
    to: endOf(to),
    ...place,
    payload: payloads[0],
    authenticated: authenticated ?? false,
  };
  return { ok: true, query: query_, strangers: Object.keys(rest) };
}

const end = z.union([
  z.strictObject({ pod: z.string().regex(/^[^/]+\/[^/]+$/, 'must be "namespace/name"') }),
  z.strictObject({
    ip: z.string().refine((text) => parseAddress(text) !== undefined, "must be an IP address"),
    fqdn: z.string().min(1).optional(),
  }),
  z.strictObject({ entity: z.enum(RESERVED_ENTITIES) }),
  z.strictObject({ labels: z.array(z.string().min(1)) }),
], { error: "must be exactly one of pod, ip, entity and labels" });
type EndShape = z.output<typeof end>;

const http = z.strictObject({
  method: z.string().optional(),
  path: z.string().optional(),
  host: z.string().optional(),
  headers: z.record(z.string(), z.string()).optional(),
});

const icmp = z.strictObject({
  family: z.enum(["IPv4", "IPv6"]),
  type: z.int().min(0).max(255),
});

const query = z.looseObject({
  from: end,
  to: end,
  protocol: z.enum(["TCP", "UDP", "SCTP", "ICMP", "ICMPv6"]),
  port: z.int().min(0).max(65535).optional(),
  icmp: icmp.optional(),
  http: http.optional(),
  dns: z.strictObject({ name: z.string() }).optional(),
  tls: z.strictObject({ serverName: z.string() }).optional(),
  authenticated: z.boolean().optional(),
});

type Place = Pick<Query, "transport" | "port" | "family">;

/** The protocol with its port or message, or what is wrong with them. */
function placeOf(
  protocol: Query["transport"],
  port: number | undefined,
  message: z.output<typeof icmp> | undefined,
): Place | string {
  if (protocol !== "ICMP" && protocol !== "ICMPv6") {
    if (message !== undefined) return `icmp is not for ${protocol}`;
    return port === undefined
      ? "port is required"
      : { transport: protocol, port, family: undefined };
  }
  if (message === undefined) return `icmp is required for ${protocol}`;
  if (port !== undefined) return `port is not for ${protocol}`;
  const { family, type } = message;
  if ((protocol === "ICMP") !== (family === "IPv4")) return `${protocol} is not of ${family}`;
  return { transport: protocol, port: type, family };
}

function endOf(shape: EndShape): End {
  if ("pod" in shape) return { kind: "pod", key: shape.pod };
  if ("ip" in shape) return { kind: "ip", address: shape.ip, name: shape.fqdn };
  if ("entity" in shape) return { kind: "entity", entity: shape.entity };
  return { kind: "labels", labels: shape.labels };
}

function requestOf({ method, path, host, headers }: z.output<typeof http>): HttpRequest {
  return {
    method: method ?? "",
    path: path ?? "",
    host: host ?? "",
    headers: new Map(
      Object.entries(headers ?? {}).map(([name, value]) => [name.toLowerCase(), value]),
    ),
  };
}

function faultOf(error: z.ZodError): string {
  const [issue] = error.issues;
  if (issue === undefined) return "is no query";
  const path = formatPath(issue.path.map((part) => typeof part === "symbol" ? "?" : part));
  return path === "" ? issue.message : `${path}: ${issue.message}`;
}
