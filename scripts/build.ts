/**
 * Builds `dist/weft`: eBPF objects, bundle, executable; then starts it and prints what it weighs
 * and how long it takes.
 *
 * `--release` packs as small as it can, which takes a minute. `--compile`, or a runtime image named
 * by `DENORT_BIN`, uses `deno compile`; where that cannot work, the build says so and bundles.
 *
 * Invariant: `dist/weft` is replaced by one rename, after everything in it was made; a build that
 * fails leaves the last one.
 *
 * @module
 */

import { buildObjects } from "./bpf.ts";
import { bundleInto } from "./pack/bundle.ts";
import { compileInto } from "./pack/compile.ts";
import {
  INTERPRETER_ROOM,
  packApp,
  packCompiled,
  type PackedRuntime,
  packRuntime,
  writeExecutable,
} from "./pack/executable.ts";
import { report } from "./pack/measure.ts";
import { projectRoot, say } from "./lib/terminal.ts";

/** How the unpacked runtime starts the bundle, which holds all of its dependencies. */
const RUN_BUNDLE =
  'run -A --no-config --no-lock --no-remote --no-npm --no-prompt "$base/$app/main.js"';

export interface BuildOptions {
  /** Pack as small as possible. */
  readonly release?: boolean;
  /** Try `deno compile` first. */
  readonly compile?: boolean;
}

/** Builds and returns the path of the executable. */
export async function build(options: BuildOptions = {}): Promise<string> {
  const root = projectRoot();
  const dist = `${root}/dist`;
  await Deno.mkdir(`${dist}/.cache`, { recursive: true });
  const stage = await Deno.makeTempDir({ dir: `${dist}/.cache`, prefix: "app." });
  try {
    await buildObjects(root);
    await Deno.mkdir(`${stage}/app`);
    const level = options.release ? 19 : 3;
    const compiled = options.compile ? await tryCompile(stage, root, level) : undefined;
    const runtime = compiled ?? await packRuntime(`${dist}/.cache`, level);
    if (compiled === undefined) await fillApp(`${stage}/app`, root);
    const app = await packApp(`${stage}/app`, `${stage}/app.tar.gz`);
    const template = await Deno.readTextFile(`${root}/scripts/pack/launcher.sh`);
    const runArgs = compiled === undefined ? RUN_BUNDLE : "";
    await writeExecutable(`${dist}/weft`, { app, runtime }, template, runArgs);
  } finally {
    await Deno.remove(stage, { recursive: true });
  }
  return `${dist}/weft`;
}

/** Bundle and eBPF objects, as `src/assets.ts` looks for them. */
async function fillApp(app: string, root: string): Promise<void> {
  await bundleInto(app, root);
  await Deno.mkdir(`${app}/dist/bpf`, { recursive: true });
  for await (const { name } of Deno.readDir(`${root}/dist/bpf`)) {
    if (!name.endsWith(".bpf.o")) continue;
    await Deno.copyFile(`${root}/dist/bpf/${name}`, `${app}/dist/bpf/${name}`);
  }
}

async function tryCompile(
  stage: string,
  root: string,
  level: number,
): Promise<PackedRuntime | undefined> {
  try {
    const executable = await compileInto(stage, root, INTERPRETER_ROOM);
    return await packCompiled(executable, `${stage}/runtime`, level);
  } catch (error) {
    say(`Not compiled but bundled: ${error instanceof Error ? error.message : error}`);
    return undefined;
  }
}

if (import.meta.main) {
  const start = performance.now();
  const weft = await build({
    release: Deno.args.includes("--release"),
    compile: Deno.args.includes("--compile") || Deno.env.has("DENORT_BIN"),
  });
  say(`built in         ${((performance.now() - start) / 1000).toFixed(1)} s`);
  await report(weft);
}
