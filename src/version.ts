/**
 * The version of weft: that of `deno.json`, kept here so that printing it reads no file. A test
 * compares the two.
 *
 * @module
 */

export const VERSION = "0.1.0";

/** Of what two agents must have in common: rows of the tunnel's frames and of announcements. */
export const DATAPATH_VERSION = "1";
