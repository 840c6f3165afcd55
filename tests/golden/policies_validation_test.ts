/**
 * What is a policy and what is none: Cilium's own vectors, and all of its example policies
 * (SEMANTICS B.9 to B.12).
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { readDocuments, validateDocument } from "@/src/watch/policies/mod.ts";
import { cnp, type Document, readTable } from "./policies_world.ts";

interface ValidationTable {
  readonly accept: readonly { readonly name: string; readonly spec: Document }[];
  readonly reject: readonly { readonly name: string; readonly spec: Document }[];
}

describe("a spec", () => {
  const { accept, reject } = readTable<ValidationTable>("cnp-validation.json");
  for (const { name, spec } of accept) {
    it(`is accepted: ${name}`, () => assert.deepEqual(errorsOf(spec), []));
  }

  for (const { name, spec } of reject) {
    it(`is refused, with path and message: ${name}`, () => {
      const errors = errorsOf(spec);
      assert.notEqual(errors.length, 0);
      for (const { path, message } of errors) {
        assert.match(path, /^spec\.(ingress|egress)\[0\]\./);
        assert.notEqual(message, "");
      }
    });
  }
});

function errorsOf(spec: Document) {
  const value = cnp("p", spec);
  return validateDocument({ file: "p.yaml", value, lineOf: () => 1 })?.errors ?? [];
}

/** Fields that Cilium has removed, with the examples that still have them. */
const REMOVED: Readonly<Record<string, string>> = {
  "auth/auth.yaml": "spec.egress[0].auth",
  "l3/requires/requires.yaml": "specs[0].ingress[0].fromRequires",
};

describe("the example policies", () => {
  it("are valid, but for removed fields, which are refused by name", async () => {
    const folder = decodeURIComponent(
      new URL("./policy_tables/examples", import.meta.url).pathname,
    );
    const reports = (await readDocuments([folder]))
      .map(validateDocument).filter((report) => report !== undefined);
    assert.equal(reports.length, 55);
    for (const { file, errors } of reports) {
      const removed = REMOVED[file.slice(folder.length + 1)];
      assert.deepEqual(
        errors.map(({ path }) => path),
        removed === undefined ? [] : [removed],
        file,
      );
    }
  });
});
