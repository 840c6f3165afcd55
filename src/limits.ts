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

/** Rows of `addresses` and `ports` (bpf/maps.h). */
export const ADDRESSES_MAX = 65_536;

/** Rows of `pods`: pods of one node (bpf/maps.h). The kubelet's own default is 110. */
export const LOCAL_PODS_MAX = 1024;

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

/** How long an agent that was asked to end lets live connections finish; new ones are refused. */
export const DRAIN_MS = 2000;
