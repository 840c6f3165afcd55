/**
 * A short run of the relay's fuzzer, from a fixed seed: `deno task fuzz --only tls` runs it from
 * others, for longer.
 *
 * @module
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { say } from "@/scripts/lib/terminal.ts";
import { fuzzTls } from "@/tests/fuzz/tls.ts";

const SEED = 20_261_124;

describe("the relay, sent damaged bytes", () => {
  it("refuses or cuts, keeps nothing, and serves the next good connection", async () => {
    say(`tls: seed ${SEED}`);
    const found = await fuzzTls({ seed: SEED, cases: 600 })
      .then(() => "nothing", (error) => String(error));
    assert.equal(found, "nothing");
  });
});
