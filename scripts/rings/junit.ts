/**
 * Counts what a `deno test` run did. In: the text of its JUnit report. Out: passed, failed and
 * skipped tests by name.
 *
 * Only leaves count: Deno reports a suite (`describe`) as a test case of its own, whose name is a
 * prefix of its children's. A suite that failed although none of its children did (a hook that
 * threw) counts as one failure, so that no failure is lost.
 *
 * @module
 */

export interface TestCounts {
  readonly passed: number;
  /** Names of tests that failed. */
  readonly failed: readonly string[];
  /** Names of tests that were skipped. */
  readonly skipped: readonly string[];
}

/** One test or suite of a report. */
export interface TestCase {
  readonly name: string;
  readonly outcome: "passed" | "failed" | "skipped";
  /** What it failed with; empty otherwise. */
  readonly failure: string;
}

const SEPARATOR = " > ";

export function countTests(report: string): TestCounts {
  const cases = readCases(report);
  const suites = new Set(cases.flatMap(({ name }) => ancestors(name)));
  const failed = cases.filter(({ outcome }) => outcome === "failed").map(({ name }) => name);
  const explained = new Set(failed.filter((name) => !suites.has(name)).flatMap(ancestors));
  const leaves = cases.filter(({ name }) => !suites.has(name));
  return {
    passed: leaves.filter(({ outcome }) => outcome === "passed").length,
    failed: failed.filter((name) => !suites.has(name) || !explained.has(name)),
    skipped: leaves.filter(({ outcome }) => outcome === "skipped").map(({ name }) => name),
  };
}

/** The tests and suites of a report, in its order. */
export function readCases(report: string): TestCase[] {
  const cases = report.matchAll(/<testcase name="([^"]*)"[^>]*>([\s\S]*?)<\/testcase>/g);
  return [...cases].map(([, name = "", body = ""]) => ({
    name: unescape(name),
    outcome: of(body),
    failure: unescape(/<failure[^>]*>([\s\S]*?)<\/failure>/.exec(body)?.[1] ?? ""),
  }));
}

function of(body: string): TestCase["outcome"] {
  if (body.includes("<failure")) return "failed";
  return body.includes("<skipped") ? "skipped" : "passed";
}

/** Names of the suites that hold the test. */
function ancestors(name: string): string[] {
  const parts = name.split(SEPARATOR);
  return parts.slice(1).map((_, index) => parts.slice(0, index + 1).join(SEPARATOR));
}

function unescape(text: string): string {
  const entities: Record<string, string> = { lt: "<", gt: ">", quot: '"', apos: "'", amp: "&" };
  return text.replace(/&(\w+);/g, (whole, name: string) => entities[name] ?? whole);
}
