/**
 * A short run of the fuzzers that need no privileges, from a fixed seed: `deno task fuzz` runs them
 * from others, for longer.
 *
 * @module
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { fuzzCli } from "@/tests/fuzz/cli.ts";
import { forEachCase, Random } from "@/tests/fuzz/random.ts";
import { fuzzYaml } from "@/tests/fuzz/yaml.ts";
import { say } from "@/scripts/lib/terminal.ts";

const SEED = 20_261_124;

describe("a fuzzer", () => {
  it("makes the same cases of the same seed, each without those before it", async () => {
    const draw = async (cases: number) => {
      const drawn: string[] = [];
      await forEachCase({ seed: SEED, cases }, (random) => {
        drawn.push(String(random.damage(random.bytes(20))));
      });
      return drawn;
    };
    const cases = await draw(20);
    assert.deepEqual(cases, await draw(20));
    assert.equal(new Set(cases).size, 20);
    const random = new Random(SEED, 7);
    assert.equal(String(random.damage(random.bytes(20))), cases[7]);
  });

  it("says at which case of which seed something was thrown", async () => {
    const fail = (_random: Random, index: number) => assert.notEqual(index, 3);
    await assert.rejects(forEachCase({ seed: 5, cases: 9 }, fail), /^Error: Seed 5, case 3: /);
  });
});

describe("the directory source", () => {
  it("reads or rejects every damaged document, with its place and cause", async () => {
    say(`yaml: seed ${SEED}`);
    await fuzzed(fuzzYaml({ seed: SEED, cases: 500 }));
  });
});

describe("the agent's socket", () => {
  it("answers the next good request after any bad one, and names the cause of a bad one", async () => {
    say(`cli: seed ${SEED}`);
    await fuzzed(fuzzCli({ seed: SEED, cases: 600 }));
  });
});

/** What a fuzzer has found is what its test has found. */
async function fuzzed(run: Promise<void>): Promise<void> {
  const found = await run.then(() => "nothing", (error) => String(error));
  assert.equal(found, "nothing");
}
