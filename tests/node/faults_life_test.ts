/**
 * The agent is killed, stopped and restarted, fifty times, under the load of 200 busy connections:
 * nothing opens, nothing leaks, nothing hangs, and the host notices nothing.
 *
 * @module
 */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { Capture } from "@/tests/testbed/capture.ts";
import type { Tally } from "./faults_client.ts";
import { Load } from "./faults_load.ts";
import { addresses, mesh, NODE, raise } from "./faults_stage.ts";
import { HABITS } from "./support/habits.ts";
import type { LiveConnection } from "./support/live.ts";

const CONNECTIONS = 200;
/** Said by clients of the mesh alone: on no wire may it be seen. */
const SECRET = `secret-${crypto.randomUUID()}`;
/** Said by those who are to be refused: the application must not see it. */
const PLAIN = `plain-${crypto.randomUUID()}`;

/** What is done to the agent in one round. */
type Round = "kill" | "restart" | "stop and continue" | "stop and kill";
/** Fifty. Most are of the sort that hurts. A restart takes two seconds of draining. */
const FIFTY: readonly Round[] = [
  ...repeat<Round>(4, ["kill", "stop and continue", "kill", "stop and kill", "kill"]),
  ...repeat<Round>(5, ["kill", "stop and continue", "kill", "stop and kill", "restart", "kill"]),
];

/** One promise tried alone, against a mutation, makes do with a round of each kind. */
const ROUNDS = Deno.env.has("WEFT_CHOSEN_TEST") ? FIFTY.slice(-6) : FIFTY;

describe("an agent that is mistreated fifty times under load", { timeout: 240_000 }, () => {
  let stack: AsyncDisposableStack;
  let load: Load;
  let refused: readonly Load[];
  let host: Load;
  let probe: LiveConnection;
  let wires: readonly Capture[];
  let played: Promise<Tallies> | undefined;

  before(async () => {
    stack = new AsyncDisposableStack();
    await raise();
    stack.use(mesh);
    const [address] = addresses;
    const start = async (place: string, text: string, count: number, rounds: number) =>
      stack.use(
        await Load.start(mesh.bed, place, {
          host: address,
          port: HABITS.echo,
          paceMs: 300,
          ...{ text, count, rounds },
        }),
      );
    wires = [
      stack.use(await mesh.bed.capture("default/server")),
      stack.use(await mesh.bed.capture("default/client")),
    ];
    load = await start("default/client", SECRET, CONNECTIONS, 0);
    refused = [
      await start("default/plain", PLAIN, 2, 1),
      await start("outside", PLAIN, 2, 1),
    ];
    host = await start(NODE, "probe", 4, 1);
  });

  after(() => stack[Symbol.asyncDispose]());

  /** All rounds, once: every test looks at what became of them. */
  function play(): Promise<Tallies> {
    return played ??= (async () => {
      probe = stack.use(await mesh.hold(NODE, addresses[0]));
      await load.busy();
      for (const round of ROUNDS) {
        // deno-lint-ignore no-await-in-loop -- one after the other
        await mistreat(round);
        // deno-lint-ignore no-await-in-loop
        await load.busy();
      }
      const [plain, outside] = refused;
      assert.ok(plain !== undefined && outside !== undefined);
      return {
        load: await load.tally(),
        plain: await plain.tally(),
        outside: await outside.tally(),
        host: await host.tally(),
      };
    })();
  }

  async function mistreat(round: Round): Promise<void> {
    switch (round) {
      case "kill":
        await mesh.bed.kill(NODE, "KILL");
        break;
      case "restart":
        await mesh.bed.kill(NODE, "TERM");
        break;
      case "stop and continue":
        await mesh.bed.kill(NODE, "STOP");
        await host.goesOn(1);
        return await mesh.bed.kill(NODE, "CONT");
      case "stop and kill":
        await mesh.bed.kill(NODE, "STOP");
        await host.goesOn(1);
        await mesh.bed.kill(NODE, "KILL");
    }
    // Somebody tries while nobody is there.
    await Promise.all(refused.map((each) => each.goesOn(1)));
    await mesh.bed.start(NODE);
  }

  it("leaves no connection attempt without an outcome", async () => {
    const tallies = await play();
    for (const { hung } of Object.values(tallies)) assert.equal(hung, 0, JSON.stringify(tallies));
  });

  it("serves the mesh between its deaths", async () => {
    const { load } = await play();
    const deaths = ROUNDS.filter((round) => round !== "stop and continue").length;
    assert.ok(load.served > deaths * CONNECTIONS, JSON.stringify(load));
  });

  it("never serves who was refused before", async () => {
    const tallies = await play();
    for (const who of ["plain", "outside"] as const) {
      assert.equal(tallies[who].served, 0, JSON.stringify(tallies));
      assert.ok(tallies[who].attempts > 2 * ROUNDS.length, `${who} hardly tried`);
    }
  });

  it("lets nothing of the mesh be read on a wire", async () => {
    await play();
    for (const wire of wires) {
      // deno-lint-ignore no-await-in-loop -- a large file each
      assert.equal(await wire.contains(SECRET), false, wire.file);
      // deno-lint-ignore no-await-in-loop
      assert.ok((await Deno.stat(wire.file)).size > 1_000_000, "hardly anything was captured");
    }
  });

  it("does not touch the host's own connections, and serves its new ones", async () => {
    const tallies = await play();
    assert.equal(await probe.ask("still here"), "still here");
    const { served, refused, broken, hung, lost } = tallies.host;
    assert.deepEqual({ refused, broken, hung, lost }, { refused: 0, broken: 0, hung: 0, lost: 0 });
    assert.ok(served > 2 * ROUNDS.length, `it tried ${served} times only`);
  });
});

type Tallies = Readonly<Record<"load" | "plain" | "outside" | "host", Tally>>;

function repeat<T>(times: number, values: readonly T[]): T[] {
  return Array.from({ length: times }, () => values).flat();
}
