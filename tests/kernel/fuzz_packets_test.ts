/**
 * A short run of the packet fuzzer; `deno task fuzz --only packets` runs as many cases as one
 * likes.
 *
 * @module
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { say } from "@/scripts/lib/terminal.ts";
import { fuzzPackets } from "@/tests/fuzz/packets.ts";

const SEED = Number(Deno.env.get("WEFT_SEED") ?? crypto.getRandomValues(new Uint32Array(1))[0]);

describe("the guard, sent odd packets", () => {
  it("judges each soundly, and counts what it drops", async () => {
    say(`packets: seed ${SEED}`);
    const found = await fuzzPackets({ seed: SEED, cases: 4000 })
      .then(() => "nothing", (error) => Deno.inspect(error));
    assert.equal(found, "nothing");
  });
});
