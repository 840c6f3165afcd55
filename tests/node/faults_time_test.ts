/**
 * The clock jumps by two hours, either way. The agent's is bent, with libfaketime; the machine's is
 * never touched.
 *
 * @module
 */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { after, before, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { eventually } from "@/tests/support/waiting.ts";
import { addresses, checkInForce, mesh, NODE, raise } from "./faults_stage.ts";
import type { LiveConnection } from "./support/live.ts";

const FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";
const FROM_SOURCE = fileURLToPath(import.meta.resolve("../testbed/weft_from_source"));
const HOUR_MS = 3_600_000;

const isThere = existsSync(FAKETIME);
const skip = isThere ? {} : { skip: "libfaketime is not installed (apt-get install libfaketime)" };

describe("the clock of an agent", { timeout: 120_000 }, () => {
  let clock: string;
  let live: LiveConnection;

  before(async () => {
    if (!isThere) return;
    // The executable takes no libraries of the host: the same agent from its source does.
    const weft = Deno.env.get("WEFT_BIN");
    Deno.env.set("WEFT_BIN", FROM_SOURCE);
    await raise();
    if (weft === undefined) Deno.env.delete("WEFT_BIN");
    else Deno.env.set("WEFT_BIN", weft);
    clock = `${mesh.bed.directory}/clock`;
    await Deno.writeTextFile(clock, "+0");
    await mesh.bed.kill(NODE, "KILL");
    const bent = {
      LD_PRELOAD: FAKETIME,
      FAKETIME_TIMESTAMP_FILE: clock,
      FAKETIME_CACHE_DURATION: "1",
      FAKETIME_DONT_FAKE_MONOTONIC: "1",
      DONT_FAKE_MONOTONIC: "1",
      NO_FAKE_STAT: "1",
    };
    for (const [name, value] of Object.entries(bent)) Deno.env.set(name, value);
    try {
      await mesh.bed.start(NODE);
    } finally {
      for (const name of Object.keys(bent)) Deno.env.delete(name);
    }
    live = await mesh.hold("default/client", addresses[0]);
  });

  after(async () => {
    await live?.[Symbol.asyncDispose]();
    if (isThere) await mesh[Symbol.asyncDispose]();
  });

  for (
    const [what, offset, hours] of [
      ["jumps two hours ahead", "+2h", 2],
      ["comes back", "+0", 0],
      ["jumps two hours back", "-2h", -2],
    ] as const
  ) {
    it(`${what}: what can be kept is kept, certificates hold, nothing opens`, skip, async () => {
      await Deno.writeTextFile(clock, offset);
      await eventually("the agent's certificates hold by its new clock", async () => {
        const { nowMs, pods } = await mesh.status(NODE);
        const certified = pods.flatMap(({ certificate }) => certificate ?? []);
        return Math.abs(nowMs - Date.now() - hours * HOUR_MS) < HOUR_MS / 2 &&
          certified.length === 2 &&
          certified.every((each) => each.notBeforeMs <= nowMs && nowMs < each.notAfterMs);
      }, 15_000);
      assert.equal(await live.ask(what), what);
      await checkInForce();
    });
  }
});
