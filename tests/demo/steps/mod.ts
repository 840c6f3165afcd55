/**
 * The nine steps, in order.
 *
 * @module
 */
import type { Step } from "../step.ts";
import { AGENT_DIES } from "./agent_dies.ts";
import { CERTIFICATES } from "./certificates.ts";
import { FAREWELL } from "./farewell.ts";
import { ENROLLED } from "./mutual_tls.ts";
import { OUTSIDE } from "./outside.ts";
import { CURL_WORKS, PODS, POLICY } from "./plain.ts";
import { TWO_NODES } from "./two_nodes.ts";

export const STEPS: readonly Step[] = [
  PODS,
  CURL_WORKS,
  POLICY,
  OUTSIDE,
  ENROLLED,
  CERTIFICATES,
  AGENT_DIES,
  TWO_NODES,
  FAREWELL,
];
