/**
 * What the policy compiler reads: objects of the model, and nothing else. In no particular order:
 * the compiler sorts, so that the same objects give the same bytes. Secrets are for the payload,
 * which no program reads.
 *
 * @module
 */

import type { Enforcement, PolicyWorld } from "../../model/network_policy/mod.ts";

/** Everything that policies speak of, at one moment. */
export interface PolicySnapshot extends Omit<PolicyWorld, "secrets"> {
  readonly enforcement: Enforcement;
}
