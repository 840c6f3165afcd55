/**
 * dist/weft on machines that have next to nothing: no libc, no Debian, no place to write.
 *
 * @module
 */

import assert from "node:assert/strict";
import { before, describe, it } from "node:test";
import { build } from "@/scripts/build.ts";
import { VERSION } from "@/src/version.ts";
import { BareRoot, type Outcome } from "./bare_root.ts";

describe("dist/weft in a bare root", () => {
  let weft = "";
  before(async () => {
    weft = await build();
  });

  it("runs where there is busybox and no libc", async () => {
    await using root = await BareRoot.make(weft);
    assertVersion(await root.start());
    assert.deepEqual(names(`${root.path}/run/weft`), ["exec"]);
  });

  it("runs where busybox has no links for its tools", async () => {
    await using root = await BareRoot.make(weft, false);
    assertVersion(await root.start({ script: "/bin/weft --version" }));
  });

  it("says so where /proc is not mounted", async () => {
    await using root = await BareRoot.make(weft, false);
    const { code, stderr } = await root.start({ script: "/bin/weft --version", proc: false });
    assert.deepEqual([code, stderr], [1, "weft: this needs /proc: mount -t proc proc /proc\n"]);
    assert.deepEqual(names(`${root.path}/run`), []);
  });

  it("carries the libraries that it loads", async () => {
    await using root = await BareRoot.make(weft);
    assertVersion(await root.start());
    const code = `for (const name of ["libbpf.so.1", "libssl.so.3", "libcrypto.so.3", "libc.so.6"])
      Deno.dlopen(name, {}).close();`;
    const script = `DENO_DIR=/tmp /run/weft/exec/*/deno eval --no-config '${code}'`;
    assert.deepEqual(await root.start({ script }), { code: 0, stdout: "", stderr: "" });
  });

  it("unpacks once", async () => {
    await using root = await BareRoot.make(weft);
    assertVersion(await root.start());
    const first = inodes(root);
    assertVersion(await root.start());
    assert.deepEqual(inodes(root), first);
  });

  it("runs on a read-only root file system with a tmpfs at /run", async () => {
    await using root = await BareRoot.make(weft);
    const setup = `${READ_ONLY}; mount -t tmpfs run "$ROOT/run"`;
    assertVersion(await root.start({ setup }));
  });

  it("runs on a read-only root file system with nothing at /run", async () => {
    await using root = await BareRoot.make(weft);
    assertVersion(await root.start({ setup: READ_ONLY }));
  });

  it("mounts a file system of its own where /run is noexec", async () => {
    await using root = await BareRoot.make(weft);
    const setup = `${READ_ONLY}; mount -t tmpfs -o noexec run "$ROOT/run"`;
    const script = "weft --version && weft --version && grep /run/weft /proc/mounts";
    const { code, stdout, stderr } = await root.start({ setup, script });
    assert.equal(stderr, "");
    assert.equal(code, 0);
    const [first, second, mount, ...more] = stdout.trimEnd().split("\n");
    assert.deepEqual([first, second], [VERSION, VERSION]);
    assert.match(mount ?? "", /^weft \/run\/weft\/exec\/[0-9a-f]{16} tmpfs rw,nosuid,nodev/);
    assert.deepEqual(more, []);
  });

  it("goes elsewhere where /run is too small", async () => {
    await using root = await BareRoot.make(weft);
    const setup = `mount -t tmpfs -o size=20m run "$ROOT/run"`;
    const { code, stdout } = await root.start({ setup });
    assert.deepEqual([code, stdout], [0, `${VERSION}\n`]);
    assert.deepEqual(names(`${root.path}/tmp`), ["weft-0"]);
  });

  it("says what to do where nothing can be written", async () => {
    await using root = await BareRoot.make(weft);
    await Deno.writeTextFile(`${root.path}/run/occupied`, "");
    const { code, stdout, stderr } = await root.start({ setup: READ_ONLY });
    assert.deepEqual([code, stdout], [1, ""]);
    assert.match(stderr, /^weft: found no folder to unpack to; .* set XDG_CACHE_HOME/m);
  });

  it("does not trust a folder that others may write to", async () => {
    await using root = await BareRoot.make(weft);
    assertVersion(await root.start());
    const before = inodes(root);
    const [folder = ""] = before.map(([name]) => name);
    await Deno.chmod(`${root.path}/run/weft/exec/${folder}`, 0o777);
    assertVersion(await root.start());
    assert.notDeepEqual(inodes(root), before);
  });
});

const READ_ONLY = 'mount -o remount,bind,ro "$ROOT"';

function assertVersion(outcome: Outcome): void {
  assert.deepEqual(outcome, { code: 0, stdout: `${VERSION}\n`, stderr: "" });
}

function names(dir: string): string[] {
  return [...Deno.readDirSync(dir)].map(({ name }) => name).sort();
}

/** The folders that were unpacked, each with the inode of its marker. */
function inodes(root: BareRoot): [string, number | null][] {
  const exec = `${root.path}/run/weft/exec`;
  const folders = names(exec).filter((name) => /^[0-9a-f]{16}$/.test(name));
  assert.equal(folders.length, 2);
  return folders.map((name) => [name, Deno.statSync(`${exec}/${name}/ok`).ino]);
}
