/**
 * All decisions as a table that a person can review: a change of one cell shows up as one line.
 * `UPDATE_GOLDEN=1` rewrites it.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { decide, MODES, SOURCES, STAGES, WHERES } from "@/src/compile/mod.ts";

const FILE = new URL("./decisions.txt", import.meta.url);

describe("the decision table", () => {
  it("is the one that was reviewed", async () => {
    const text = render();
    if (Deno.env.get("UPDATE_GOLDEN") === "1") await Deno.writeTextFile(FILE, text);
    assert.equal(text, await Deno.readTextFile(FILE));
  });
});

function render(): string {
  const lines = ["# stage    source    mode        where    verdict  (without a relay)  reason"];
  for (const stage of STAGES) {
    for (const source of SOURCES) {
      for (const mode of MODES) {
        for (const where of WHERES) {
          const { verdict, fallback, reason } = decide({ stage, source, mode, where });
          const cells = [stage.padEnd(9), source.padEnd(9), mode.padEnd(11), where.padEnd(8)];
          const answer = verdict === "relay" ? `relay    (${fallback})` : verdict;
          const why = reason === "none" ? "" : reason;
          lines.push(`${cells.join(" ")} ${answer.padEnd(18)} ${why}`.trimEnd());
        }
      }
    }
  }
  return lines.join("\n") + "\n";
}
