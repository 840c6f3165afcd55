/**
 * Where the code finds its files, in a checkout, in a bundle and in a compiled executable.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { assetPath, rootUrl, WORKERS, workerUrl } from "@/src/assets.ts";

describe("rootUrl", () => {
  const cases = [
    ["the checkout", "file:///x/weft/src/assets.ts", "file:///x/weft/"],
    ["a checkout below a folder named src", "file:///src/src/assets.ts", "file:///src/"],
    ["a chunk of the bundle", "file:///run/weft/exec/0a/chunk-QWE.js", "file:///run/weft/exec/0a/"],
    ["the bundle of the agent", "file:///run/weft/exec/0a/main.js", "file:///run/weft/exec/0a/"],
    ["the bundle of a worker", "file:///a/0a/src/relay/worker.js", "file:///a/0a/"],
  ] as const;
  for (const [name, here, want] of cases) {
    it(`is found from ${name}`, () => assert.equal(rootUrl(here).href, want));
  }
});

describe("assetPath", () => {
  it("leads to dist/bpf of the checkout", () => {
    assert.equal(assetPath("guard.bpf.o"), `${Deno.cwd()}/dist/bpf/guard.bpf.o`);
  });
});

describe("workerUrl", () => {
  for (const name of Object.keys(WORKERS) as (keyof typeof WORKERS)[]) {
    it(`leads to the script of ${name}`, () => {
      assert.ok(Deno.statSync(workerUrl(name)).isFile);
    });
  }
});
