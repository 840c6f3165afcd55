/**
 * The first start of dist/weft: damage, races, users that are not root.
 *
 * @module
 */

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { build } from "@/scripts/build.ts";
import { VERSION } from "@/src/version.ts";

/** Somebody who owns nothing on the machine. */
const NOBODY = 65534;

describe("the first start of dist/weft", () => {
  let weft = "";
  let scratch = "";
  before(async () => {
    scratch = await Deno.makeTempDir({ prefix: "weft-first." });
    await Deno.chmod(scratch, 0o755);
    await Deno.copyFile(await build(), `${scratch}/weft`);
    weft = `${scratch}/weft`;
  });
  after(() => Deno.remove(scratch, { recursive: true }));

  it("works for a user who is not root, below XDG_CACHE_HOME", async () => {
    const home = await makeHome(`${scratch}/some user's home`);
    assert.deepEqual(await start(weft, home), { code: 0, stdout: `${VERSION}\n`, stderr: "" });
    assert.equal(folders(home).length, 2);
  });

  it("works with a long path to the folder", async () => {
    const home = await makeHome(`${scratch}/${"long/".repeat(50)}home`);
    assert.deepEqual(await start(weft, home), { code: 0, stdout: `${VERSION}\n`, stderr: "" });
  });

  it("works when several happen at the same time", async () => {
    const home = await makeHome(`${scratch}/crowd`);
    const outcomes = await Promise.all([1, 2, 3, 4].map(() => start(weft, home)));
    for (const outcome of outcomes) {
      assert.deepEqual(outcome, { code: 0, stdout: `${VERSION}\n`, stderr: "" });
    }
    assert.equal(folders(home).length, 2);
    assert.deepEqual(all(home).filter((name) => name.startsWith(".new.")), []);
  });

  for (const [part, place] of [["app", 20_000], ["runtime", -1_000_000]] as const) {
    it(`refuses a file whose ${part} is damaged`, async () => {
      const bytes = await Deno.readFile(weft);
      const at = place < 0 ? bytes.length + place : place;
      bytes[at] = (bytes[at] ?? 0) ^ 1;
      const { outcome, home } = await startChanged(bytes, scratch, part);
      assert.deepEqual([outcome.code, outcome.stdout], [1, ""]);
      assert.match(
        outcome.stderr,
        new RegExp(`^weft: the ${part} in ".*" is damaged: its SHA-256`),
      );
      assert.deepEqual([...Deno.readDirSync(home)], []);
    });
  }

  it("refuses a file that was cut short", async () => {
    const bytes = await Deno.readFile(weft);
    const { outcome, home } = await startChanged(bytes.subarray(0, -1), scratch, "short");
    assert.deepEqual([outcome.code, outcome.stdout], [1, ""]);
    assert.match(outcome.stderr, /^weft: the runtime in ".*" is damaged: its SHA-256/);
    assert.deepEqual([...Deno.readDirSync(home)], []);
  });
});

interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

async function makeHome(path: string): Promise<string> {
  await Deno.mkdir(path, { recursive: true });
  await Deno.chown(path, NOBODY, NOBODY);
  return path;
}

async function startChanged(
  bytes: Uint8Array,
  scratch: string,
  name: string,
): Promise<{ outcome: Outcome; home: string }> {
  const changed = `${scratch}/weft-${name}`;
  await Deno.writeFile(changed, bytes, { mode: 0o755 });
  const home = await makeHome(`${scratch}/home-${name}`);
  return { outcome: await start(changed, home), home };
}

async function start(weft: string, home: string): Promise<Outcome> {
  const output = await new Deno.Command("setpriv", {
    args: [`--reuid=${NOBODY}`, `--regid=${NOBODY}`, "--clear-groups", weft, "--version"],
    clearEnv: true,
    env: { PATH: "/usr/bin:/bin", XDG_CACHE_HOME: home },
    stdin: "null",
  }).output();
  const decoder = new TextDecoder();
  return {
    code: output.code,
    stdout: decoder.decode(output.stdout),
    stderr: decoder.decode(output.stderr),
  };
}

function all(home: string): string[] {
  return [...Deno.readDirSync(`${home}/weft/exec`)].map(({ name }) => name);
}

/** What was unpacked: an app and a runtime, each in a folder named by its content. */
function folders(home: string): string[] {
  return all(home).filter((name) => /^[0-9a-f]{16}$/.test(name));
}
