/**
 * Who a certificate speaks for: SPIFFE IDs as text, parsed and formatted.
 *
 * In: a URI of a certificate, or a namespace and a ServiceAccount. Out: its parts, or the rule that
 * it breaks. Invariant: what `parseSpiffeId` accepts formats back to the same bytes, so two IDs are
 * equal exactly when their strings are. That is why nothing is normalised here: an upper-case
 * scheme, a percent sign or a trailing slash is refused, not repaired (a WHATWG `URL` would repair
 * them, and two spellings of one ID would then be two identities to everyone who compares strings).
 *
 * Rules: SPIFFE-ID.md of spiffe.io, as far as a verifier has to know them.
 *
 * @module
 */

/** Bytes of a whole SPIFFE ID (SPIFFE-ID.md 2.3). */
export const SPIFFE_ID_BYTES_MAX = 2048;

/** Bytes of the trust domain in it (SPIFFE-ID.md 2.3). */
export const TRUST_DOMAIN_BYTES_MAX = 255;

const SCHEME = "spiffe://";

/** A well-formed SPIFFE ID. Without segments it names the trust domain itself. */
export interface SpiffeId {
  readonly text: string;
  readonly trustDomain: string;
  readonly segments: readonly string[];
}

/** The outcome of reading one: the ID, or the rule that the text breaks. */
export type SpiffeIdResult =
  | { readonly ok: true; readonly id: SpiffeId }
  | { readonly ok: false; readonly fault: string };

/** Whom an ID of this mesh names. */
export type Principal =
  | { readonly kind: "workload"; readonly namespace: string; readonly serviceAccount: string }
  | { readonly kind: "external"; readonly name: string }
  | { readonly kind: "trust-domain" }
  | { readonly kind: "foreign"; readonly path: string };

/** Reads a SPIFFE ID strictly; linear in the length of the text, which is bounded first. */
export function parseSpiffeId(text: string): SpiffeIdResult {
  if (text.length > SPIFFE_ID_BYTES_MAX) {
    return fault(`longer than ${SPIFFE_ID_BYTES_MAX} bytes`);
  }
  if (!text.startsWith(SCHEME)) return fault(`the scheme is not "spiffe"`);
  const rest = text.slice(SCHEME.length);
  const slash = rest.indexOf("/");
  const trustDomain = slash < 0 ? rest : rest.slice(0, slash);
  const domainFault = trustDomainFault(trustDomain);
  if (domainFault !== null) return fault(domainFault);
  if (slash < 0) return { ok: true, id: { text, trustDomain, segments: [] } };
  const segments = rest.slice(slash + 1).split("/");
  for (const segment of segments) {
    const segmentFault = pathSegmentFault(segment);
    if (segmentFault !== null) return fault(segmentFault);
  }
  return { ok: true, id: { text, trustDomain, segments } };
}

/** What an ID of the shapes that weft issues stands for; any other path is `foreign`. */
export function principalOf(id: SpiffeId): Principal {
  const [first, second, third, fourth] = id.segments;
  if (first === undefined) return { kind: "trust-domain" };
  if (
    id.segments.length === 4 && first === "ns" && third === "sa" &&
    second !== undefined && fourth !== undefined
  ) {
    return { kind: "workload", namespace: second, serviceAccount: fourth };
  }
  if (id.segments.length === 2 && first === "external" && second !== undefined) {
    return { kind: "external", name: second };
  }
  return { kind: "foreign", path: "/" + id.segments.join("/") };
}

/** The SPIFFE ID of the pods of one ServiceAccount (SEMANTICS D.7). */
export function spiffeIdOf(namespace: string, serviceAccount: string, trustDomain: string): string {
  return format(trustDomain, ["ns", namespace, "sa", serviceAccount]);
}

/** The SPIFFE ID of something outside the cluster that was given a certificate. */
export function externalSpiffeIdOf(name: string, trustDomain: string): string {
  return format(trustDomain, ["external", name]);
}

/** The SPIFFE ID of the trust domain itself: what its signing certificates carry. */
export function trustDomainIdOf(trustDomain: string): string {
  return format(trustDomain, []);
}

/** The rule that a trust domain breaks, or null. */
export function trustDomainFault(trustDomain: string): string | null {
  if (trustDomain === "") return "the trust domain is empty";
  if (trustDomain.length > TRUST_DOMAIN_BYTES_MAX) {
    return `the trust domain is longer than ${TRUST_DOMAIN_BYTES_MAX} bytes`;
  }
  // Catches port, user info, query, fragment, percent-encoding and upper case in one sweep.
  return /^[a-z0-9._-]+$/.test(trustDomain)
    ? null
    : `the trust domain has a character outside [a-z0-9._-]`;
}

/** The rule that one path segment breaks, or null. */
export function pathSegmentFault(segment: string): string | null {
  if (segment === "") return "a path segment is empty (or the path ends in a slash)";
  if (segment === "." || segment === "..") return `a path segment is "${segment}"`;
  return /^[a-zA-Z0-9._-]+$/.test(segment)
    ? null
    : "a path segment has a character outside [a-zA-Z0-9._-]";
}

function format(trustDomain: string, segments: readonly string[]): string {
  const text = SCHEME + [trustDomain, ...segments].join("/");
  // Read back, so that no argument with a slash in it can become another identity.
  const result = parseSpiffeId(text);
  if (!result.ok) throw new RangeError(`Cannot make the SPIFFE ID "${text}": ${result.fault}`);
  if (result.id.segments.length !== segments.length) {
    throw new RangeError(`Cannot make the SPIFFE ID "${text}": a part of it contains a slash`);
  }
  return text;
}

function fault(rule: string): SpiffeIdResult {
  return { ok: false, fault: rule };
}
