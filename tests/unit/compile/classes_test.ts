/**
 * The words of a decision have the numbers of `bpf/layout.h`.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  WEFT_DECISIONS,
  WeftDecision,
  WeftMode,
  WeftReason,
  WeftSource,
  WeftStage,
  WeftVerdict,
  WeftWhere,
} from "@/bpf/layout.gen.ts";
import {
  decide,
  decisionTable,
  MODES,
  MODES_MAX,
  type Question,
  SOURCES,
  SOURCES_MAX,
  STAGES,
  VERDICTS,
  WHERES,
  WHERES_MAX,
} from "@/src/compile/mod.ts";

describe("words and numbers", () => {
  const lists = [
    ["stages", STAGES, WeftStage],
    ["sources", SOURCES, WeftSource],
    ["modes", MODES, WeftMode],
    ["wheres", WHERES, WeftWhere],
    ["verdicts", VERDICTS, WeftVerdict],
  ] as const;
  for (const [name, words, numbers] of lists) {
    it(`are the kernel's for ${name}`, () => {
      const { MAX: _, ...known } = { MAX: 0, ...numbers };
      const mine = Object.fromEntries(words.map((word, index) => [word.toUpperCase(), index]));
      assert.deepEqual(mine, known);
    });
  }

  it("leave as many places as the kernel does", () => {
    assert.equal(SOURCES_MAX, WeftSource.MAX);
    assert.equal(MODES_MAX, WeftMode.MAX);
    assert.equal(WHERES_MAX, WeftWhere.MAX);
    assert.equal(decisionTable().length, WEFT_DECISIONS * WeftDecision.size);
  });
});

describe("decisionTable()", () => {
  /** As `decision_of()` in bpf/decide.h finds it. */
  const rowOf = (question: Question) => {
    const key = (word: string) => word.toUpperCase();
    const stage = WeftStage[key(question.stage) as keyof typeof WeftStage];
    const source = WeftSource[key(question.source) as keyof typeof WeftSource];
    const mode = WeftMode[key(question.mode) as keyof typeof WeftMode];
    const where = WeftWhere[key(question.where) as keyof typeof WeftWhere];
    const index = ((stage * WeftSource.MAX + source) * WeftMode.MAX + mode) * WeftWhere.MAX + where;
    return WeftDecision.decode(decisionTable(), index * WeftDecision.size);
  };

  it("says in every row what decide() says", () => {
    for (const stage of STAGES) {
      for (const source of SOURCES) {
        for (const mode of MODES) {
          for (const where of WHERES) {
            const question = { stage, source, mode, where };
            const { verdict, fallback, reason } = decide(question);
            const name = reason.toUpperCase().replaceAll("-", "_") as keyof typeof WeftReason;
            assert.deepEqual(rowOf(question), {
              verdict: WeftVerdict[verdict.toUpperCase() as keyof typeof WeftVerdict],
              fallback: WeftVerdict[fallback.toUpperCase() as keyof typeof WeftVerdict],
              reason: WeftReason[name],
            }, JSON.stringify(question));
          }
        }
      }
    }
  });

  it("has zeros, which refuse, where nobody asks", () => {
    const table = decisionTable();
    for (let index = 0; index < WEFT_DECISIONS; index++) {
      if (Math.floor(index / (MODES_MAX * WHERES_MAX)) % SOURCES_MAX < SOURCES.length) continue;
      const row = table.subarray(index * WeftDecision.size, (index + 1) * WeftDecision.size);
      assert.ok(row.every((byte) => byte === 0), `row ${index}`);
    }
  });
});
