/**
 * Builds `dist/weft`: eBPF objects, bundle, executable; then starts it and prints what it weighs
 * and how long it takes. `--release` packs as small as it can, which takes a minute.
 *
 * Invariant: `dist/weft` is replaced by one rename, after everything in it was made; a build that
 * fails leaves the last one.
 *
 * @module
 */

import { buildObjects } from "./bpf.ts";
import { bundleInto } from "./pack/bundle.ts";
import { run } from "./lib/command.ts";
import { packApp, packRuntime, writeExecutable } from "./pack/executable.ts";
import { projectRoot, say } from "./lib/terminal.ts";

/** How the unpacked runtime starts the bundle, which holds all of its dependencies. */
const RUN_ARGS = [
  "run",
  "-A",
  "--no-config",
  "--no-lock",
  "--no-remote",
  "--no-npm",
  "--no-prompt",
];

export interface BuildOptions {
  /** Pack as small as possible. */
  readonly release?: boolean;
}

/** Builds and returns the path of the executable. */
export async function build(options: BuildOptions = {}): Promise<string> {
  const root = projectRoot();
  const dist = `${root}/dist`;
  await Deno.mkdir(`${dist}/.cache`, { recursive: true });
  const stage = await Deno.makeTempDir({ dir: `${dist}/.cache`, prefix: "app." });
  try {
    const [objects, runtime] = await Promise.all([
      buildObjects(root).then(() => listObjects(dist)),
      packRuntime(`${dist}/.cache`, options.release ? 19 : 3),
      bundleInto(`${stage}/app`, root),
    ]);
    await Deno.mkdir(`${stage}/app/dist/bpf`, { recursive: true });
    await Promise.all(
      objects.map((name) => Deno.copyFile(`${dist}/bpf/${name}`, `${stage}/app/dist/bpf/${name}`)),
    );
    const app = await packApp(`${stage}/app`, `${stage}/app.tar.gz`);
    const template = await Deno.readTextFile(`${root}/scripts/pack/launcher.sh`);
    await writeExecutable(`${dist}/weft`, { app, runtime }, template, RUN_ARGS);
  } finally {
    await Deno.remove(stage, { recursive: true });
  }
  return `${dist}/weft`;
}

async function listObjects(dist: string): Promise<string[]> {
  const entries = await Array.fromAsync(Deno.readDir(`${dist}/bpf`));
  return entries.map((entry) => entry.name).filter((name) => name.endsWith(".bpf.o")).sort();
}

/** Size, first start (which unpacks) and later starts of `weft --version`. */
async function report(weft: string): Promise<void> {
  const { size } = await Deno.stat(weft);
  say(`dist/weft        ${(size / 1e6).toFixed(1)} MB`);
  const scratch = await Deno.makeTempDir({ prefix: "weft-build." });
  try {
    const first = await timeStart(weft, scratch);
    say(`first start      ${first.toFixed(0)} ms to the first output, unpacking included`);
    const later: number[] = [];
    for (let round = 0; round < 7; round++) {
      // One at a time: they are timed.
      // deno-lint-ignore no-await-in-loop
      later.push(await timeStart(weft, scratch));
    }
    later.sort((a, b) => a - b);
    say(`later starts     ${(later[3] ?? NaN).toFixed(0)} ms to the first output (median of 7)`);
  } finally {
    await Deno.remove(scratch, { recursive: true });
  }
}

/** Milliseconds of `weft --version` as somebody who is not root and unpacks below `home`. */
async function timeStart(weft: string, home: string): Promise<number> {
  await Deno.chmod(home, 0o777);
  const user = Deno.uid() === 0
    ? ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    : [];
  const start = performance.now();
  await run([...user, "env", `XDG_CACHE_HOME=${home}`, weft, "--version"]);
  return performance.now() - start;
}

if (import.meta.main) {
  const start = performance.now();
  const weft = await build({ release: Deno.args.includes("--release") });
  say(`built in         ${((performance.now() - start) / 1000).toFixed(1)} s`);
  await report(weft);
}
