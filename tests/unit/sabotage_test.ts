/**
 * The sabotages of the demo fit the source of now: what they change is there.
 *
 * @module
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { projectRoot } from "@/scripts/lib/terminal.ts";
import { SABOTAGES } from "@/tests/demo/sabotage.ts";

describe("the sabotages of the demo", () => {
  it("change passages that stand in their files exactly once", () => {
    const changes = SABOTAGES.flatMap(({ mutation }) => mutation ?? []);
    assert.notEqual(changes.length, 0);
    for (const { file, from } of changes) {
      const count = Deno.readTextFileSync(`${projectRoot()}/${file}`).split(from).length - 1;
      assert.equal(count, 1, `"${from}" is ${count} times in ${file}`);
    }
  });
});
