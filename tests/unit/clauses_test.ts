/**
 * The table of promises fits the source and the tests of now: what it names is there.
 *
 * @module
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { projectRoot } from "@/scripts/lib/terminal.ts";
import type { Clause } from "@/tests/node/clauses/clause.ts";
import { SECTIONS } from "@/tests/node/clauses/mod.ts";

/** What is attacked. */
const WANTED = ["load", "peers", "sockets", "around", "faults", "maps", "input"];

const CLAUSES = Object.values(SECTIONS).flat();
const texts = new Map<string, string>();

describe("the table of promises", () => {
  it("has every section, and something in each", () => {
    const filled = WANTED.filter((name) => (SECTIONS[name]?.length ?? 0) > 0);
    assert.deepEqual(filled, WANTED);
  });

  it("makes each promise once", () => {
    const promises = CLAUSES.map(({ promise }) => promise);
    const repeated = promises.filter((promise, index) => promises.indexOf(promise) !== index);
    assert.deepEqual(repeated, []);
  });

  it("changes passages that stand in their files exactly once", () => {
    const wrong = CLAUSES.flatMap(({ promise, mutation: { file, find, put } }) => {
      const count = read(file).split(find).length - 1;
      if (find === "" || count !== 1) return [`${promise}: "${find}" is ${count} times in ${file}`];
      return find === put ? [`${promise}: nothing is changed in ${file}`] : [];
    });
    assert.equal(wrong.join("\n"), "");
  });

  it("names tests that are there", () => {
    const wrong = CLAUSES.flatMap(({ promise, test }) =>
      missingNames(test).map((name) => `${promise}: ${test.file} has no "${name}"`)
    );
    assert.equal(wrong.join("\n"), "");
  });
});

/** Names of a test's path that its file does not give to a `describe` or, the last one, an `it`. */
function missingNames({ file, name }: Clause["test"]): string[] {
  const text = read(file);
  const suites = namesGiven(text, "describe");
  const tests = namesGiven(text, "it");
  return name.filter((part, index) => {
    const given = index === name.length - 1 ? tests : suites;
    return !given.some((pattern) => pattern.test(part));
  });
}

/**
 * What calls of `callee` have as their first argument, as patterns: a template stands for whatever
 * is put into it, and a variable for each of the file's texts.
 */
function namesGiven(text: string, callee: "describe" | "it"): RegExp[] {
  const call = new RegExp(`\\b${callee}\\(\\s*("(?:[^"\\\\]|\\\\.)*"|\`[^\`]*\`|[\\w.]+)`, "g");
  return [...text.matchAll(call)].flatMap(([, argument = ""]) => {
    if (argument.startsWith('"')) return [exactly(argument)];
    if (argument.startsWith("`")) return [templated(argument.slice(1, -1))];
    return [...text.matchAll(/"(?:[^"\\\n]|\\.)*"/g)].map(([quoted]) => exactly(quoted));
  });
}

function templated(template: string): RegExp {
  const parts = template.split(/\$\{[^}]*\}/).map((part) => RegExp.escape(part));
  return new RegExp(`^${parts.join("[\\s\\S]+")}$`);
}

function exactly(literal: string): RegExp {
  const name = literal.slice(1, -1).replace(/\\(.)/g, "$1");
  return new RegExp(`^${RegExp.escape(name)}$`);
}

function read(file: string): string {
  const known = texts.get(file);
  if (known !== undefined) return known;
  const text = Deno.readTextFileSync(`${projectRoot()}/${file}`);
  texts.set(file, text);
  return text;
}
