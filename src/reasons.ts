/**
 * Why weft refused something, in words: for each reason code what happened and what a person can
 * do. Used by `explain`, `monitor`, `status` and the metrics. Invariant: the list is the one of
 * `bpf/layout.h`, one cause a code, and no code goes without its two sentences (a test compares).
 * Sentences live here and not in events, so that the kernel and the wire carry numbers only.
 *
 * @module
 */

/** What is known about one reason code. */
export interface ReasonText {
  /** WEFT_REASON_* */
  readonly number: number;
  /** what happened; a sentence without its period */
  readonly happened: string;
  /** what to do about it; a sentence without its period */
  readonly hint: string;
}

/** Every reason but "none", by its code. */
export const REASONS = {
  "policy-denied": {
    number: 1,
    happened: "a deny rule of a policy matched",
    hint: "`weft policy explain` names the rule; narrow it, or remove it",
  },
  "default-deny": {
    number: 2,
    happened: "a policy selects the pod and none of its rules allows this",
    hint: "`weft policy explain` names the policies; add a rule that allows the peer and the port",
  },
  "auth-required": {
    number: 3,
    happened: "the rule that allows this demands an authenticated peer, and this one is not",
    hint: "bring the client into the mesh: label its pod mesh.cilium.io/enrolled=true",
  },
  "http-denied": {
    number: 4,
    happened: "no HTTP rule of the policy allows the request",
    hint: "`weft policy explain` lists the rules; add the method and path, or correct the request",
  },
  "dns-denied": {
    number: 5,
    happened: "no DNS rule of the policy allows the name that was asked for",
    hint: "add the name to the policy's DNS rules (matchName or matchPattern)",
  },
  "sni-denied": {
    number: 6,
    happened: "the server name in the TLS ClientHello is not one that the policy allows",
    hint: "add the name to serverNames in the policy, or correct what the client asks for",
  },
  "policy-conflict": {
    number: 7,
    happened: "policies that select the pod contradict each other, so the port stays closed",
    hint: "`weft policy explain` names both; keep one of them",
  },
  "l7-unavailable": {
    number: 8,
    happened: "the policy needs HTTP or DNS to be read, and the relay that reads it is not there",
    hint: "see `weft status` for the relay workers and the agent's log for why they stopped",
  },
  "mtls-required": {
    number: 9,
    happened: "the server is STRICT and the client has no identity in the mesh",
    hint:
      "enrol the client: label its pod mesh.cilium.io/enrolled=true; from outside the mesh, use" +
      " a certificate of `weft cert issue --external`",
  },
  "not-tls": {
    number: 10,
    happened: "plain bytes arrived where only mutual TLS is accepted",
    hint: "enrol the client, or let it speak TLS with a certificate of `weft cert issue`",
  },
  "no-certificate": {
    number: 11,
    happened: "the client spoke TLS but presented no certificate",
    hint: "give the client one: `weft cert issue --pod NS/NAME`, or `--external NAME` outside",
  },
  "certificate-untrusted": {
    number: 12,
    happened: "the peer's certificate does not chain to a root of this trust domain",
    hint: "compare `weft ca status` on both nodes; issue the certificate from this cluster's root",
  },
  "certificate-expired": {
    number: 13,
    happened: "the peer's certificate is expired, or not valid yet",
    hint: "issue a new one; if it is new, compare the clocks of both machines",
  },
  "wrong-trust-domain": {
    number: 14,
    happened: "the peer's SPIFFE ID belongs to another trust domain",
    hint: "compare --trust-domain of both agents, or issue the certificate in this one",
  },
  "wrong-node": {
    number: 15,
    happened: "the certificate was issued by a node on which the peer's address does not live",
    hint: "use it on the node that issued it; if the pod has moved, wait for its new certificate;" +
      " otherwise somebody may be using a stolen issuer",
  },
  "wrong-identity": {
    number: 16,
    happened: "the certificate is valid, but not of the pod that has the peer's address",
    hint: "use the certificate from the pod it was issued for; `weft identity list` shows whose" +
      " is whose",
  },
  "unknown-identity": {
    number: 17,
    happened: "nothing is known about the peer's address: no pod, no node",
    hint: "check that its Pod object is in the source and lists this address (`weft status`)",
  },
  "address-conflict": {
    number: 18,
    happened: "two live pods claim the same address, so it is nobody's",
    hint: "`weft identity list` shows both; correct or delete the Pod that does not have it",
  },
  "spoofed": {
    number: 19,
    happened: "the packet's source address or MAC is not that of the pod that sent it",
    hint: "compare the pod's addresses with its Pod object (status.podIPs); otherwise look for a" +
      " process in that pod that forges packets",
  },
  "fragment": {
    number: 20,
    happened: "a fragmented packet to a pod with STRICT ports, where its port cannot be read",
    hint: "lower the sender's packet size or raise the path's MTU so that nothing is fragmented",
  },
  "malformed": {
    number: 21,
    happened: "the packet or message could not be parsed",
    hint: "capture it (`tcpdump` on the pod's veth); a broken sender or a scan is likely",
  },
  "no-connection": {
    number: 22,
    happened: "a packet of a connection that weft has not seen begin, or that a policy has cut",
    hint: "open the connection anew; connections older than a STRICT policy are cut on purpose",
  },
  "map-full": {
    number: 23,
    happened: "there is no room for it in the kernel's tables, or for no more of who opens it",
    hint: "`weft status` names a table that is full; else look for a pod or a network that has" +
      " opened tens of thousands of connections",
  },
  "peer-not-ready": {
    number: 24,
    happened: "no agent has announced itself for the server's address: plain text would be a leak",
    hint: "start the agent on that node (`weft status` lists who has announced), and see that the" +
      " source has a Pod with that address",
  },
  "agent-down": {
    number: 25,
    happened: "the connection needs a relay and none is running on this node, or it is stopped",
    hint: "start the agent (`weft run`, `systemctl start weft`), or ask `weft status` what it does",
  },
  "not-listening": {
    number: 26,
    happened: "nothing listens on that port of the server's pod, or its node's agent is down",
    hint: "check the port number, that the application listens on the pod's address, and" +
      " `weft status` on the server's node",
  },
  "no-backend": {
    number: 27,
    happened: "the Service has no ready backend for that port",
    hint: "check its selector and whether the selected pods are Ready (`weft status`)",
  },
  "circuit-open": {
    number: 28,
    happened: "every backend of the Service is ejected or at its connection limit",
    hint: "wait for the ejection to end, or raise the limit in the policy",
  },
  "not-steered": {
    number: 29,
    happened: "payload arrived on a connection that no relay has taken, so it was dropped",
    hint: "run `weft check`: the program that hands connections to the relay may be detached;" +
      " restarting the agent attaches it again",
  },
  "relay-port": {
    number: 30,
    happened: "somebody dialled a port of the relay itself",
    hint: "dial the application's port; the relay's own ports are not for anybody",
  },
  "syn-budget": {
    number: 31,
    happened: "the source has more half-open connections than its budget allows",
    hint: "look for a SYN flood or a scan from that source",
  },
  "not-authenticated": {
    number: 32,
    happened: "UDP or ICMP to a STRICT port: mutual TLS cannot carry it",
    hint: "use TCP, or make the pod PERMISSIVE; only answers to what the pod asked itself pass",
  },
  "handshake-failed": {
    number: 33,
    happened: "the TLS handshake broke for a cause that no other reason names",
    hint: "the event's detail has the TLS library's words; TLS 1.3 is the only version accepted",
  },
  "handshake-timeout": {
    number: 34,
    happened: "the peer did not finish the TLS handshake in time",
    hint: "see whether the peer's node is overloaded, or the path drops large packets (MTU)",
  },
  "certificate-invalid": {
    number: 35,
    happened: "the peer's certificate has a trusted issuer, but is no SVID by SPIFFE's rules",
    hint: "`weft cert inspect` lists the rules that it breaks; issue it with `weft cert issue`",
  },
} as const satisfies Readonly<Record<string, ReasonText>>;

