/**
 * Whom a certificate lets in: each rule of SPIFFE and of the issuer binding, broken in turn.
 *
 * @module
 */

import type { Clause, Mutation } from "./clause.ts";

const RULES = "src/identity/svid_rules.ts";
const VERIFY = "src/identity/verify.ts";
const ID = "src/model/principal.ts";
const JUDGE = "src/relay/tls/judge.ts";
const OWNER = "src/model/derived/owner.ts";

/** Nothing that OpenSSL found in the chain counts. */
const ANY_CHAIN: Mutation = {
  file: JUDGE,
  find: "if (chainError !== X509Error.OK) return this.#refuseChain(chainError, svid);",
  put: "",
};

/** A certificate of another pod counts. */
const ANY_POD: Mutation = {
  file: JUDGE,
  find: `    if (reason !== null) return reason;
    // Where the model names one identity for the address, it must be exactly that one.
    const expected = place.spiffeId;
    return expected === undefined || expected === svid.spiffeId ? null : "wrong-identity";`,
  put: '    return reason === "wrong-identity" ? null : reason;',
};

/** The node that issued does not count, at a pod's address. */
const ANY_ISSUER: Mutation = {
  file: VERIFY,
  find: 'case "pod":\n      if (!isIssuedBy(svid, peer)) return "wrong-node";',
  put: 'case "pod":',
};

const NO_CHECK_OF_RESUMED: Mutation = {
  file: "src/relay/path/server_tunnel.ts",
  find: "if (leaf === undefined || this.#judge.judge(leaf, 0) !== 0) {",
  put: "if (leaf === undefined) {",
};

const change = (file: string, find: string, put: string): Mutation => ({ file, find, put });

const SEGMENT = 'if (segment === "")';
const CLIMBING = 'segment === "." || segment === ".."';
const SEGMENT_CHARACTERS = "/^[a-zA-Z0-9._-]+$/.test(segment)";
const DOMAIN_CHARACTERS = "/^[a-z0-9._-]+$/.test(trustDomain)";
const BITS = 'for (const bit of ["keyCertSign", "cRLSign"] as const) {';
const PURPOSES = "if (!extendedKeyUsage.includes(oid))";

