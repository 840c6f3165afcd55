/**
 * Regular expressions of policies: RE2's syntax, whole matches, linear time.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { matchesWhole, regexFault } from "@/src/model/network_policy/mod.ts";

describe("a regular expression", () => {
  const MATCHES: readonly [expression: string, text: string, matches: boolean][] = [
    ["/public", "/public", true],
    ["/public", "/public/", false],
    ["/public", "x/public", false],
    ["^/public$", "/public", true],
    ["/public.*", "/public?x=1", true],
    ["GET|POST", "POST", true],
    ["GET|POST", "GETPOST", false],
    ["a|b|", "", true],
    ["(?i)get", "GeT", true],
    ["(?i:g)et", "GET", false],
    ["(?i)a(?-i)b", "AB", false],
    ["[^a-c]+", "xyz", true],
    ["[^a-c]+", "xaz", false],
    ["[]a-]+", "a]-", true],
    ["(?i)[^a]", "A", false],
    ["a{2,3}", "aa", true],
    ["a{2,3}", "aaaa", false],
    ["a{2,}", "aaaaa", true],
    ["x{,2}", "x{,2}", true],
    ["(ab)*", "abab", true],
    ["/_search/??.*", "/_search?q", true],
    ["\\Qa.b\\E+", "a.bbb", true],
    ["\\Qa.b\\E", "axb", false],
    ["\\bfoo\\b.*", "foo bar", true],
    ["\\bfoo\\b.*", "foobar", false],
    ["\\x41\\x{42}\\103", "ABC", true],
    ["\\d\\D\\w\\s", "1x_ ", true],
    ["[[:alpha:]]+[[:^digit:]]", "abc-", true],
    ["\\p{Greek}\\pL\\P{L}", "αb1", true],
    [".", "\n", false],
    ["(?s).", "\n", true],
    ["(?P<name>a)(?<other>b)", "ab", true],
    ["\\Aa\\z", "a", true],
    ["(?m)a$\\n^b", "a\nb", true],
    [".", "😀", true],
  ];
  for (const [expression, text, matches] of MATCHES) {
    it(`${expression} ${matches ? "matches" : "does not match"} ${JSON.stringify(text)}`, () => {
      assert.equal(matchesWhole(expression, text), matches);
    });
  }

  const REFUSED = [
    "*",
    "a**",
    "a*+",
    "a{2}{3}",
    "a{1001}",
    "a{3,2}",
    "((a{1000}){1000})",
    "a{1000}".repeat(11),
    "(?=x)",
    "(?!x)",
    "\\1",
    "\\8",
    "(",
    ")",
    "[",
    "[b-a]",
    "[[:foo:]]",
    "\\pX",
    "\\",
    "\\y",
    "(?z)a",
  ];
  for (const expression of REFUSED) {
    it(`${expression} is refused`, () => assert.notEqual(regexFault(expression), undefined));
  }

  it("that backtracks elsewhere takes no longer here", () => {
    const text = "a".repeat(5000);
    assert.equal(matchesWhole("(a*)*b", text), false);
    assert.equal(matchesWhole("(a|a)*(a|aa)*", text), true);
  });
});
