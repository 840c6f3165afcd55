/**
 * The bits of all peers, and which identity has which. In: the predicates of every policy, and what
 * an identity is. Out: its row of bits.
 *
 * Bits are given in the order in which predicates are added. The compiler adds them rule by rule,
 * so the bits of a rule lie beside each other and those of an earlier rule before those of a later
 * one.
 *
 * @module
 */

import { type Cidr, type NamedPort, parseAddress } from "../../../model/mod.ts";
import {
  CIDR,
  type Entity,
  isEntity,
  type Label,
  type LabelSelector,
  matchesName,
  rangeOfKey,
} from "../../../model/network_policy/mod.ts";
import { LabelLookup } from "./label_lookup.ts";
import { PrefixSet } from "./prefixes.ts";
import { boundsOf, peerKey, type PeerSelector, type ResolvedPort } from "./selector.ts";

/** One end of a flow, as far as the other end's policies can tell. */
export interface Identity {
  readonly labels: readonly Label[];
  /** Canonical; undefined: it has none. */
  readonly address: string | undefined;
  /** `outside`: of an address that is neither a pod's nor a node's. */
  readonly kind: "pod" | "node" | "outside" | "other";
  /** For which the other end was given the address, absolute; nothing: for none that counts. */
  readonly name?: string | undefined;
  readonly ports: readonly NamedPort[];
}

/** A row of bits, 32 a word. */
export type Bits = Uint32Array<ArrayBuffer>;

/** Predicates in the order of their bits. */
export class PeerTable {
  readonly #selectors: PeerSelector[] = [];
  readonly #bits = new Map<string, number>();

  /** The bit of a predicate, a new one if it has none yet. */
  bitOf(selector: PeerSelector): number {
    const key = peerKey(selector);
    const known = this.#bits.get(key);
    if (known !== undefined) return known;
    const bit = this.#selectors.length;
    this.#selectors.push(selector);
    this.#bits.set(key, bit);
    return bit;
  }

