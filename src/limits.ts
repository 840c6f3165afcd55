/**
 * Every bound that the sources, the model and the compiler obey, with its unit and why it is what
 * it is. What exceeds one is rejected by name and shown in `weft status`; nothing is cut silently.
 *
 * @module
 */

import { assert } from "./assert.ts";

/** Bytes of one source file. An API object is at most 1.5 MiB in etcd; a file may hold many. */
export const SOURCE_FILE_SIZE_BYTES_MAX = 16 << 20;

/** Documents of one file, list items included. */
export const SOURCE_DOCUMENTS_MAX = 65_536;

/**
 * Files below a source directory. More is a source failure: half a directory is worse than none.
 */
export const SOURCE_FILES_MAX = 65_536;

/**
 * Folders within folders. Also ends what a bind mount of a folder into itself would make endless.
 */
export const SOURCE_DEPTH_MAX = 16;

/** YAML aliases that one document may expand to: `&a [*b, *b]` nested doubles at every level. */
export const YAML_ALIASES_MAX = 1000;

/** Faults shown of one document: the first ones help, hundreds do not. */
export const FAULTS_SHOWN_MAX = 8;

/** Port overrides of one policy. */
export const PORT_OVERRIDES_MAX = 256;

/** Expressions of one selector, and values of one expression. */
export const SELECTOR_EXPRESSIONS_MAX = 64;
export const SELECTOR_VALUES_MAX = 256;

/** A burst of file events is over when this long nothing happens … */
export const SOURCE_QUIET_MS = 50;

/** … or when it has gone on for this long. */
export const SOURCE_BURST_MS_MAX = 1000;

/**
 * Rescan without events: inotify does not see remote writers, and loses events when it overflows.
 */
export const SOURCE_RESCAN_MS = 5000;

/** Rescan while the source cannot be read or watched. */
export const SOURCE_RETRY_MS = 1000;

/** A file that is suddenly empty is being written until it has been empty for this long. */
export const SOURCE_EMPTY_GRACE_MS = 1000;

/**
 * Rows of `addresses`, `ports` and `services` (bpf/maps.h). Beyond them: an address without a row
 * may be anybody's, one without room for its overrides is STRICT, a Service is refused.
 */
export const ADDRESSES_MAX = 65_536;

/** Rows of `pods`: pods of one node (bpf/maps.h). The kubelet's own default is 110. */
export const LOCAL_PODS_MAX = 1024;

/** Rows of `connections` (bpf/maps.h): complete connections of all pods of a node, at 128 bytes. */
export const CONNECTIONS_MAX = 524_288;

/**
 * Bounds of what one payer (bpf/budget.h) may take of the tables that all pods share; more is
 * refused as `map-full`, and half-open ones as `syn-budget`. A connection between two pods of one
 * node has two rows, and the pod that opens it pays for both.
 */
export const CONNECTION_LIMITS = {
  /** Begun in a second and not completed: by one pod, or one network or known address outside. */
  halfOpen: 8192,
  /** The same, to one pod by all unknown networks together. */
  flood: 16_384,
  /** Rows that one pod may open: sixteen pods would have to conspire to take all. */
  opened: 32_768,
  /** Rows that outsiders may open to one pod. */
  accepted: 65_536,
  /** Rows that one network (/24, /64), or known address, outside may open. */
  network: 32_768,
  /** Connections of one pod that its relay may hold: one row of `steered` each, until accepted. */
  steered: 16_384,
} as const;

assert(CONNECTION_LIMITS.opened * 8 <= CONNECTIONS_MAX, "one pod takes a small part");
assert(CONNECTION_LIMITS.network < CONNECTION_LIMITS.accepted, "one network leaves others room");

assert(SOURCE_QUIET_MS < SOURCE_BURST_MS_MAX, "a burst outlasts one pause");
assert(SOURCE_BURST_MS_MAX <= SOURCE_EMPTY_GRACE_MS, "a burst of writes ends within the grace");
assert(LOCAL_PODS_MAX <= ADDRESSES_MAX, "every local pod has an address");

