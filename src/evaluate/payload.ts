/**
 * Whether a payload is one that the Layer 7 part of a rule admits. In: the part and the payload, or
 * none for the connection alone. Out: yes or no. SEMANTICS B.11, B.12, D.12.
 *
 * Each payload is judged by the fields that speak of it. A payload that the proxy of the port
 * cannot read is not admitted: HTTP sent to a DNS proxy, TLS to a proxy that was told to read HTTP.
 *
 * @module
 */

import {
  absoluteName,
  type HeaderMatch,
  type HttpRule,
  type Layer7,
  matchesName,
  matchesWhole,
  type SecretObject,
  type SecretRef,
} from "../model/network_policy/mod.ts";
import type { HttpRequest, Payload } from "./query.ts";

/** The payloads of one world: it knows the Secrets that rules refer to. */
export class Payloads {
  readonly #secrets = new Map<string, SecretObject>();

  constructor(secrets: readonly SecretObject[]) {
    for (const secret of secrets) this.#secrets.set(`${secret.namespace}/${secret.name}`, secret);
  }

  admits(layer7: Layer7 | undefined, payload: Payload | undefined): boolean {
    if (layer7 === undefined || payload === undefined) return true;
    const { http, dns, serverNames, terminatingTls } = layer7;
    const isDecrypted = terminatingTls !== undefined;
    switch (payload.kind) {
      case "http":
        if (http !== undefined) return http.some((rule) => this.#fits(rule, payload.request));
        // Plain HTTP has no server name.
        return dns === undefined && (serverNames === undefined || isDecrypted);
      case "dns":
        if (dns !== undefined) return matchesAny(dns, payload.name);
        return http === undefined && serverNames === undefined;
      case "tls":
        if (serverNames !== undefined) return matchesAny(serverNames, payload.serverName);
        return dns === undefined && (http === undefined || isDecrypted);
    }
  }

  #fits(rule: HttpRule, request: HttpRequest): boolean {
    return (["method", "path", "host"] as const).every((field) => {
      const expression = rule[field];
      return expression === undefined || matchesWhole(expression, request[field]);
    }) && rule.headers.every((match) => this.#hasHeader(match, request.headers));
  }

  #hasHeader(match: HeaderMatch, headers: HttpRequest["headers"]): boolean {
    const secret = match.secret === undefined ? undefined : this.#secretOf(match.secret);
    const wanted = secret ?? match.value;
    // The secret is not there, and nothing stands in for it.
    if (match.secret !== undefined && wanted === undefined) return false;
    // The proxy mends the header, or logs it, and lets the request pass.
    if (match.mismatch !== undefined) return true;
    const value = headers.get(match.name);
    return wanted === undefined ? value !== undefined : value === wanted;
  }

  #secretOf({ namespace, name }: SecretRef): string | undefined {
    const [first, second] = this.#secrets.get(`${namespace}/${name}`)?.entries.values() ?? [];
    return first === undefined || second !== undefined
      ? undefined
      : new TextDecoder().decode(first);
  }
}

function matchesAny(patterns: NonNullable<Layer7["dns"]>, name: string): boolean {
  const absolute = absoluteName(name);
  return patterns.some((pattern) => matchesName(pattern, absolute));
}
