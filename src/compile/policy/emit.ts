/**
 * A decision graph becomes a verdict program.
 *
 * In: the graph, its root, and texts of the rules. Out: a linked program. It finds its question in
 * a per-CPU slot and the peer's row of bits in an array, walks the graph, writes the answer into
 * the slot and leaves by tail call to the next stage. Where anything is missing, it drops.
 *
 * Registers: R6 the slot, R7 the row of bits, R8 the port, R9 the context; R1 and R2 are scratch.
 *
 * @module
 */

import {
  alu,
  call,
  exit,
  HelperCode,
  type Item,
  jump,
  jumpIf,
  jumpIf32,
  label,
  link,
  load,
  loadMap,
  loadWide,
  mov,
  type Program,
  R0,
  R1,
  R10,
  R2,
  R3,
  R6,
  R7,
  R8,
  R9,
  slotCount,
  store,
  storeImmediate,
  withIslands,
  withOrigin,
} from "../../asm/mod.ts";
import type { Mask, Node, NodeId } from "./graph/node.ts";
import { POLICY_SLOTS_MAX, PolicyLimitError } from "./limits.ts";
import { encodeAnswer, QueryOffset } from "./flow/query.ts";

/** Maps that verdict programs name. */
export const PolicyMap = {
  /** Per-CPU array of one question. */
  QUERY: "policy_query",
  /** Array: rows of bits by identity. */
  IDENTITIES: "policy_bits",
  /** Programs that a verdict program leaves to. */
  STAGES: "policy_stages",
} as const;

/** Index in `PolicyMap.STAGES` of the program that acts on the answer. */
export const STAGE_AFTER_VERDICT = 0;

/** TC_ACT_SHOT */
const DROP = 2;

/** Where the texts of the listing come from. */
export interface Names {
  /** The text of a rule, by its index. */
  rule(index: number): string;
}

/** Emits and links the program of a graph. Throws PolicyLimitError. */
export function emitProgram(nodes: readonly Node[], root: NodeId, names: Names): Program {
  const items = [
    ...withOrigin("find the question and the peer", PROLOGUE),
    ...emitGraph(nodes, root, names),
    ...withOrigin("answer and leave", EPILOGUE),
  ];
  // Before it is laid out: that takes long for what is far too large.
  const slots = slotCount(items);
  if (slots > POLICY_SLOTS_MAX) {
    throw new PolicyLimitError("slots", { current: slots, max: POLICY_SLOTS_MAX });
  }
  return link(withIslands(items));
}

const KEY_OFFSET = -4;

const PROLOGUE: readonly Item[] = [
  mov.reg(R9, R1),
  storeImmediate("u32", R10, KEY_OFFSET, 0),
  loadMap(R1, PolicyMap.QUERY),
  mov.reg(R2, R10),
  alu.add.imm(R2, KEY_OFFSET),
  call(HelperCode.MAP_LOOKUP),
  jumpIf.equal.imm(R0, 0, "drop"),
  mov.reg(R6, R0),
  load("u32", R1, R6, QueryOffset.IDENTITY),
  store("u32", R10, KEY_OFFSET, R1),
  loadMap(R1, PolicyMap.IDENTITIES),
  mov.reg(R2, R10),
  alu.add.imm(R2, KEY_OFFSET),
  call(HelperCode.MAP_LOOKUP),
  mov.imm(R1, encodeAnswer("unknown-identity", -1)),
  jumpIf.equal.imm(R0, 0, "answer"),
  mov.reg(R7, R0),
  load("u16", R8, R6, QueryOffset.PORT),
];

const EPILOGUE: readonly Item[] = [
  label("answer"),
  store("u32", R6, QueryOffset.ANSWER, R1),
  mov.reg(R1, R9),
  loadMap(R2, PolicyMap.STAGES),
  mov.imm(R3, STAGE_AFTER_VERDICT),
  call(HelperCode.TAIL_CALL),
  label("drop"),
  mov.imm(R0, DROP),
  exit(),
];

