/**
 * A small world around one server, whose policies the tests write: two nodes, two more pods.
 *
 * @module
 */

import type { Engine } from "@/src/evaluate/mod.ts";
import {
  cnp,
  type Document,
  engineOf,
  labelled,
  node,
  pod,
  type WorldOptions,
} from "./policies_world.ts";

export const SERVER = "default/server";
export const OBJECTS: readonly Document[] = [
  node("n1", "172.16.0.1", { role: "worker" }),
  node("n2", "172.16.0.2", { "node-role.kubernetes.io/control-plane": "" }),
  pod(SERVER, { labels: { app: "server" }, ip: "10.0.0.1", serviceAccount: "web" }),
  pod("default/a", { labels: { app: "a" }, ip: "10.0.0.2" }),
  pod("default/b", { labels: { app: "b" }, ip: "10.0.0.3", node: "n2" }),
];

/** An engine whose policies select the server. */
export function server(
  specs: readonly Document[],
  more: readonly Document[] = [],
  options: WorldOptions = {},
): Engine {
  const policies = specs.map((spec, index) =>
    cnp(`p${index}`, { endpointSelector: labelled({ app: "server" }), ...spec })
  );
  return engineOf([...OBJECTS, ...more, ...policies], options);
}

export function to(end: Document, port = 80, rest: Document = {}): Document {
  return { from: { pod: SERVER }, to: end, protocol: "TCP", port, ...rest };
}

export function from(end: Document, port = 80, rest: Document = {}): Document {
  return { from: end, to: { pod: SERVER }, protocol: "TCP", port, ...rest };
}

export const ip = (address: string, fqdn?: string): Document => ({
  ip: address,
  ...(fqdn !== undefined && { fqdn }),
});
export const DROP_OUT = "egress default-deny";
export const DROP_IN = "ingress default-deny";
