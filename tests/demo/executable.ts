/**
 * The executable that is played with: `$WEFT_BIN`, or dist/weft, built when it is older than what
 * it is made of.
 *
 * @module
 */
import { build } from "@/scripts/build.ts";
import { projectRoot } from "@/scripts/lib/terminal.ts";

/** What dist/weft is made of. */
const INPUTS = ["main.ts", "deno.json", "deno.lock", "src", "ffi", "bpf", "scripts"];

/** Path of the executable; `say` is told when it has to be built. */
export async function findExecutable(say: (line: string) => void): Promise<string> {
  const given = Deno.env.get("WEFT_BIN");
  if (given !== undefined) return await Deno.realPath(given);
  const root = projectRoot();
  const weft = `${root}/dist/weft`;
  const builtMs = (await Deno.stat(weft).catch(() => undefined))?.mtime?.getTime() ?? 0;
  const changes = await Promise.all(INPUTS.map((path) => newestMs(`${root}/${path}`)));
  if (builtMs > Math.max(...changes)) return weft;
  say("building dist/weft …");
  return await build();
}

async function newestMs(path: string): Promise<number> {
  const { mtime, isDirectory } = await Deno.stat(path);
  if (!isDirectory) return mtime?.getTime() ?? 0;
  const entries = await Array.fromAsync(Deno.readDir(path));
  const times = await Promise.all(entries.map(({ name }) => newestMs(`${path}/${name}`)));
  return Math.max(0, ...times);
}
