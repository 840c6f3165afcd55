/**
 * What a person is told when a map of the kernel is full.
 *
 * @module
 */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { statusText } from "@/src/cli/status_text.ts";
import type { State } from "@/src/model/mod.ts";
import { Observer } from "@/src/observe/mod.ts";
import { statusReport } from "@/src/observe/report.ts";
import { sourceFolder, stateOf, TestAgent } from "./world.ts";

describe("a full map", () => {
  let folder: string;
  let state: State;
  before(async () => {
    folder = await sourceFolder({ policy: true });
    state = await stateOf(folder);
  });
  after(() => Deno.remove(folder, { recursive: true }));

  /** The status of an agent whose datapath says so. */
  function status(change: (view: TestAgent) => void): { healthy: boolean; text: string } {
    const view = new TestAgent(state, folder);
    change(view);
    using observer = new Observer({ state: view.state, counters: () => view.counters });
    const report = statusReport(view, observer, Date.now());
    return { healthy: report.healthy, text: statusText(report) };
  }

  it("of the plan is named in the status, with what it means for whom", () => {
    const sentence = "1 addresses are STRICT on every port";
    const { healthy, text } = status((view) =>
      view.shortages.push({ map: "ports", entriesMax: 65_536, sentence })
    );
    assert.equal(healthy, false);
    assert.match(
      text,
      / ! map "ports" is full \(65536 rows\): 1 addresses are STRICT on every port/,
    );
  });

  it("of connections is named in the status once it has no room left", () => {
    const fill = (entries: number) =>
      status((view) => {
        view.datapath = () => ({
          revision: 7,
          counters: [],
          maps: [{ name: "connections", entries, entriesMax: 100 }],
          shortages: [],
          failures: [],
        });
      });
    assert.equal(fill(99).healthy, true);
    assert.match(fill(100).text, / ! map "connections" is full \(100 rows\): new connections/);
  });
});
