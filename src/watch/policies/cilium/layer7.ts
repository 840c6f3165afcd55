/**
 * What one entry of `toPorts` says above Layer 4. In: rules, server names, TLS contexts, listener.
 * Out: the model's Layer 7 part, or undefined where any payload will do. SEMANTICS B.11, B.12,
 * D.12.
 *
 * @module
 */

import type { FieldPath } from "../../../model/mod.ts";
import {
  type HeaderMatch,
  type HttpRule,
  type Layer7,
  type NamePattern,
  namePattern,
  regexFault,
  type TlsContext,
} from "../../../model/network_policy/mod.ts";
import type { PolicyContext } from "./context.ts";
import { nameOf } from "./peers.ts";
import { isPortName } from "./ports.ts";
import type { HttpRuleShape, PortRuleShape, PortShape, TlsShape } from "./shapes.ts";

/** Of the rule that the entry stands in. */
export type Layer7Context = PolicyContext & {
  readonly direction: "ingress" | "egress";
  /** The spec has a nodeSelector. */
  readonly isHost: boolean;
  /** Whether what no rule allows is denied. If not, a rule that matches all is added (D.3). */
  readonly defaultDeny: boolean;
};

/** Reads one entry. */
export function layer7Of(
  shape: PortRuleShape,
  path: FieldPath,
  context: Layer7Context,
): Layer7 | undefined {
  const http = (shape.rules?.http ?? [])
    .map((rule, index) => httpRule(rule, [...path, "rules", "http", index], context));
  const dns = (shape.rules?.dns ?? []).map(nameOf);
  const serverNames = (shape.serverNames ?? []).map(namePattern);
  checkCombination(shape, path, context);
  const { listener } = shape;
  const parser = listener ? "listener" : http.length > 0 ? "http" : dns.length > 0 ? "dns" : "tls";
  const isEmpty = http.length + dns.length + serverNames.length === 0 && !listener &&
    !shape.terminatingTLS && !shape.originatingTLS;
  if (isEmpty) return undefined;
  return {
    parser,
    http: orNone(http, context.defaultDeny ? [] : [EVERY_REQUEST]),
    dns: orNone(dns, context.defaultDeny ? [] : [EVERY_NAME]),
    serverNames: orNone(serverNames, []),
    terminatingTls: tlsOf(shape.terminatingTLS, context),
    originatingTls: tlsOf(shape.originatingTLS, context),
    listener: listener
      ? {
        configKind: listener.envoyConfig.kind ?? undefined,
        configName: listener.envoyConfig.name,
        name: listener.name,
        priority: listener.priority ?? undefined,
      }
      : undefined,
  };
}

const EVERY_REQUEST: HttpRule = {
  method: undefined,
  path: undefined,
  host: undefined,
  headers: [],
};
const EVERY_NAME: NamePattern = { kind: "pattern", text: "*" };

function orNone<Part>(parts: readonly Part[], added: readonly Part[]): readonly Part[] | undefined {
  return parts.length === 0 ? undefined : [...parts, ...added];
}

function checkCombination(shape: PortRuleShape, path: FieldPath, context: Layer7Context): void {
  const { rules, serverNames, listener } = shape;
  const fail = (field: FieldPath, reason: string) =>
    context.faults.push({ path: [...path, ...field], reason });
  if (listener && context.direction === "ingress") fail(["listener"], "is not allowed on ingress");
  if (rules?.http && rules.dns) fail(["rules"], "must have only one of http and dns");
  const kind = rules?.http?.length ? "http" : rules?.dns?.length ? "dns" : undefined;
  if (kind === undefined) return;
  if (context.isHost) fail(["rules"], "is not supported where nodeSelector selects hosts");
  if (listener) fail(["listener"], "is not allowed beside Layer 7 rules");
  if (serverNames && !shape.terminatingTLS) {
    fail(["serverNames"], "is not allowed beside Layer 7 rules without terminatingTLS");
  }
  if (kind === "dns" && context.direction === "ingress") {
    fail(["rules", "dns"], "is not allowed on ingress");
  }
  if (!shape.ports?.length) {
    fail(["ports"], kind === "dns" ? "is required for DNS rules: port 53" : "is required");
  }
  for (const [index, port] of (shape.ports ?? []).entries()) {
    for (const { field, reason } of portFaults(port, kind)) fail(["ports", index, field], reason);
  }
}

function portFaults(port: PortShape, kind: "http" | "dns"): { field: string; reason: string }[] {
  const faults: { field: string; reason: string }[] = [];
  const protocol = port.protocol ?? "ANY";
  if (kind === "http" && protocol !== "TCP") {
    faults.push({ field: "protocol", reason: `must be TCP for HTTP rules, not ${protocol}` });
  }
  if (/^0*$/.test(port.port ?? "")) {
    faults.push({ field: "port", reason: 'must not be "0" where there are Layer 7 rules' });
  } else if (
    kind === "dns" && !isPortName(port.port ?? "") && (port.endPort ?? 0) > Number(port.port)
  ) {
    faults.push({ field: "endPort", reason: "is not allowed for DNS rules" });
  }
  return faults;
}

function httpRule(shape: HttpRuleShape, path: FieldPath, context: PolicyContext): HttpRule {
  const expression = (field: "method" | "path" | "host"): string | undefined => {
    const text = shape[field] || undefined;
    const fault = text === undefined ? undefined : regexFault(text);
    if (fault !== undefined) {
      const reason = `"${text}" is no regular expression: ${fault}`;
      context.faults.push({ path: [...path, field], reason });
    }
    return text;
  };
  const matches = (shape.headerMatches ?? []).map((match): HeaderMatch => ({
    name: match.name.toLowerCase(),
    value: match.value || undefined,
    secret: match.secret ? secretOf(match.secret, context) : undefined,
    mismatch: match.mismatch ?? undefined,
  }));
  return {
    method: expression("method"),
    path: expression("path"),
    host: expression("host"),
    headers: [...(shape.headers ?? []).map(headerOf), ...matches],
  };
}

/** "Name: value", or "Name" alone. */
function headerOf(text: string): HeaderMatch {
  const space = text.indexOf(" ");
  const name = space < 0 ? text : text.slice(0, space).replace(/:+$/, "");
  return {
    name: name.toLowerCase(),
    value: space < 0 ? undefined : text.slice(space + 1),
    secret: undefined,
    mismatch: undefined,
  };
}

function tlsOf(shape: TlsShape | null | undefined, context: PolicyContext): TlsContext | undefined {
  if (!shape) return undefined;
  return {
    secret: secretOf(shape.secret, context),
    trustedCa: shape.trustedCA ?? undefined,
    certificate: shape.certificate ?? undefined,
    privateKey: shape.privateKey ?? undefined,
  };
}

function secretOf(
  shape: { name: string; namespace?: string | null | undefined },
  context: PolicyContext,
): { namespace: string; name: string } {
  return { namespace: shape.namespace || context.namespace, name: shape.name };
}
