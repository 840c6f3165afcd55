/**
 * What a rule's peers are made of after groups and Services have been looked up: predicates over
 * one identity. Each distinct one gets a bit (`table.ts`).
 *
 * @module
 */

import type { Cidr } from "../../../model/mod.ts";
import {
  type CidrPeer,
  type Entity,
  type LabelSelector,
  type NamePattern,
  selectorText,
  type Transport,
} from "../../../model/network_policy/mod.ts";

/** A predicate over one identity. */
export type PeerSelector =
  | { readonly kind: "labels"; readonly selector: LabelSelector }
  /** The same, of pods alone. */
  | { readonly kind: "pods"; readonly selector: LabelSelector }
  | { readonly kind: "entity"; readonly entity: Entity }
  | CidrPeer
  /** An address that is neither a pod's nor a node's. */
  | { readonly kind: "outside" }
  /** Such an address, given to whoever asks for a name like this. */
  | { readonly kind: "name"; readonly pattern: NamePattern }
  /**
   * Something that `peer` selects (undefined: anything) and whose port of this name is `number`.
   */
  | {
    readonly kind: "named-port";
    readonly peer: Exclude<PeerSelector, { kind: "named-port" }> | undefined;
    readonly port: ResolvedPort;
  }
  /** Addresses that a Service's foreign endpoints have, outside of the cluster. */
  | { readonly kind: "addresses"; readonly cidrs: readonly Cidr[] };

/** A named port and a number that some pod gives it. */
export interface ResolvedPort {
  readonly transport: Transport;
  readonly name: string;
  readonly number: number;
}

/** One text per meaning. */
export function peerKey(selector: PeerSelector): string {
  switch (selector.kind) {
    case "labels":
    case "pods":
      return `${selector.kind} ${selectorText(selector.selector)}`;
    case "entity":
      return `entity ${selector.entity}`;
    case "cidr": {
      const excepts = selector.except.map(({ text }) => text).sort();
      return `cidr ${selector.scope} ${[selector.cidr.text, ...excepts].join(" ")}`;
    }
    case "addresses":
      return `addresses ${selector.cidrs.map(({ text }) => text).sort().join(" ")}`;
    case "outside":
      return "outside";
    case "name":
      return `name ${selector.pattern.kind} ${selector.pattern.text}`;
    case "named-port": {
      const { transport, name, number } = selector.port;
      const peer = selector.peer === undefined ? "any" : peerKey(selector.peer);
      return `port ${transport} ${name}=${number} of ${peer}`;
    }
  }
}

/** The ranges whose bounds decide about the predicate. */
export function boundsOf(selector: PeerSelector): readonly Cidr[] {
  switch (selector.kind) {
    case "cidr":
      return [selector.cidr, ...selector.except];
    case "addresses":
      return selector.cidrs;
    case "named-port":
      return selector.peer === undefined ? [] : boundsOf(selector.peer);
    default:
      return [];
  }
}
