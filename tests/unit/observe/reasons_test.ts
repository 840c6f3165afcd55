/**
 * The list of reasons and the counters agree with `bpf/layout.h`, and each reason has its words.
 *
 * @module
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { WeftCounter, WeftReason } from "@/bpf/layout.gen.ts";
import { COUNTERS } from "@/src/observe/counters.ts";
import { describeReason, reasonOf, REASONS, REFUSAL_REASONS } from "@/src/reasons.ts";

describe("the list of reasons", () => {
  it("is the one of bpf/layout.h, number by number", () => {
    const inKernel = Object.entries(WeftReason)
      .filter(([name]) => name !== "NONE" && name !== "MAX")
      .map(([name, number]) => [name.toLowerCase().replaceAll("_", "-"), number]);
    const ours = Object.entries(REASONS).map(([code, { number }]) => [code, number]);
    assert.deepEqual(ours, inKernel);
  });

  it("has two sentences for each, without their periods", () => {
    for (const reason of REFUSAL_REASONS) {
      for (const text of [REASONS[reason].happened, REASONS[reason].hint]) {
        assert.ok(text.length > 15, `${reason}: "${text}" says too little`);
        assert.doesNotMatch(text, /[.!\n]$/, reason);
      }
    }
  });

  it("says of an unknown number that it is unknown, never that nothing happened", () => {
    assert.equal(reasonOf(0), "none");
    assert.equal(reasonOf(63), "reason-63");
    assert.match(describeReason("reason-63").happened, /unknown reason/);
  });
});

describe("the kernel's counters", () => {
  it("are named as in bpf/layout.h", () => {
    const { MAX: _, ...inKernel } = WeftCounter;
    assert.deepEqual({ ...COUNTERS }, inKernel);
  });
});
