/**
 * What the main thread and the relay's workers say to each other: plain objects, structured-cloned.
 *
 * In: a `RelaySnapshot`, complete, whenever the State or a certificate has changed. Out: batches of
 * `RelayEvent`. Invariant: a snapshot is self-contained, so a worker that missed ten of them and
 * sees the eleventh is right; deltas would have to arrive exactly once and in order.
 *
 * @module
 */

import type { ModeClass, SourceClass, Where } from "../compile/mod.ts";
import type { Reason } from "../reasons.ts";

/** Settings that do not change while the relay runs. */
export interface RelayConfig {
  /** Worker threads, 1 to 8. */
  readonly workers: number;
  /** TLS secrets are appended there (0600). For debugging: whoever reads it reads the traffic. */
  readonly keylogFile?: string;
}

/**
 * Descriptors of the maps that the relay reads and writes; they are the process's, for all
 * threads.
 */
export interface RelayDoor {
  readonly sockets: number;
  readonly steered: number;
  readonly listeners: number;
  readonly beats: number;
  readonly connections: number;
  readonly halfOpen: number;
}

/** Everything the relay knows. */
export interface RelaySnapshot {
  readonly revision: number;
  readonly trustDomain: string;
  /** All roots that are trusted now. */
  readonly bundlePem: string;
  /** Live pods of this node on the pod network, whatever their mode. */
  readonly pods: readonly RelayPod[];
  /** One entry per address known to the mesh: pods (local ones too), nodes, conflicts. */
  readonly peers: readonly RelayPeer[];
  /** Pod CIDRs of all nodes: an address in one of them without a peer is unknown, not outside. */
  readonly cidrs: readonly string[];
}

/** A pod of this node. */
export interface RelayPod {
  /** "namespace/name" */
  readonly key: string;
  /** Of its listeners in `listeners`, from 1. */
  readonly slot: number;
  readonly addresses: readonly string[];
  /** Stays open in the main thread for as long as the pod is in a snapshot. */
  readonly netnsFd: number;
  readonly netnsCookie: bigint;
  /** As a source: `mesh`, `plain` or `own_cert`. */
  readonly source: SourceClass;
  /** Absent until the first certificate is issued, and for pods that need none. */
  readonly svid?: RelaySvid;
}

/** A pod's certificate with its key. */
export interface RelaySvid {
  readonly spiffeId: string;
  /** Leaf first, then the node issuer. */
  readonly chainPem: string;
  readonly keyPem: string;
  readonly notAfterMs: number;
}

/** Whose an address is, and what may come in there. */
export interface RelayPeer {
  /** Canonical text. */
  readonly address: string;
  readonly kind: "pod" | "node" | "conflict";
  /** "namespace/name" of the pod. */
  readonly key?: string;
  readonly namespace?: string;
  readonly serviceAccount?: string;
  readonly spiffeId?: string;
  /** Node on which the address lives, with the UID that its issuer's certificate carries. */
  readonly node?: string;
  readonly nodeUid?: string;
  readonly source: SourceClass;
  /** Of every port that is not in `ports`. */
  readonly mode: ModeClass;
  readonly where: Where;
  readonly ports: readonly RelayPort[];
}

/** A port whose mode differs from its address's. */
export interface RelayPort {
  readonly port: number;
  readonly mode: ModeClass;
  readonly where: Where;
}

/** Something the relay refused, cut, or counted as noteworthy. */
export interface RelayEvent {
  /** CLOCK_REALTIME. */
  readonly timeMs: number;
  readonly stage: "outbound" | "inbound";
  readonly verdict: "refuse" | "cut" | "accept";
  readonly reason: Reason;
  readonly source: string;
  readonly sourcePort: number;
  readonly target: string;
  readonly targetPort: number;
  /** The local pod, "namespace/name". */
  readonly pod: string;
  /** SPIFFE ID that the peer proved, if it proved one. */
  readonly peerId?: string;
  /** For people. */
  readonly detail?: string;
}

/** Main thread to worker. */
export type ToWorker =
  | {
    readonly type: "start";
    readonly index: number;
    readonly config: RelayConfig;
    readonly door: RelayDoor;
    readonly wakeFd: number;
    /** One slot for each of `COUNTERS`. */
    readonly counters: SharedArrayBuffer;
    /** Secret from which ticket keys are derived, the same in all workers. */
    readonly ticketSecret: Uint8Array;
  }
  | { readonly type: "snapshot"; readonly snapshot: RelaySnapshot }
  /** The kernel works by the last snapshot, too: nothing is steered to who is not in it. */
  | { readonly type: "settled" }
  | { readonly type: "stop"; readonly graceMs: number };

/** Worker to main thread. */
export type FromWorker =
  | { readonly type: "started" }
  | { readonly type: "applied"; readonly revision: number }
  | { readonly type: "events"; readonly events: readonly RelayEvent[]; readonly lost: number }
  | { readonly type: "fault"; readonly message: string }
  | { readonly type: "stopped" }
  | { readonly type: "failed"; readonly message: string };

/** Counters of one worker, in the order of their slots. */
export const COUNTERS = [
  "accepted_outbound",
  "accepted_inbound",
  "handshakes",
  "handshakes_resumed",
  "handshakes_failed",
  "tunnels_reused",
  "tunnels_left",
  "tunnels_open",
  "tunnels_idle",
  "connections_open",
  "refused_outbound",
  "refused_inbound",
  "cut",
  "plaintext_from_mesh",
  "bytes_sent",
  "bytes_received",
  "accept_paused",
  "accept_refused",
  "events_lost",
] as const;

export type Counter = typeof COUNTERS[number];
