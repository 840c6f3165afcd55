/**
 * The words of a decision that the model, the compiler and the relay share.
 *
 * @module
 */

/** What one port of one pod asks of those who connect to it. */
export type Mode = "STRICT" | "PERMISSIVE" | "DISABLE";

/** How traffic between two pods of one node travels. */
export type SameNode = "encrypt" | "attest";