/** How long a pod that nobody knows yet is waited for, in the kernel and in the relay. */
export const PEER_PATIENCE_MS = 10_000;

/**
 * How often the agent looks whether the guard still stands first, and for pods it could not find.
 */
export const REPAIR_INTERVAL_MS = 2000;

/** How often rows of connections that ended without a word are looked for. */
export const SWEEP_INTERVAL_MS = 30_000;

/**
 * How long a plan waits for the relay's workers: a stuck one must not keep a policy from its place.
 */
export const RELAY_PATIENCE_MS = 1000;

/** How often a worker of the relay tells the kernel that it lives. */
export const BEAT_INTERVAL_MS = 1000;

/**
 * A worker that is silent for so long is not there for new connections: stopped, frozen, or stuck.
 * Until then they wait in its queue. Its longest work in one piece, a snapshot of all addresses
 * that fit, takes half a second at most; with twenty busy neighbours on two cores ten times as
 * long. The rest is for pauses of the machine. To be late costs an enrolled pod that its
 * connections are refused, to be patient costs a node whose agent hangs that they wait so long.
 */
export const BEAT_SILENCE_MS = 8000;

assert(BEAT_INTERVAL_MS * 4 <= BEAT_SILENCE_MS, "some beats may come late");

/** How long an agent that was asked to end lets live connections finish. It serves until the … */
export const DRAIN_MS = 2000;

/** … last of it: from then on new connections wait for the next agent. */
export const LAST_MS = 500;

/** How long they wait, without a next agent, until they are refused. Starting takes one or two. */
export const HOLD_MS = 5000;

/**
 * Handshakes that are under way in one worker, and connections of which it is not known yet whether
 * they are one. Each holds some 40 KiB and a descriptor until it ends or ten seconds are over; on a
 * PERMISSIVE port a second descriptor, to the application, but no TLS yet. So it is 160 MiB at
 * most, and with eight workers 65,536 of the 1,048,576 descriptors of the unit.
 */
export const HANDSHAKES_MAX = 4096;

/**
 * Those of them that strangers may have: half, so that pods can reach each other whatever comes
 * from outside. A network alone gets a third of it, 683: more are a scan, or an attack. Whom a port
 * that is PERMISSIVE has no room for is carried as plaintext at once, if it comes from outside.
 */
export const HANDSHAKES_OF_STRANGERS_MAX = 2048;

assert(HANDSHAKES_OF_STRANGERS_MAX * 2 <= HANDSHAKES_MAX, "half of them is kept for pods");

/**
 * Certificates whose chain was good and that a worker need not read again, leaves and issuers each:
 * a KiB or two, and more than the peers that one node talks to. All are forgotten when it is full.
 */
export const CERTIFICATES_KEPT_MAX = 2048;

/**
 * Most bytes of TLS in a row without any for the user; a peer that sends more is cut. One record
 * may come in pieces and is 16 KiB; a key is renewed after millions of records and a ticket sent
 * once, in some hundred bytes.
 */
export const BARREN_BYTES_MAX = 64 * 1024;

/**
 * Bytes of an application that are kept until a tunnel that was used before has answered. Whoever
 * has said more cannot go over to another tunnel, should the server just be leaving that one.
 */
export const KEPT_BYTES_MAX = 16 * 1024;

/**
 * Bytes: a stream that has sent no more can be aborted by RESET, and its tunnel carry another.
 * Behind more that frame might wait for an application that does not read; a reset of the tunnel
 * does not.
 */
export const SHORT_BYTES = 16 * 1024;

/**
 * Steps of one regular expression of a policy, once its repetitions are spelt out: a text is
 * matched in time proportional to them.
 */
export const REGEX_STEPS_MAX = 10_000;

/**
 * Descriptors that connections never get: with them the agent answers, reads its source and finds
 * pods while all others are taken.
 */
export const DESCRIPTORS_RESERVED = 64;
