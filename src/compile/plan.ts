/**
 * The Plan: everything that the kernel must know of one State, as plain values, still without
 * numbers that depend on the running kernel (netns cookies, listener slots, map sizes: `load` adds
 * them). In: nothing. Out: the types that `compile` fills and `load` writes.
 *
 * Maps and lists are in sorted order: the same State gives a byte-identical Plan.
 *
 * @module
 */

import type { ModeClass, SourceClass, Where } from "./classes.ts";
import { decisionTable } from "./decide.ts";

/** What is to be in force. */
export interface Plan {
  /** Address in canonical text -> row of `addresses`. */
  readonly addresses: ReadonlyMap<string, AddressEntry>;
  /** `portKey()` -> row of `ports`: ports whose mode differs from their address's. */
  readonly ports: ReadonlyMap<string, PortEntry>;
  /** Pod CIDRs of all nodes, canonical, no host bits. */
  readonly cidrs: readonly string[];
  /** Cluster addresses and ports, with the backends of the same family. */
  readonly services: readonly ServiceEntry[];
  /** "namespace/name" -> pod of this node. */
  readonly localPods: ReadonlyMap<string, LocalPod>;
  /** All rows of `decisions`. */
  readonly decisions: Uint8Array;
}

/** Everything known about one address. */
export interface AddressEntry {
  readonly source: SourceClass;
  /** Of ports without an entry in `ports`, and of all that is not TCP. */
  readonly mode: ModeClass;
  readonly where: Where;
  readonly flags: AddressFlags;
  /** "namespace/name" of the pod that owns it; absent for nodes and conflicts. */
  readonly pod?: string;
}

/** Named like WEFT_ADDRESS_*. */
export interface AddressFlags {
  /** A pod of this node. */
  readonly local: boolean;
  /** Has entries in `ports`. */
  readonly ports: boolean;
  /** Some port is STRICT. */
  readonly strict: boolean;
  /** An address of this node itself. */
  readonly host: boolean;
}

/** The mode of one port. */
export interface PortEntry {
  readonly address: string;
  readonly port: number;
  readonly proto: Proto;
  readonly mode: ModeClass;
  readonly where: Where;
}

export type Proto = "TCP" | "UDP";

/** One cluster address and port. Without backends it is refused as `no-backend`. */
export interface ServiceEntry {
  /** "namespace/name" of the Service. */
  readonly service: string;
  readonly address: string;
  readonly port: number;
  readonly proto: Proto;
  readonly backends: readonly Backend[];
}

export interface Backend {
  readonly address: string;
  readonly port: number;
}

/** A live pod of this node on the pod network. */
export interface LocalPod {
  readonly key: string;
  /** Canonical text, at most one per family. */
  readonly addresses: readonly string[];
  /** Path of its network namespace, where the source names one. */
  readonly netns?: string;
  /** As the source of outbound connections: `mesh`, `plain` or `own_cert`. */
  readonly source: SourceClass;
}

/** The key of `Plan.ports`. */
export function portKey(address: string, port: number, proto: Proto): string {
  return `${address} ${port}/${proto}`;
}

/** The key of a service entry. */
export function serviceKey(entry: ServiceEntry): string {
  return portKey(entry.address, entry.port, entry.proto);
}

/** Knows nobody and so refuses: what rules before the first complete read. */
export function emptyPlan(): Plan {
  return {
    addresses: new Map(),
    ports: new Map(),
    cidrs: [],
    services: [],
    localPods: new Map(),
    decisions: decisionTable(),
  };
}