/** Code of a refusal. */
export type RefusalReason = keyof typeof REASONS;
/** Code as it stands in events; "none" when nothing was refused. */
export type Reason = RefusalReason | "none";

/** Every code of a refusal, in the order of its number. */
export const REFUSAL_REASONS = Object.keys(REASONS) as readonly RefusalReason[];

/** Code of WEFT_REASON_*; an unknown number becomes "none" only when it is zero. */
export function reasonOf(number: number): Reason | `reason-${number}` {
  if (number === 0) return "none";
  return BY_NUMBER.get(number) ?? `reason-${number}`;
}

/** Whether text is the code of a refusal. */
export function isRefusalReason(text: string): text is RefusalReason {
  return Object.hasOwn(REASONS, text);
}

/** Sentences of any code; a code that is not in the list says so. */
export function describeReason(reason: string): { happened: string; hint: string } {
  if (isRefusalReason(reason)) return REASONS[reason];
  if (reason === "none") return { happened: "nothing was refused", hint: "there is nothing to do" };
  return {
    happened: `unknown reason "${reason}"`,
    hint: "the kernel's programs and this command are of different versions: restart the agent",
  };
}

const BY_NUMBER = new Map<number, RefusalReason>(
  REFUSAL_REASONS.map((reason) => [REASONS[reason].number, reason]),
);
