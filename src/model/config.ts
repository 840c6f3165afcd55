/**
 * The settings of an agent that change what the same objects mean. They are part of the State: a
 * State explains itself without the command line that made it.
 *
 * @module
 */

import type { Mode, SameNode } from "./mode.ts";

export interface MeshConfig {
  /** Name of this node. */
  readonly node: string;
  readonly trustDomain: string;
  /** Policies there may target any namespace. */
  readonly systemNamespace: string;
  /** `all`: pods without a label of their own or of their namespace are enrolled. */
  readonly enroll: "label" | "all";
  /** Of enrolled pods that no policy selects. */
  readonly defaultMode: Mode;
  /** Where no policy says. */
  readonly sameNode: SameNode;
  /** Suffix of Service names. */
  readonly clusterDomain?: string;
}
