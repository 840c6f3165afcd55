/**
 * What the readers of one policy document share: whose it is, and where they say what is wrong.
 *
 * @module
 */

import type { FieldPath } from "../../../model/mod.ts";
import type { Fault } from "../../fault.ts";

/** Of one document. */
export interface PolicyContext {
  /** Of the policy; empty for one of the whole cluster. */
  readonly namespace: string;
  /** Line of a field in its file, from 1. */
  readonly lineOf: (path: FieldPath) => number | undefined;
  /** What makes the document invalid. */
  readonly faults: Fault[];
  /** What its author may have meant otherwise. */
  readonly warnings: Fault[];
}
