/**
 * Identity: the root, node issuers, SVIDs, the trust bundle, and the rules by which a peer's
 * certificate is judged. The door of the folder: other stages import from here.
 *
 * Importing it is cheap, also for relay workers: the library that signs is loaded on first use.
 *
 * @module
 */

export {
  Authority,
  type AuthorityChange,
  type AuthorityConfig,
  openAuthority,
} from "./authority.ts";
export type { IssuerView, NodeIssuerView } from "./node_issuer.ts";
export {
  type Ca,
  CA_FILES,
  initCa,
  type IssuedEntry,
  type NodeIssuer,
  openCa,
  readIssued,
} from "./store/ca_directory.ts";
export {
  type Credentials,
  readCredentials,
  STATE_FILES,
  writeCredentials,
} from "./store/credentials.ts";
export { parseCertificates, readCertificates, writeEndpoint } from "./store/files.ts";
export { type AlternativeNames, fingerprintOf, type Svid } from "./issue.ts";
export * from "./lifetimes.ts";
export type { SvidRequest } from "./svid_cache.ts";
export {
  type IssuerKind,
  judgeLeaf,
  ORGANIZATION,
  type ParsedSvid,
  parseSigningFaults,
  parseSvid,
  readIssuer,
  signingFaults,
  signingTrustDomain,
} from "./svid_rules.ts";
export {
  checkBinding,
  checkPeer,
  checkSpiffe,
  checkValidity,
  type PeerAddress,
  type PeerReason,
} from "./verify.ts";
export { type Certificate, formatName } from "./x509/certificate.ts";
export { isSignedBy } from "./x509/signature.ts";
