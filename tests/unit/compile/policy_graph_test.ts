/**
 * The decision graph against plain loops: the first rule that matches, and the interval of a port.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { firstOf } from "@/src/compile/policy/graph/first.ts";
import { Graph, type Node, type NodeId } from "@/src/compile/policy/graph/node.ts";
import { decideByPort } from "@/src/compile/policy/graph/ports.ts";

/** Walks a graph; returns the rule at its end and the tests on the way. */
function walk(
  nodes: readonly Node[],
  root: NodeId,
  flow: { readonly bits?: ReadonlySet<number>; readonly port?: number },
): { rule: number; tests: number } {
  let [id, tests] = [root, 0];
  for (;;) {
    const node = nodes[id];
    assert.ok(node);
    if (node.kind === "verdict") return { rule: node.rule, tests };
    if (node.kind === "below") {
      tests++;
      id = (flow.port ?? 0) < node.bound ? node.yes : node.no;
    } else {
      assert.equal(node.kind, "peer");
      if (node.kind !== "peer") continue;
      tests += node.masks.length;
      const has = node.masks.some(({ word, bits }) =>
        [...flow.bits ?? []].some((bit) => bit >>> 5 === word && (bits & (1 << (bit & 31))) !== 0)
      );
      id = has ? node.yes : node.no;
    }
  }
}

const bit = fc.integer({ min: 0, max: 199 });

describe("firstOf()", () => {
  it("finds the first candidate that has one of the peer's bits", () => {
    const candidate = fc.oneof(
      { weight: 8, arbitrary: fc.array(bit, { maxLength: 4 }) },
      { weight: 1, arbitrary: fc.constant("any" as const) },
    );
    fc.assert(
      fc.property(fc.array(candidate, { maxLength: 20 }), fc.array(bit), (list, own) => {
        const graph = new Graph();
        const bits = new Set(own);
        const candidates = list.map((bits, rule) => ({
          rule,
          bits,
          outcome: graph.verdict("none", rule),
        }));
        const root = firstOf(graph, candidates, graph.verdict("default-deny"));
        const wanted = list.findIndex((its) => its === "any" || its.some((one) => bits.has(one)));
        assert.equal(walk(graph.nodes, root, { bits }).rule, wanted);
      }),
    );
  });

  it("asks for each word once where nothing matches, and then by halves", () => {
    const graph = new Graph();
    const candidates = Array.from({ length: 1024 }, (_, rule) => ({
      rule,
      bits: [rule],
      outcome: graph.verdict("none", rule),
    }));
    const root = firstOf(graph, candidates, graph.verdict("default-deny"));
    assert.equal(walk(graph.nodes, root, { bits: new Set() }).tests, 32);
    for (const rule of [0, 511, 1023]) {
      const { rule: found, tests } = walk(graph.nodes, root, { bits: new Set([rule]) });
      assert.equal(found, rule);
      assert.ok(tests <= 32 + 32 + 6, `${tests} tests`);
    }
  });

  it("does not ask where all outcomes are one", () => {
    const graph = new Graph();
    const outcome = graph.verdict("none");
    assert.equal(firstOf(graph, [{ rule: 0, bits: [1, 2], outcome }], outcome), outcome);
  });
});

describe("decideByPort()", () => {
  const range = fc.tuple(fc.integer({ min: 0, max: 65_535 }), fc.integer({ min: 0, max: 300 }))
    .map(([first, length]) => ({ first, last: Math.min(65_535, first + length) }));

  it("applies to each port the ranges that hold it", () => {
    fc.assert(
      fc.property(fc.array(range, { maxLength: 12 }), fc.nat(65_535), (ranges, port) => {
        const graph = new Graph();
        const entries = ranges.map((range, order) => ({ ...range, order }));
        // The verdict's rule stands for the set of entries that apply.
        const root = decideByPort(
          graph,
          entries,
          (applying) =>
            graph.verdict("none", applying.reduce((sum, { order }) => sum + 2 ** order, 0)),
        );
        const bounds = ranges.flatMap(({ first, last }) => [first - 1, first, last, last + 1]);
        for (const at of [port, 0, 65_535, ...bounds].filter((at) => at >= 0 && at <= 65_535)) {
          const wanted = entries.filter(({ first, last }) => first <= at && at <= last)
            .reduce((sum, { order }) => sum + 2 ** order, 0);
          assert.equal(walk(graph.nodes, root, { port: at }).rule, wanted);
        }
      }),
    );
  });

  it("finds one of a thousand ports in ten comparisons or eleven", () => {
    const graph = new Graph();
    const entries = Array.from({ length: 1000 }, (_, order) => {
      return { first: 10 * order, last: 10 * order, order };
    });
    const root = decideByPort(graph, entries, ([one]) => graph.verdict("none", one?.order ?? -1));
    for (const port of [0, 5000, 9990, 65_535]) {
      assert.ok(walk(graph.nodes, root, { port }).tests <= 11);
    }
  });
});

describe("a Graph", () => {
  it("makes equal nodes once", () => {
    const graph = new Graph();
    const [yes, no] = [graph.verdict("none", 1), graph.verdict("default-deny")];
    assert.equal(graph.below(80, yes, no), graph.below(80, yes, no));
    assert.notEqual(graph.below(80, yes, no), graph.below(81, yes, no));
    assert.equal(graph.peer([3, 40], [0, 0], yes, no), graph.peer([40, 3], [0, 0], yes, no));
    assert.equal(graph.peer([], [0, 0], yes, no), no);
    assert.equal(graph.below(80, yes, yes), yes);
  });
});
