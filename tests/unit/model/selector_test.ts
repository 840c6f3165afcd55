/**
 * Label selectors: what they select and what they may look like.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  type Expression,
  expressionFault,
  labelKeyFault,
  labelValueFault,
  selects,
} from "@/src/model/mod.ts";

const LABELS = new Map([["app", "web"], ["tier", "front"]]);

function selectsBy(matchLabels: Record<string, string>, ...matchExpressions: Expression[]) {
  return selects({ matchLabels: new Map(Object.entries(matchLabels)), matchExpressions }, LABELS);
}

describe("selects()", () => {
  const cases: readonly [string, boolean, boolean][] = [
    ["everything, when it is empty", selectsBy({}), true],
    ["by one label", selectsBy({ app: "web" }), true],
    ["by all labels", selectsBy({ app: "web", tier: "front" }), true],
    ["nothing by another value", selectsBy({ app: "db" }), false],
    ["nothing by an absent key", selectsBy({ zone: "a" }), false],
    ["nothing when one of two labels differs", selectsBy({ app: "web", tier: "back" }), false],
    ["In", selectsBy({}, { key: "app", operator: "In", values: ["db", "web"] }), true],
    ["not In", selectsBy({}, { key: "app", operator: "In", values: ["db"] }), false],
    ["not In an absent key", selectsBy({}, { key: "zone", operator: "In", values: ["a"] }), false],
    ["NotIn", selectsBy({}, { key: "app", operator: "NotIn", values: ["db"] }), true],
    ["not NotIn", selectsBy({}, { key: "app", operator: "NotIn", values: ["web"] }), false],
    ["NotIn an absent key", selectsBy({}, { key: "x", operator: "NotIn", values: ["a"] }), true],
    ["Exists", selectsBy({}, { key: "app", operator: "Exists", values: [] }), true],
    ["not Exists", selectsBy({}, { key: "x", operator: "Exists", values: [] }), false],
    ["DoesNotExist", selectsBy({}, { key: "x", operator: "DoesNotExist", values: [] }), true],
    [
      "not DoesNotExist",
      selectsBy({}, { key: "app", operator: "DoesNotExist", values: [] }),
      false,
    ],
    [
      "nothing when only the labels hold",
      selectsBy({ app: "web" }, { key: "tier", operator: "DoesNotExist", values: [] }),
      false,
    ],
  ];
  for (const [name, got, want] of cases) it(name, () => assert.equal(got, want));

  it("does not take a key for a property of JavaScript", () => {
    assert.equal(selectsBy({}, { key: "constructor", operator: "Exists", values: [] }), false);
  });
});

describe("label syntax", () => {
  for (const key of ["app", "app.kubernetes.io/name", "a", "A_b.c-d", "x".repeat(63)]) {
    it(`accepts the key "${key}"`, () => assert.equal(labelKeyFault(key), undefined));
  }
  for (
    const key of ["", "/x", "a/", "a/b/c", "-a", "a-", "a b", "A.b/c", "k8s:app", "x".repeat(64)]
  ) {
    it(`refuses the key "${key}"`, () => assert.notEqual(labelKeyFault(key), undefined));
  }
  for (const value of ["", "true", "1.0", "x".repeat(63)]) {
    it(`accepts the value "${value}"`, () => assert.equal(labelValueFault(value), undefined));
  }
  for (const value of ["-x", "a b", "a/b", "x".repeat(64)]) {
    it(`refuses the value "${value}"`, () => assert.notEqual(labelValueFault(value), undefined));
  }
  it("wants values for In and none for Exists", () => {
    const fault = (operator: Expression["operator"], values: string[]) =>
      expressionFault({ key: "a", operator, values });
    assert.equal(fault("In", []), "operator In must have at least one value");
    assert.equal(fault("NotIn", []), "operator NotIn must have at least one value");
    assert.equal(fault("Exists", ["a"]), "operator Exists must have no values");
    assert.equal(fault("DoesNotExist", ["a"]), "operator DoesNotExist must have no values");
    assert.equal(fault("In", ["a"]), undefined);
  });
});
