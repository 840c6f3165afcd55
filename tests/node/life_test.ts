/**
 * An agent is killed, started twice, loses its source, and goes: what it promised holds all the
 * time.
 *
 * @module
 */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { findLeft, kernelObjects } from "@/tests/demo/leftovers.ts";
import { eventually } from "@/tests/support/waiting.ts";
import {
  addresses,
  checkInForce,
  checkRefused,
  checkServed,
  knock,
  mesh,
  NODE,
  node,
  raise,
  source,
} from "./faults_stage.ts";
import { Beat } from "./support/beat.ts";
import { policy } from "./support/mesh.ts";

describe("the life of an agent", { timeout: 120_000 }, () => {
  before(raise);

  after(() => mesh[Symbol.asyncDispose]());

  it("SIGKILL leaves plaintext refused and the node served, and a new agent takes over", async () => {
    await using relayed = await mesh.hold("default/client", addresses[0]);
    await using probe = await mesh.hold(NODE, addresses[1]);
    const { revision } = (await mesh.status(NODE)).datapath;
    await mesh.bed.kill(NODE, "KILL");
    assert.match(await relayed.end(), /ConnectionReset|end/);
    await checkRefused("outside", "default/plain", "default/client");
    await checkServed(NODE);
    assert.equal(await probe.ask("alive"), "alive");
    await mesh.bed.start(NODE);
    assert.equal(await probe.ask("still alive"), "still alive");
    await checkInForce();
    assert.ok((await mesh.status(NODE)).datapath.revision >= revision, "the plan began anew");
  });

  it("SIGKILL three times in a row changes nothing", async () => {
    for (let round = 0; round < 3; round++) {
      // deno-lint-ignore no-await-in-loop -- one life after the other
      await mesh.bed.kill(NODE, "KILL");
      // deno-lint-ignore no-await-in-loop
      await mesh.bed.start(NODE);
    }
    await checkInForce();
  });

  it("SIGTERM leaves plaintext refused, too", async () => {
    await mesh.bed.kill(NODE, "TERM");
    await checkRefused("outside", "default/plain");
    await checkServed(NODE);
    await mesh.bed.start(NODE);
    await checkInForce();
  });

  it("a restart refuses no new connection: those that come meanwhile wait", async () => {
    await using beat = await Beat.start(mesh, "default/client", addresses[0]);
    await mesh.bed.kill(NODE, "TERM");
    await beat.went(10); // between two agents
    await mesh.bed.start(NODE);
    await beat.went(10);
    const { failed, first, served = 0, elapsedMs = 0 } = await beat.end();
    assert.equal(failed, 0, first);
    assert.ok(served > 20, `${served} were served`);
    assert.ok(elapsedMs > 300, "nobody had to wait");
    await checkInForce();
  });

  it("after SIGKILL new connections are refused at once, not held", async () => {
    await mesh.bed.kill(NODE, "KILL");
    for (const place of ["default/client", "outside"]) {
      // One that is held hears nothing. The sockets of the dead may outlive it for a moment.
      // deno-lint-ignore no-await-in-loop -- each by itself, to name the one
      assert.match(await knock(place, addresses[0]), /^(refused|accepted)$/, place);
    }
    await checkRefused("default/client", "outside");
    await mesh.bed.start(NODE);
    await checkInForce();
  });

  it("a second agent is not let into the same run directory", async () => {
    const { code, stderr } = await mesh.weft(NODE, "run", "--source", source);
    assert.notEqual(code, 0);
    assert.match(stderr, /another agent is using it/);
    await checkInForce();
  });

  it("an invalid document is named with file and line, and the rest counts", async () => {
    const file = `${source}/broken.yaml`;
    const text = policy("plain", "STRICT").replace('"mode":"STRICT"', '\n\n"mode":"STRICKT"');
    await Deno.writeTextFile(file, text);
    await eventually("the rejection is shown", async () => {
      const { rejections } = (await mesh.status(NODE)).source;
      return rejections.some((each) => each.file.endsWith("broken.yaml"));
    });
    const { stdout } = await mesh.weft(NODE, "status");
    assert.match(stdout, /broken\.yaml:3\b/);
    await checkInForce();
    await Deno.remove(file);
    await eventually("it is forgotten", async () => {
      return (await mesh.status(NODE)).source.rejections.length === 0;
    });
  });

  const checkSourceFailure = async () => {
    await eventually("the failure is shown", async () => {
      return (await mesh.status(NODE)).source.failure !== undefined;
    });
    assert.equal((await mesh.weft(NODE, "status")).code, 1);
    await checkInForce();
  };

  const checkSourceBack = async () => {
    await eventually("the source is back", async () => {
      return (await mesh.status(NODE)).source.failure === undefined;
    });
    assert.equal((await mesh.weft(NODE, "status")).code, 0);
    await checkInForce();
  };

  it("a source without any document left keeps everything in force", async () => {
    const files = [...Deno.readDirSync(source)].map(({ name }) => name)
      .filter((name) => name.endsWith(".yaml"));
    const aside = `${source}.aside`;
    Deno.mkdirSync(aside);
    for (const name of files) Deno.renameSync(`${source}/${name}`, `${aside}/${name}`);
    await checkSourceFailure();
    for (const name of files) Deno.renameSync(`${aside}/${name}`, `${source}/${name}`);
    Deno.removeSync(aside);
    await checkSourceBack();
  });

  it("a source that vanishes keeps everything in force", async () => {
    Deno.renameSync(source, `${source}.away`);
    try {
      await checkSourceFailure();
    } finally {
      Deno.renameSync(`${source}.away`, source);
    }
    await checkSourceBack();
  });

  it("uninstall leaves no link, map, pin or process, and the pods as they were", async () => {
    const before = await kernelObjects(node);
    assert.ok(before.links.length > 0 && before.pins.length > 0);
    const { code, stderr } = await mesh.weft(NODE, "uninstall");
    assert.equal(code, 0, stderr);
    const left = await findLeft(node, before);
    for (const [kind, ids] of Object.entries(left)) assert.deepEqual(ids, [], kind);
    await checkServed("outside", "default/plain", "default/client", NODE);
  });
});
