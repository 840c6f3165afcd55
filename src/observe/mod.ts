/**
 * Events become flows, metrics and explanations (stage 6 of the pipeline). In come records of the
 * kernel and the relay and the agent's own view of itself, out go answers on a socket. Invariant:
 * nothing here changes what is enforced. The door of the folder.
 *
 * @module
 */

export type { Event, EventEnd } from "./event.ts";
export { explain, type ExplainOptions, type Explanation, type PartyReport } from "./explain/mod.ts";
export type { Fix } from "./explain/fixes.ts";
export type { Path, StageReport } from "./explain/path.ts";
export { type ExplainQuery, parseExplainQuery } from "./explain/query.ts";
export type { FeedItem } from "./feed.ts";
export { isStopped, lockHolder, lockPins, lockRunDirectory } from "./lock.ts";
export { type AgentRecord, readRecord } from "./record.ts";
export { Observer, type ObserverOptions, type Refusals } from "./observer.ts";
export type {
  IdentityReport,
  NodeReport,
  PodReport,
  PolicyReport,
  StatusReport,
} from "./report.ts";
export { serveAgent, type ServerOptions, SOCKET_NAME } from "./server.ts";
export type * from "./view.ts";
