/**
 * The promises that weft keeps under attack, load and fault, by section: the index of the node
 * ring. `deno task test:mutations` shows each of their tests red once.
 *
 * @module
 */
import { around } from "./around.ts";
import type { Clause } from "./clause.ts";
import { faults } from "./faults.ts";
import { input } from "./input.ts";
import { load } from "./load.ts";
import { maps } from "./maps.ts";
import { peers } from "./peers.ts";
import { sockets } from "./sockets.ts";

/** Every section, in the order in which a reader wants them. */
export const SECTIONS: Readonly<Record<string, readonly Clause[]>> = {
  load,
  peers,
  sockets,
  around,
  faults,
  maps,
  input,
};
