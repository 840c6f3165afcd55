/**
 * Counting tests from Deno's JUnit report.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { countTests } from "@/scripts/rings/junit.ts";

describe("countTests", () => {
  it("counts tests and not the suites that hold them", () => {
    const counts = countTests(report(
      ["outer", ""],
      ["outer > inner", ""],
      ["outer > inner > first", ""],
      ["outer > inner > second", ""],
      ["alone", ""],
    ));
    assert.deepEqual(counts, { passed: 3, failed: [], skipped: [] });
  });

  it("names what failed once, not again for its suites", () => {
    const counts = countTests(report(
      ["outer", FAILURE],
      ["outer > inner", FAILURE],
      ["outer > inner > fails &lt;&amp;&gt;", FAILURE],
      ["outer > works", ""],
    ));
    assert.deepEqual(counts, { passed: 1, failed: ["outer > inner > fails <&>"], skipped: [] });
  });

  it("counts a suite that failed by itself", () => {
    const counts = countTests(report(["outer", FAILURE], ["outer > works", ""]));
    assert.deepEqual(counts, { passed: 1, failed: ["outer"], skipped: [] });
  });

  it("names what was skipped", () => {
    const counts = countTests(report(["needs a newer kernel", "<skipped/>"], ["works", ""]));
    assert.deepEqual(counts, { passed: 1, failed: [], skipped: ["needs a newer kernel"] });
  });

  it("finds nothing in an empty report", () => {
    assert.deepEqual(countTests(""), { passed: 0, failed: [], skipped: [] });
  });
});

const FAILURE = '<failure message="no">no</failure>';

function report(...cases: readonly (readonly [name: string, body: string])[]): string {
  const rows = cases.map(([name, body]) =>
    `<testcase name="${name.replaceAll(" > ", " &gt; ")}" time="0.1">${body}</testcase>`
  );
  return `<testsuites><testsuite>${rows.join("\n")}</testsuite></testsuites>`;
}
