/**
 * What an agent does when a step of its work fails, and when its end has begun. The datapath is a
 * fake here, because the real one cannot be told to fail.
 *
 * @module
 */
import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, it } from "node:test";
import { type AgentParts, AgentState } from "@/src/agent_state.ts";
import { openLog } from "@/src/log.ts";
import type { State } from "@/src/model/mod.ts";
import { putsOf, sourceFolder, stateOf, TestAgent } from "./observe/world.ts";

/** Fails when told to, and remembers what it was asked for. */
class FakeDatapath {
  readonly asked: string[] = [];
  readonly pods = new Map();
  revision = 0;
  fault: Error | undefined;

  find = () => true;
  repair = () => {
    this.asked.push("repair");
    return false;
  };
  sweep = () => void this.asked.push("sweep");
  hold = () => void this.asked.push("hold");
  apply = () => {
    if (this.fault !== undefined) throw this.fault;
    this.asked.push("apply");
    this.revision++;
  };
}

describe("an agent", () => {
  let folder: string;
  let state: State;
  let datapath: FakeDatapath;
  let agent: AgentState;
  let log: string[];

  beforeEach(async () => {
    folder = await sourceFolder({ policy: true });
    state = await stateOf(folder);
    await Deno.mkdir(`${folder}/.nodes`);
    datapath = new FakeDatapath();
    log = [];
    const { config } = new TestAgent(state, folder);
    const source = { ...config.source, nodesDirectory: `${folder}/.nodes` };
    const parts = {
      config: { ...config, source },
      log: openLog({ write: (line) => log.push(line) }),
      datapath,
      authority: {
        trustDomain: "cluster.local",
        bundlePem: "",
        issuer: { fingerprint: "ab".repeat(32) },
        nodeIs: () => Promise.resolve(),
        want: () => {},
        svidFor: () => Promise.resolve(),
        peek: () => undefined,
      },
      relay: { update: () => {}, applied: () => Promise.resolve(), settled: () => {} },
      stop: () => {},
    };
    agent = new AgentState(parts as unknown as AgentParts);
  });
  afterEach(() => Deno.remove(folder, { recursive: true }));

  const takeAll = () => agent.take([...putsOf(state), { type: "source", ready: true }]);

  it("tries again what failed, says so until it is done, and logs it once", async () => {
    datapath.fault = new Error("Cannot update map");
    await takeAll();
    for (let time = 0; time < 2; time++) {
      // deno-lint-ignore no-await-in-loop -- one after the other
      await agent.repair();
      assert.deepEqual(agent.unready(), ["the first plan in the kernel", "Cannot update map"]);
    }
    assert.equal(log.filter((line) => line.includes("step-failed")).length, 1);
    datapath.fault = undefined;
    await agent.repair();
    assert.deepEqual(agent.unready(), []);
    assert.deepEqual(datapath.asked, ["apply"]);
  });

  it("takes no connection for a dead one before it knows its pods", async () => {
    agent.sweep();
    assert.deepEqual(datapath.asked, []);
    await takeAll();
    agent.sweep();
    assert.deepEqual(datapath.asked, ["apply", "sweep"]);
  });

  it("changes nothing any more once new connections wait for the next agent", async () => {
    await takeAll();
    await agent.hold(1000);
    await agent.take([{ type: "source", ready: true, problem: "news" }]);
    await agent.repair();
    assert.deepEqual(datapath.asked, ["apply", "hold"]);
  });

  it("that never had a plan makes nobody wait", async () => {
    await agent.hold(1000);
    assert.deepEqual(datapath.asked, []);
  });
});