/**
 * The nodes that `root` leads to, each once, and each before all that it leads to: jumps go forward
 * alone. The kernel lays machine code out in passes until no jump changes its length any more; with
 * jumps both ways through each other it may never be done, and refuses the program (ENOTSUPP).
 */
function emitGraph(nodes: readonly Node[], root: NodeId, names: Names): Item[] {
  const order = inOrder(nodes, root);
  return order.flatMap((id, index) => {
    const node = nodeOf(nodes, id);
    const items = [label(placeOf(id)), ...emitNode(node, names)];
    const fallsThrough = node.kind === "verdict" || order[index + 1] === node.no;
    return fallsThrough ? items : [...items, jump(placeOf(node.no))];
  });
}

/** Depth first, in reverse of the order in which nodes are done: a "no" follows where it can. */
function inOrder(nodes: readonly Node[], root: NodeId): NodeId[] {
  const done: NodeId[] = [];
  const seen = new Set([root]);
  const path = [{ id: root, left: successorsOf(nodeOf(nodes, root)) }];
  for (let at = path.at(-1); at !== undefined; at = path.at(-1)) {
    const next = at.left.pop();
    if (next === undefined) {
      done.push(at.id);
      path.pop();
    } else if (!seen.has(next)) {
      seen.add(next);
      path.push({ id: next, left: successorsOf(nodeOf(nodes, next)) });
    }
  }
  return done.reverse();
}

/** The last is looked at first, and so comes last. */
function successorsOf(node: Node): NodeId[] {
  return node.kind === "verdict" ? [] : [node.no, node.yes];
}

function nodeOf(nodes: readonly Node[], id: NodeId): Node {
  const node = nodes[id];
  if (node === undefined) throw new RangeError(`Cannot emit node ${id}: there is none`);
  return node;
}

function placeOf(id: NodeId): string {
  return `n${id}`;
}

/** Goes to the node's "yes" if its test holds, else on. A verdict goes to the end. */
function emitNode(node: Node, names: Names): Item[] {
  switch (node.kind) {
    case "verdict": {
      const origin = node.rule < 0 ? node.reason : `${node.reason}: ${names.rule(node.rule)}`;
      return withOrigin(origin.replace(/^none/, "allow"), [
        mov.imm(R1, encodeAnswer(node.reason, node.rule)),
        jump("answer"),
      ]);
    }
    case "below":
      return withOrigin("ports", [jumpIf32.less.imm(R8, node.bound, placeOf(node.yes))]);
    case "equal":
      return withOrigin(node.field, emitEqual(node));
    case "authenticated":
      return withOrigin("authentication", [
        load("u8", R1, R6, QueryOffset.AUTHENTICATED),
        jumpIf32.notEqual.imm(R1, 0, placeOf(node.yes)),
      ]);
    case "peer": {
      const [first, last] = node.rules;
      const text = first === last
        ? `peers of ${names.rule(first)}`
        : `peers of ${names.rule(first)} to ${names.rule(last)}`;
      return withOrigin(text, emitMasks(node.masks, placeOf(node.yes)));
    }
  }
}

function emitEqual({ field, value, yes }: Extract<Node, { kind: "equal" }>): Item[] {
  const offset = field === "direction" ? QueryOffset.DIRECTION : QueryOffset.PROTOCOL;
  return [load("u8", R1, R6, offset), jumpIf32.equal.imm(R1, value, placeOf(yes))];
}

/** One test for each word of 64 bits, or of 32 where the other half is not asked for. */
function emitMasks(masks: readonly Mask[], yes: string): Item[] {
  const halves = new Map(masks.map(({ word, bits }) => [word, bits]));
  return masks.flatMap(({ word, bits }) => {
    const isLow = word % 2 === 0;
    const other = halves.get(isLow ? word + 1 : word - 1);
    if (other === undefined) {
      return [load("u32", R1, R7, word * 4), jumpIf32.anyBit.imm(R1, bits, yes)];
    }
    if (!isLow) return []; // tested together with the half before it
    return [
      load("u64", R1, R7, word * 4),
      loadWide(R2, (BigInt(other) << 32n) | BigInt(bits)),
      jumpIf.anyBit.reg(R1, R2, yes),
    ];
  });
}