  /** Takes back the bits from this one on. */
  forget(first: number): void {
    for (const selector of this.#selectors.splice(first)) this.#bits.delete(peerKey(selector));
  }

  /** Number of predicates. */
  get size(): number {
    return this.#selectors.length;
  }

  /** Words of a row: an even number, and never none. */
  get words(): number {
    return Math.max(2, 2 * Math.ceil(this.#selectors.length / 64));
  }

  get selectors(): readonly PeerSelector[] {
    return this.#selectors;
  }

  /** The ranges whose bounds decide about some predicate. */
  bounds(): Cidr[] {
    return this.#selectors.flatMap(boundsOf);
  }

  /** The rows of identities, in their order. */
  rowsOf(identities: readonly Identity[]): Bits[] {
    return new Matcher(this, identities).rows();
  }
}

/** Fills the rows of many identities, predicate by predicate. */
class Matcher {
  readonly #table: PeerTable;
  readonly #identities: readonly Identity[];
  readonly #rows: Bits[];
  /** Identities with the same labels, found together. */
  readonly #groups: number[][] = [];
  readonly #labels: (readonly Label[])[] = [];
  readonly #index: LabelLookup;
  readonly #byEntity = new Map<Entity, readonly number[]>();
  readonly #prefixes: PrefixSet;
  /** Identities by the text of a range that holds their address. */
  readonly #holding = new Map<string, Set<number>>();

  constructor(table: PeerTable, identities: readonly Identity[]) {
    this.#table = table;
    this.#identities = identities;
    this.#rows = identities.map(() => new Uint32Array(table.words));
    this.#group();
    this.#index = new LabelLookup(this.#labels);
    this.#prefixes = new PrefixSet(table.bounds());
    for (const [index, identity] of identities.entries()) {
      for (const range of rangesOf(identity)) this.#place(index, range);
    }
  }

  rows(): Bits[] {
    for (const [bit, selector] of this.#table.selectors.entries()) {
      for (const index of this.#matching(selector)) {
        const row = this.#rows[index];
        if (row) row[bit >>> 5] = ((row[bit >>> 5] ?? 0) | (1 << (bit & 31))) >>> 0;
      }
    }
    return this.#rows;
  }

  #matching(selector: PeerSelector): readonly number[] {
    switch (selector.kind) {
      case "labels":
        return this.#selected(selector.selector);
      case "pods":
        return this.#selected(selector.selector).filter((index) => this.#is(index, "pod"));
      case "entity":
        return this.#ofEntity(selector.entity);
      case "cidr":
        return this.#inRange(selector.cidr).filter((index) =>
          (selector.scope === "everywhere"
            ? this.#identities[index]?.address !== undefined
            : this.#is(index, "outside")) &&
          !selector.except.some((range) => this.#isIn(index, range))
        );
      case "addresses":
        return [...new Set(selector.cidrs.flatMap((range) => this.#inRange(range)))]
          .filter((index) => this.#is(index, "outside"));
      case "outside":
        return this.#where(({ kind }) => kind === "outside");
      case "name":
        return this.#where(({ name }) => name !== undefined && matchesName(selector.pattern, name));
      case "named-port": {
        const { peer, port } = selector;
        const peers = peer === undefined ? this.#where(() => true) : this.#matching(peer);
        return peers.filter((index) => hasPort(this.#identities[index], port));
      }
    }
  }

  #selected(selector: LabelSelector): number[] {
    return this.#index.matching(selector).flatMap((group) => this.#groups[group] ?? []);
  }

  #ofEntity(entity: Entity): readonly number[] {
    const known = this.#byEntity.get(entity);
    if (known) return known;
    const groups = this.#labels.map((labels) => isEntity(entity, labels));
    const found = this.#groups.flatMap((members, group) => groups[group] ? members : []);
    this.#byEntity.set(entity, found);
    return found;
  }

  #inRange({ text }: Cidr): readonly number[] {
    return [...this.#holding.get(text) ?? []];
  }

  #is(index: number, kind: Identity["kind"]): boolean {
    return this.#identities[index]?.kind === kind;
  }

  #isIn(index: number, { text }: Cidr): boolean {
    return this.#holding.get(text)?.has(index) ?? false;
  }

  #where(test: (identity: Identity) => boolean): number[] {
    return this.#identities.flatMap((identity, index) => test(identity) ? [index] : []);
  }

  #group(): void {
    const known = new Map<string, number>();
    for (const [index, { labels }] of this.#identities.entries()) {
      const key = JSON.stringify(labels.map(({ source, key, value }) => [source, key, value]));
      let group = known.get(key);
      if (group === undefined) {
        group = this.#labels.push(labels) - 1;
        known.set(key, group);
      }
      (this.#groups[group] ??= []).push(index);
    }
  }

  #place(index: number, range: Pick<Cidr, "bytes" | "bits">): void {
    for (const text of this.#prefixes.holding(range)) {
      const held = this.#holding.get(text) ?? new Set();
      this.#holding.set(text, held.add(index));
    }
  }
}

/** Where an identity is: at its address, or in the ranges that its labels name. */
function rangesOf({ address, labels }: Identity): Pick<Cidr, "bytes" | "bits">[] {
  if (address === undefined) return rangesOfLabels(labels);
  const bytes = parseAddress(address);
  return bytes === undefined ? [] : [{ bytes, bits: 8 * bytes.length }];
}

/** The ranges that labels of source `cidr` name. */
export function rangesOfLabels(labels: readonly Label[]): Cidr[] {
  return labels.flatMap(({ source, key }) => source === CIDR ? rangeOfKey(key) ?? [] : []);
}

function hasPort(
  identity: Identity | undefined,
  { transport, name, number }: ResolvedPort,
): boolean {
  return identity?.ports.some((port) =>
    port.proto === transport && port.name.toLowerCase() === name && port.port === number
  ) ?? false;
}