/** By what is wrong with the certificate. */
const SPIFFE: readonly [what: string, mutation: Mutation][] = [
  ["two URIs", change(RULES, "if (certificate.uris.length > 1) {", "if (false) {")],
  ["no URI", change(RULES, 'faults: ["it has no URI, so no SPIFFE ID"]', "faults: []")],
  ["another scheme", change(ID, "if (!text.startsWith(SCHEME))", "if (false)")],
  ["no path", change(RULES, 'isRoot ? ["its SPIFFE ID has no path"] : []', "isRoot ? [] : []")],
  ["a path that is the root", change(ID, SEGMENT, "if (false)")],
  ["a trailing slash", change(ID, SEGMENT, "if (false)")],
  ["an empty segment", change(ID, SEGMENT, "if (false)")],
  ["a segment that climbs", change(ID, CLIMBING, 'segment === "."')],
  ["a segment that stands still", change(ID, CLIMBING, 'segment === ".."')],
  [
    "a percent sign",
    change(ID, SEGMENT_CHARACTERS, "/^[a-zA-Z0-9._%-]+$/.test(segment)"),
  ],
  ["a query", change(ID, SEGMENT_CHARACTERS, "/^[a-zA-Z0-9._?=-]+$/.test(segment)")],
  ["a fragment", change(ID, SEGMENT_CHARACTERS, "/^[a-zA-Z0-9._#-]+$/.test(segment)")],
  ["a port", change(ID, DOMAIN_CHARACTERS, "/^[a-z0-9._:-]+$/.test(trustDomain)")],
  ["user information", change(ID, DOMAIN_CHARACTERS, "/^[a-z0-9._@-]+$/.test(trustDomain)")],
  [
    "a trust domain in capitals",
    change(ID, DOMAIN_CHARACTERS, "/^[a-z0-9._-]+$/i.test(trustDomain)"),
  ],
  [
    "an ID of 2,049 bytes",
    change(ID, "SPIFFE_ID_BYTES_MAX = 2048;", "SPIFFE_ID_BYTES_MAX = 4096;"),
  ],
  [
    "a trust domain of 256 bytes",
    change(ID, "TRUST_DOMAIN_BYTES_MAX = 255;", "TRUST_DOMAIN_BYTES_MAX = 511;"),
  ],
  ["CA=true", change(RULES, 'if (certificate.isCa) faults.push("it is a CA certificate");', "")],
  ["no key usage", change(RULES, 'faults.push("it has no key usage");', "void 0;")],
  [
    "a key usage that is not critical",
    change(RULES, 'if (!keyUsage.critical) faults.push("its key usage is not critical");', ""),
  ],
  [
    "a key usage without digitalSignature",
    change(RULES, 'if (!keyUsage.bits.includes("digitalSignature")) {', "if (false) {"),
  ],
  ["keyCertSign", change(RULES, BITS, 'for (const bit of ["cRLSign"] as const) {')],
  ["cRLSign", change(RULES, BITS, 'for (const bit of ["keyCertSign"] as const) {')],
  [
    "purposes without clientAuth",
    change(RULES, PURPOSES, 'if (name !== "clientAuth" && !extendedKeyUsage.includes(oid))'),
  ],
  [
    "purposes without serverAuth",
    change(RULES, PURPOSES, 'if (name !== "serverAuth" && !extendedKeyUsage.includes(oid))'),
  ],
  [
    "a critical extension that nobody knows",
    change(RULES, "for (const oid of unknownCritical) faults", "for (const oid of []) faults"),
  ],
  [
    "another trust domain",
    change(
      JUDGE,
      "if (svid.trustDomain !== null && svid.trustDomain !== trustDomain) {",
      "if (false) {",
    ),
  ],
  [
    "an issuer whose SPIFFE ID has a path",
    change(RULES, "else if (result.id.segments.length > 0)", "else if (false)"),
  ],
  [
    "an issuer of another trust domain",
    change(
      RULES,
      "else if (trustDomain !== null && result.id.trustDomain !== trustDomain) {",
      "else if (false) {",
    ),
  ],
  [
    "an issuer with two URIs",
    change(
      RULES,
      'if (certificate.uris.length > 1) faults.push("it has more than one URI");',
      "",
    ),
  ],
  [
    "an issuer without key usage",
    change(
      RULES,
      'if (!(certificate.keyUsage?.bits.includes("keyCertSign") ?? false)) {',
      "if (false) {",
    ),
  ],
  ["an issuer that may not sign certificates", ANY_CHAIN],
  ["an issuer with CA=false", ANY_CHAIN],
  [
    "an end that is past",
    change(JUDGE, "error === X509Error.CERT_HAS_EXPIRED ||", "false ||"),
  ],
  [
    "a beginning that is to come",
    change(JUDGE, "error === X509Error.CERT_NOT_YET_VALID;", "false;"),
  ],
  ["a key of RSA with 1,024 bits", ANY_CHAIN],
  ["a signature over SHA-1", ANY_CHAIN],
];

