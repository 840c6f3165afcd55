/**
 * One snapshot, indexed: whose is this address, and what does its port ask for?
 *
 * In: a `RelaySnapshot`. Out: answers about addresses. Invariant: immutable; a new snapshot makes
 * a new World, and whoever judges a connection takes the World of that moment for all of it.
 *
 * @module
 */

import { createHash } from "node:crypto";
import type { ModeClass, SourceClass, Where } from "../compile/mod.ts";
import type { PeerAddress } from "../identity/mod.ts";
import { type Cidr, cidrContains, formatAddress, parseCidr } from "../model/mod.ts";
import type { RelayPeer, RelayPod, RelaySnapshot } from "./messages.ts";

/** What is known about one address. */
export interface Place {
  /** Canonical text. */
  readonly address: string;
  readonly source: SourceClass;
  /** For the issuer binding. */
  readonly owner: PeerAddress;
  /** The SPIFFE ID of the one pod that has the address. */
  readonly spiffeId?: string;
  /** What the port asks for. */
  port(port: number): { readonly mode: ModeClass; readonly where: Where };
  /** Equal for two places exactly when nothing that a decision depends on differs. */
  readonly fingerprint: string;
}

export class World {
  readonly snapshot: RelaySnapshot;
  readonly #peers: ReadonlyMap<string, RelayPeer>;
  readonly #pods: ReadonlyMap<string, RelayPod>;
  readonly #cidrs: readonly Cidr[];
  readonly #accounts = new Map<string, Set<string>>();
  readonly #places = new Map<string, Place>();

  constructor(snapshot: RelaySnapshot) {
    this.snapshot = snapshot;
    this.#peers = new Map(snapshot.peers.map((peer) => [peer.address, peer]));
    this.#pods = new Map(snapshot.pods.map((pod) => [pod.key, pod]));
    this.#cidrs = snapshot.cidrs.map(parseCidr).filter((cidr) => cidr !== undefined);
    for (const { kind, node, namespace, serviceAccount } of snapshot.peers) {
      if (kind !== "pod" || node === undefined) continue;
      const accounts = this.#accounts.get(node) ?? new Set();
      this.#accounts.set(node, accounts.add(`${namespace}/${serviceAccount}`));
    }
  }

  /** A pod of this node. */
  pod(key: string): RelayPod | undefined {
    return this.#pods.get(key);
  }

  /** What is known about an address of 16 bytes. */
  place(address: Uint8Array): Place {
    const text = formatAddress(address);
    const peer = this.#peers.get(text);
    if (peer === undefined) return this.#stranger(text, address);
    let place = this.#places.get(text);
    if (place === undefined) {
      place = this.#placeOf(peer);
      this.#places.set(text, place); // bounded: one for each peer
    }
    return place;
  }

  #placeOf(peer: RelayPeer): Place {
    const { mode, where } = peer;
    const ports = new Map(peer.ports.map((entry) => [entry.port, entry]));
    return {
      address: peer.address,
      source: peer.source,
      owner: this.#ownerOf(peer),
      ...(peer.spiffeId !== undefined && { spiffeId: peer.spiffeId }),
      port: (port) => ports.get(port) ?? { mode, where },
      fingerprint: digest(JSON.stringify(peer)),
    };
  }

  #ownerOf(peer: RelayPeer): PeerAddress {
    const { kind, node, nodeUid, namespace, serviceAccount } = peer;
    if (kind === "conflict" || node === undefined) return { kind: "conflict" };
    const home = { node, ...(nodeUid !== undefined && { nodeUid }) };
    if (kind === "node") {
      return { kind, ...home, serviceAccounts: this.#accounts.get(node) ?? new Set() };
    }
    if (namespace === undefined || serviceAccount === undefined) return { kind: "conflict" };
    return { kind, ...home, namespace, serviceAccount };
  }

  #stranger(text: string, address: Uint8Array): Place {
    const isInMesh = this.#cidrs.some((cidr) => cidrContains(cidr, address));
    const [kind, mode, where] = isInMesh
      ? ["unknown", "unknown", "unready"] as const
      : ["outside", "none", "remote"] as const;
    return {
      address: text,
      source: kind,
      owner: { kind },
      port: () => ({ mode, where }),
      fingerprint: kind,
    };
  }
}

/** Short, because many are kept: two texts have one digest exactly when they are equal. */
export function digest(text: string | Uint8Array): string {
  return createHash("sha256").update(text).digest("base64");
}
