/**
 * The words of a decision and their numbers in `bpf/layout.h`: who connects, what the port asks
 * for, where the destination lives and what is decided (why: `src/reasons.ts`).
 *
 * The position of a word in its list is its number in the kernel; a test compares both with the
 * header, so that neither can drift. Words rather than numbers, because the relay, `explain` and
 * the events show them to people.
 *
 * @module
 */

/** Where a connection is judged. */
export const STAGES = ["outbound", "inbound"] as const;
export type Stage = typeof STAGES[number];

/** Who connects, as far as an address tells. */
export const SOURCES = [
  "unknown",
  "outside",
  "node",
  "plain",
  "own_cert",
  "mesh",
  "conflict",
] as const;
export type SourceClass = typeof SOURCES[number];

/** What the port asks for; `none`: not in the mesh, or DISABLE. */
export const MODES = ["unknown", "none", "permissive", "strict"] as const;
export type ModeClass = typeof MODES[number];

/** Where the destination lives, seen from this node. */
export const WHERES = ["unready", "remote", "encrypt", "attest"] as const;
export type Where = typeof WHERES[number];

/** What is decided for a connection. */
export const VERDICTS = ["refuse", "direct", "relay", "wait"] as const;
export type Verdict = typeof VERDICTS[number];

/** Places per dimension of the decision table: `WEFT_SOURCE_MAX` and its like. */
export const SOURCES_MAX = 8;
export const MODES_MAX = 4;
export const WHERES_MAX = 4;

/** The number of a word in the kernel. */
export function codeOf<Word extends string>(words: readonly Word[], word: Word): number {
  return words.indexOf(word);
}