/** By the test's name. */
const BINDING: readonly [name: string, mutation: Mutation][] = [
  [
    "is accepted from its pod's address, issued by that address's node",
    change(VERIFY, "return isExpected(", "return !isExpected("),
  ],
  ["is refused if another node has issued it, on both sides", ANY_ISSUER],
  ["is refused if the root itself has issued it", ANY_ISSUER],
  [
    "is refused if a node of that name, but not this Node object, has issued it",
    change(VERIFY, "return node.nodeUid === undefined ||", "return true ||"),
  ],
  ["is refused if it names another pod of the right node, on both sides", ANY_POD],
  ["is refused from another pod's address", ANY_POD],
  [
    "is refused from a pod's address where nobody is known",
    change(
      "src/relay/world.ts",
      "this.#cidrs.some((cidr) => cidrContains(cidr, address))",
      "false",
    ),
  ],
  [
    "is refused if the address lies in no pod CIDR of the pod's node",
    change(OWNER, "if (podCidrs.length === 0 ||", "if (true ||"),
  ],
  [
    "is refused while two live pods list the address",
    change(OWNER, "workloads.length > 1) {", "workloads.length > 9) {"),
  ],
  [
    "is refused from a disputed address also where a port is PERMISSIVE",
    change(VERIFY, 'return "address-conflict";', "return null;"),
  ],
  ["is refused from a pod's address if it is an external one, on both sides", ANY_ISSUER],
  ["is refused if it is an external one that a node has issued", ANY_POD],
  [
    "is accepted from outside if it is an external one",
    change(VERIFY, 'svid.principal?.kind === "external" ? null : "wrong-identity"', '"wrong-node"'),
  ],
  [
    "is refused from outside if a node has issued it",
    change(VERIFY, 'if (svid.issuerKind !== "external") return "wrong-node";', ""),
  ],
  [
    "is refused from outside if the external issuer names a pod",
    change(VERIFY, 'svid.principal?.kind === "external" ? null : "wrong-identity"', "null"),
  ],
  [
    "is accepted from its node's own address",
    change(
      VERIFY,
      'case "node":\n      if (!isIssuedBy(svid, peer)) return "wrong-node";',
      'case "node":\n      return "wrong-node";',
    ),
  ],
  [
    "is refused from a node's address if another node has issued it, or no node",
    change(
      VERIFY,
      'case "node":\n      if (!isIssuedBy(svid, peer)) return "wrong-node";',
      'case "node":',
    ),
  ],
  [
    "is refused from a node's address if no pod there has the ServiceAccount",
    change(VERIFY, "(account) => peer.serviceAccounts.has(account)", "() => true"),
  ],
  ["is refused below an issuer that a node's issuer has made, on both sides", ANY_CHAIN],
  ["is refused below an issuer that has expired, on both sides", ANY_CHAIN],
];

/** By the test's name, of sessions that are resumed. */
const RESUMED: readonly [name: string, mutation: Mutation][] = [
  ["is refused once the pod at the address is another", NO_CHECK_OF_RESUMED],
  ["is refused once the address lives on another node", NO_CHECK_OF_RESUMED],
  [
    "is refused once the address is a node's and the ServiceAccount has no pod there",
    NO_CHECK_OF_RESUMED,
  ],
  ["is refused once the certificate has expired", NO_CHECK_OF_RESUMED],
  [
    "is not offered to a server at whose address another pod is now",
    change(
      "src/relay/path/client_tunnel.ts",
      "this.#sessionKey = `${names.poolKey} ${names.fingerprint}`;",
      "this.#sessionKey = names.poolKey;",
    ),
  ],
];

const BINDING_SUITE = "an identity that is bound to its address";
const BINDING_FILE = "tests/kernel/peers_binding_test.ts";

/** What holds for every certificate, from clients and from servers. */
export const peerIdentities: readonly Clause[] = [
  ...SPIFFE.map(([what, mutation]) => ({
    promise: `A certificate is refused for ${what}.`,
    test: {
      file: "tests/kernel/peers_svid_test.ts",
      name: ["a certificate that breaks a rule", `is refused for ${what}, whoever shows it`],
    },
    mutation,
  })),
  ...BINDING.map(([name, mutation]) => ({
    promise: `A certificate ${name}.`,
    test: { file: BINDING_FILE, name: [BINDING_SUITE, name] },
    mutation,
  })),
  ...RESUMED.map(([name, mutation]) => ({
    promise: `A session that is resumed ${name}.`,
    test: { file: BINDING_FILE, name: [BINDING_SUITE, "and a session that is resumed", name] },
    mutation,
  })),
];
