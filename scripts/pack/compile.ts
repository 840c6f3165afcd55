/**
 * The other way to make the executable: `deno compile`, which puts the code into a runtime image
 * (`denort`) instead of carrying deno and a bundle. In: the checkout and an image, given by
 * `DENORT_BIN` or downloaded by `deno compile` itself. Out: an executable that takes the place of
 * deno in the runtime directory and behaves the same.
 *
 * Invariant: an image counts only after a program made with it has run; the `deno` binary itself,
 * for one, is accepted by `deno compile` but makes a file that is merely deno again.
 *
 * The image is bound to the carried libraries before the code is put in, because the code is found
 * by its distance from the end of the file, where patchelf would add.
 *
 * @module
 */

import { WORKERS } from "../../src/assets.ts";
import { run } from "../lib/command.ts";

/** Compiles `main.ts` into `stage`, with room for a loader's path `interpreter`. */
export async function compileInto(
  stage: string,
  root: string,
  interpreter: string,
): Promise<string> {
  const image = await findImage(stage);
  const bound = `${stage}/denort`;
  await Deno.copyFile(image, bound);
  await run(["patchelf", "--set-rpath", "$ORIGIN", "--set-interpreter", interpreter, bound]);
  const included = [...Object.values(WORKERS), "dist/bpf"].flatMap((path) => ["--include", path]);
  const target = `${stage}/compiled`;
  await compile(["-A", "--no-check", ...included, "--output", target, "main.ts"], bound, root);
  return target;
}

/** Path of an image that works; throws with the reason where there is none. */
async function findImage(stage: string): Promise<string> {
  const given = Deno.env.get("DENORT_BIN");
  const script = `${stage}/probe.js`;
  const probe = `${stage}/probe`;
  const word = crypto.randomUUID();
  const source = `Deno.stdout.writeSync(new TextEncoder().encode(${JSON.stringify(word)}));`;
  await Deno.writeTextFile(script, source);
  await compile(["--no-config", "--output", probe, script], given, stage);
  if (await run([probe]) !== word) {
    throw new Error(`The runtime image "${given}" ignores what is compiled into it`);
  }
  return given ?? await extractDownloaded(stage);
}

async function compile(
  args: readonly string[],
  image: string | undefined,
  cwd: string,
): Promise<void> {
  const env = image === undefined ? {} : { DENORT_BIN: image };
  await run([Deno.execPath(), "compile", "--quiet", ...args], { cwd, env });
}

/** `deno compile` keeps what it downloads as an archive below the cache of Deno. */
async function extractDownloaded(stage: string): Promise<string> {
  const info = JSON.parse(await run([Deno.execPath(), "info", "--json"])) as { denoDir: string };
  const name = `denort-${Deno.build.target}.zip`;
  const archive = `${info.denoDir}/dl/release/v${Deno.version.deno}/${name}`;
  await run(["busybox", "unzip", "-q", archive, "denort", "-d", `${stage}/image`]);
  await Deno.chmod(`${stage}/image/denort`, 0o755);
  return `${stage}/image/denort`;
}
