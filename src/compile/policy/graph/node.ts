/**
 * The decision graph: what a verdict program does, before it is instructions.
 *
 * Nodes are made once per meaning (two equal nodes are one), so rules that say the same about many
 * ports share their code, and a test whose two outcomes are equal is no test at all. Node ids are
 * dense and a node's children come before it.
 *
 * @module
 */

/** A node's number. */
export type NodeId = number;

export type Node =
  | Leaf
  /** `port < bound`; for ICMP the type of the message stands in the port's place. */
  | { readonly kind: "below"; readonly bound: number; readonly yes: NodeId; readonly no: NodeId }
  | {
    readonly kind: "equal";
    readonly field: "direction" | "protocol";
    readonly value: number;
    readonly yes: NodeId;
    readonly no: NodeId;
  }
  /** The flow is mutual TLS between authenticated identities. */
  | { readonly kind: "authenticated"; readonly yes: NodeId; readonly no: NodeId }
  /** The peer has any of these bits. */
  | {
    readonly kind: "peer";
    readonly masks: readonly Mask[];
    /** Whose peers they are: the first rule and the last; for the listing alone. */
    readonly rules: RuleSpan;
    readonly yes: NodeId;
    readonly no: NodeId;
  };

/** The end of a path. */
export interface Leaf {
  readonly kind: "verdict";
  readonly reason: VerdictReason;
  /** Index of the rule that decided; -1: no rule did. */
  readonly rule: number;
}

/** `none` allows. */
export type VerdictReason =
  | "none"
  | "policy-denied"
  | "default-deny"
  | "auth-required"
  | "policy-conflict"
  | "l7-unavailable";

/** Bits of one word of an identity's row. */
export interface Mask {
  /** Index of the word of 32 bits. */
  readonly word: number;
  /** Unsigned, never 0. */
  readonly bits: number;
}

/** Indexes of the first and the last rule of a stretch. */
export type RuleSpan = readonly [first: number, last: number];

/** A graph under construction. */
export class Graph {
  readonly #nodes: Node[] = [];
  readonly #known = new Map<string, NodeId>();

  get nodes(): readonly Node[] {
    return this.#nodes;
  }

  verdict(reason: VerdictReason, rule = -1): NodeId {
    return this.#add(`v ${reason} ${rule}`, { kind: "verdict", reason, rule });
  }

  below(bound: number, yes: NodeId, no: NodeId): NodeId {
    if (yes === no) return yes;
    return this.#add(`b ${bound} ${yes} ${no}`, { kind: "below", bound, yes, no });
  }

  equal(field: "direction" | "protocol", value: number, yes: NodeId, no: NodeId): NodeId {
    if (yes === no) return yes;
    return this.#add(`e ${field} ${value} ${yes} ${no}`, { kind: "equal", field, value, yes, no });
  }

  authenticated(yes: NodeId, no: NodeId): NodeId {
    if (yes === no) return yes;
    return this.#add(`a ${yes} ${no}`, { kind: "authenticated", yes, no });
  }

  /** `bits` are the numbers of the bits, or `any` for every peer. */
  peer(bits: Iterable<number> | "any", rules: RuleSpan, yes: NodeId, no: NodeId): NodeId {
    if (bits === "any" || yes === no) return yes;
    const masks = masksOf(bits);
    if (masks.length === 0) return no;
    const text = masks.map(({ word, bits }) => `${word}:${bits}`).join(",");
    return this.#add(`p ${text} ${yes} ${no}`, { kind: "peer", masks, rules, yes, no });
  }

  #add(key: string, node: Node): NodeId {
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    const id = this.#nodes.push(node) - 1;
    this.#known.set(key, id);
    return id;
  }
}

function masksOf(bits: Iterable<number>): Mask[] {
  const words = new Map<number, number>();
  for (const bit of bits) {
    const word = bit >>> 5;
    words.set(word, ((words.get(word) ?? 0) | (1 << (bit & 31))) >>> 0);
  }
  return [...words].sort(([a], [b]) => a - b).map(([word, bits]) => ({ word, bits }));
}
