/**
 * `weft uninstall` at bad moments, and after starts that were ended half-way: nothing is left.
 *
 * @module
 */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { after, before, describe, it } from "node:test";
import { findLeft, kernelObjects } from "@/tests/demo/leftovers.ts";
import { eventually } from "@/tests/support/waiting.ts";
import { checkInForce, DEGRADED, mesh, NODE, node, raise, shows, source } from "./faults_stage.ts";

describe("uninstall leaves nothing behind", { timeout: 180_000 }, () => {
  before(raise);

  after(() => mesh[Symbol.asyncDispose]());

  const moments: Readonly<Record<string, () => Promise<unknown>>> = {
    "after the agent was killed": () => mesh.bed.kill(NODE, "KILL"),
    "while the agent is stopped": () => mesh.bed.kill(NODE, "STOP"),
    "while the source is gone": async () => {
      await Deno.rename(source, `${source}.away`);
      await shows(DEGRADED, /does not exist/);
    },
    "while the state is broken": async () => {
      await Deno.truncate(`${node.stateDir}/bundle.pem`, 10);
      await shows(DEGRADED, /bundle\.pem/);
    },
  };
  const mends: Readonly<Record<string, () => Promise<unknown>>> = {
    "while the source is gone": () => Deno.rename(`${source}.away`, source),
  };
  for (const [when, make] of Object.entries(moments)) {
    it(when, async () => {
      const before = await kernelObjects(node);
      assert.ok(before.links.length > 0 && before.maps.length > 0);
      await make();
      const { code, stderr } = await mesh.weft(NODE, "uninstall", "--purge");
      assert.equal(code, 0, stderr);
      await checkNothingLeft(before);
      await (mends[when] ?? (() => Promise.resolve()))();
      await mesh.bed.start(NODE);
      await checkInForce();
    });
  }

  it("after a start that was ended at any time", async () => {
    const before = await kernelObjects(node);
    await mesh.weft(NODE, "uninstall", "--purge");
    const { weft } = JSON.parse(await Deno.readTextFile(`${mesh.bed.directory}/state.json`));
    const args = ["run", "--source", source, "--node", NODE, "--run-dir", node.runDir];
    args.push("--state-dir", node.stateDir, "--bpffs", node.bpffs, "--cgroup", node.cgroup);
    const launch = () => mesh.bed.spawn(NODE, [weft, ...args], { stdin: "null", stderr: "null" });
    const tidy = async (when: string) => {
      const { code, stdout, stderr } = await mesh.weft(NODE, "uninstall", "--purge");
      assert.equal(code, 0, `${when}: ${stderr}`);
      await checkNothingLeft(before);
      return stdout;
    };
    const begin = performance.now();
    const whole = await launch();
    await eventually("its socket is there", () => existsSync(`${node.runDir}/weft.sock`));
    const startMs = performance.now() - begin;
    whole.kill("SIGKILL");
    await whole.status;
    await tidy("after a whole start");
    let interrupted = 0;
    for (let round = 1; round <= ABORTED_STARTS; round++) {
      // deno-lint-ignore no-await-in-loop -- one start after the other
      const child = await launch();
      const afterMs = startMs * round / ABORTED_STARTS;
      // The moment is what is tried: it must not depend on anything that the agent does.
      // deno-lint-ignore no-await-in-loop
      await new Promise((resolve) => setTimeout(resolve, afterMs));
      child.kill(round % 2 === 0 ? "SIGKILL" : "SIGINT");
      // deno-lint-ignore no-await-in-loop
      await child.status;
      // deno-lint-ignore no-await-in-loop
      const said = await tidy(`after ${afterMs} ms`);
      if (!said.includes("no pins")) interrupted++;
    }
    assert.ok(interrupted >= 2, "no start had come as far as its pins");
    await mesh.bed.start(NODE);
    await checkInForce();
  });
});

/** Spread over the time that a whole start takes. */
const ABORTED_STARTS = 10;

/** No kernel object, no process, no file. */
async function checkNothingLeft(before: Awaited<ReturnType<typeof kernelObjects>>): Promise<void> {
  const left = await findLeft(node, before);
  // An agent makes no namespaces; those of other tests come and go.
  const { namespaces: _, ...kinds } = left;
  for (const [kind, ids] of Object.entries(kinds)) assert.deepEqual(ids, [], kind);
  const places = { run: node.runDir, state: node.stateDir, nodes: `${source}/.nodes` };
  for (const [place, directory] of Object.entries(places)) {
    assert.deepEqual(filesIn(directory), [], `in the ${place} directory`);
  }
}

function filesIn(directory: string): string[] {
  if (!existsSync(directory)) return [];
  return [...Deno.readDirSync(directory)].map(({ name }) => name);
}
