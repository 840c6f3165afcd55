/**
 * Whether a peer may be who its certificate says: the rules on top of the certificate chain.
 *
 * In: an SVID whose chain OpenSSL has validated up to a root of the bundle, and what the model
 * knows of the address it came from. Out: the reason to refuse, or null. Invariant: null is
 * returned in three places only, one for each kind of address that can prove anything (a pod, a
 * node, the outside); every other combination, also one that nobody thought of, is refused.
 *
 * This is the **issuer binding**: an SVID counts only if the node that issued it is the node where
 * the peer's address lives, and only for the ServiceAccount of the pod that has the address. So a
 * stolen node issuer can impersonate the pods of that node and no others, which name constraints
 * cannot achieve (`x509/sign.ts`).
 *
 * Nothing is graced: a leaf that has expired is refused that second. The slack is on the other
 * side: it is renewed at half its life and back-dated by five minutes, so an outage of half a
 * lifetime and clocks that differ by as much pass unnoticed.
 *
 * @module
 */

import type { RefusalReason } from "../reasons.ts";
import type { ParsedSvid } from "./svid_rules.ts";

/** Reasons to refuse a peer for its certificate; the codes of `reasons.ts`. */
export type PeerReason = Extract<
  RefusalReason,
  | "not-tls"
  | "no-certificate"
  | "certificate-untrusted"
  | "certificate-invalid"
  | "certificate-expired"
  | "wrong-trust-domain"
  | "wrong-node"
  | "wrong-identity"
  | "unknown-identity"
  | "address-conflict"
>;

/** What the model says about the address of a peer. */
export type PeerAddress =
  | {
    readonly kind: "pod";
    readonly node: string;
    /** Of the Node object, where it has one. */
    readonly nodeUid?: string;
    readonly namespace: string;
    readonly serviceAccount: string;
  }
  | {
    /** A node's own address: its pods behind SNAT, on their way out of the pod network. */
    readonly kind: "node";
    readonly node: string;
    readonly nodeUid?: string;
    /** `namespace/name` of the ServiceAccounts of the pods on that node. */
    readonly serviceAccounts: ReadonlySet<string>;
  }
  /** Of no node, no pod, and no pod CIDR. */
  | { readonly kind: "outside" }
  /** In a pod CIDR of the mesh, but no pod has it (yet). */
  | { readonly kind: "unknown" }
  /** More than one live pod claims it. */
  | { readonly kind: "conflict" };

/** Everything at once, in the order in which a reader wants to hear of it. */
export function checkPeer(
  svid: ParsedSvid,
  expected: {
    readonly trustDomain: string;
    readonly peer: PeerAddress;
    readonly nowMs: number;
  },
): PeerReason | null {
  return checkSpiffe(svid, expected.trustDomain) ?? checkValidity(svid, expected.nowMs) ??
    checkBinding({ svid, peer: expected.peer });
}

/** The rules of SPIFFE for the leaf itself. */
export function checkSpiffe(svid: ParsedSvid, trustDomain: string): PeerReason | null {
  if (svid.trustDomain !== null && svid.trustDomain !== trustDomain) return "wrong-trust-domain";
  return svid.faults.length === 0 && svid.trustDomain !== null ? null : "certificate-invalid";
}

/** Whether it is valid now; for a session that is resumed or reused without a new handshake. */
export function checkValidity(svid: ParsedSvid, nowMs: number): PeerReason | null {
  return svid.notBeforeMs <= nowMs && nowMs < svid.notAfterMs ? null : "certificate-expired";
}

/** The issuer binding. */
export function checkBinding(
  { svid, peer }: { readonly svid: ParsedSvid; readonly peer: PeerAddress },
): PeerReason | null {
  switch (peer.kind) {
    case "pod":
      if (!isIssuedBy(svid, peer)) return "wrong-node";
      return names(svid, (account) => account === `${peer.namespace}/${peer.serviceAccount}`);
    case "node":
      if (!isIssuedBy(svid, peer)) return "wrong-node";
      return names(svid, (account) => peer.serviceAccounts.has(account));
    case "outside":
      if (svid.issuerKind !== "external") return "wrong-node";
      return svid.principal?.kind === "external" ? null : "wrong-identity";
    case "unknown":
      return "unknown-identity";
    case "conflict":
      return "address-conflict";
  }
  return peer satisfies never;
}

function isIssuedBy(
  svid: ParsedSvid,
  node: { readonly node: string; readonly nodeUid?: string },
): boolean {
  if (svid.issuerKind !== "node" || svid.issuerName !== node.node) return false;
  // An issuer made without a UID repeats the name; whoever made it vouched for the name alone.
  return node.nodeUid === undefined || svid.issuerUid === node.nodeUid ||
    svid.issuerUid === node.node;
}

function names(svid: ParsedSvid, isExpected: (account: string) => boolean): PeerReason | null {
  const { principal } = svid;
  if (principal?.kind !== "workload") return "wrong-identity";
  return isExpected(`${principal.namespace}/${principal.serviceAccount}`) ? null : "wrong-identity";
}
