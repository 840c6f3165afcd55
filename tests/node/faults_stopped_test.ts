/**
 * An agent that is stopped for long: its listeners stay, and so would whoever the kernel gave to
 * them. After a while the kernel takes it for dead, until it goes on.
 *
 * @module
 */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { BEAT_SILENCE_MS } from "@/src/limits.ts";
import { eventually } from "@/tests/support/waiting.ts";
import {
  addresses,
  agentPid,
  checkInForce,
  checkRefused,
  checkServed,
  isHealthy,
  knock,
  mesh,
  NODE,
  raise,
} from "./faults_stage.ts";
import type { LiveConnection } from "./support/live.ts";

/** When a connection is refused at last: what is late on a busy machine included. */
const REFUSED_MS = BEAT_SILENCE_MS + 10_000;
const NO_AGENT = 3;

describe("an agent that is stopped for long", { timeout: 120_000 }, () => {
  let live: LiveConnection;
  let pid: number;
  let refusals: number;
  let stopped: Promise<void> | undefined;
  let continued: Promise<void> | undefined;

  before(async () => {
    await raise();
    await isHealthy();
    live = await mesh.hold("default/client", addresses[0]);
    pid = await agentPid();
    refusals = await agentDown();
  });
  after(async () => {
    await goOn().catch(() => undefined);
    await live?.[Symbol.asyncDispose]();
    await mesh[Symbol.asyncDispose]();
  });

  async function agentDown(): Promise<number> {
    const { refusals } = await mesh.status(NODE);
    return refusals.find(({ reason }) => reason === "agent-down")?.total ?? 0;
  }

  /** Stops it, and knocks until that is refused; once, for all tests. */
  function stop(): Promise<void> {
    return stopped ??= (async () => {
      await mesh.bed.kill(NODE, "STOP");
      await eventually("new connections are refused", async () => {
        const answer = await knock("default/client", addresses[0]);
        assert.match(answer, /^(accepted|refused)$/);
        return answer === "refused";
      }, REFUSED_MS);
    })();
  }

  function goOn(): Promise<void> {
    return continued ??= mesh.bed.kill(NODE, "CONT");
  }

  it("is named by `weft status`, with its process and what to do", async () => {
    const [{ code, stderr }] = await Promise.all([mesh.weft(NODE, "status"), stop()]);
    assert.equal(code, NO_AGENT, stderr);
    assert.match(stderr, new RegExp(`process ${pid} is stopped; \`kill -CONT ${pid}\` lets it`));
    assert.match(stderr, /^weft: hint: .*agent-down/m);
  });

  it("makes the kernel refuse what would wait for it, as agent-down", async () => {
    await stop();
    for (const address of addresses) {
      // deno-lint-ignore no-await-in-loop -- each by itself, to name the one
      assert.equal(await knock("default/client", address), "refused", address);
    }
    await checkRefused("outside", "default/plain");
    await checkServed(NODE);
    await goOn();
    assert.ok(await agentDown() >= refusals + 3, "it was for another reason");
  });

  it("serves again when it goes on, and so do the connections that it had", async () => {
    await stop();
    await goOn();
    await eventually(
      "it is served again",
      async () => await knock("default/client", addresses[0]) === "accepted",
    );
    await checkInForce();
    assert.equal(await live.ask("still here"), "still here");
  });
});
