/**
 * Compiles `bpf/*.bpf.c` to `dist/bpf/*.bpf.o`: one object per program file, with BTF and without
 * DWARF. In: the C files and headers of `bpf/`. Out: how many objects were compiled anew.
 *
 * Invariant: an object that exists is complete (written aside, then renamed) and belongs to the
 * sources and flags of now: its stamp, a hash over all of `bpf/` and the compiler's command, says
 * so. A change of any header recompiles everything, which takes two seconds; tracking includes
 * would be one more thing that can be wrong.
 *
 * @module
 */

import { run } from "./lib/command.ts";
import { projectRoot, say } from "./lib/terminal.ts";

/** Paths stay relative to the root, so that the line information in BTF names no machine. */
const FLAGS = [
  "-O2",
  "-g",
  "-target",
  "bpf",
  "-mcpu=v3", // 32-bit jumps and atomics with a result: every supported kernel (6.1) has them
  "-Wall",
  "-Wextra",
  "-Werror",
  "-Wno-unused-parameter",
  "-fdebug-compilation-dir=.",
  "-Ibpf",
  "-isystem",
  `/usr/include/${Deno.build.arch}-linux-gnu`,
] as const;

/** Compiles what is out of date; returns the names of the objects that were. */
export async function buildObjects(root = projectRoot()): Promise<string[]> {
  const dir = `${root}/dist/bpf`;
  await Deno.mkdir(dir, { recursive: true });
  const names = (await listSources(root)).filter((name) => name.endsWith(".bpf.c"));
  const stamp = await hashSources(root);
  const rebuilt = await Promise.all(names.map((name) => buildObject(root, name, stamp)));
  await removeStale(dir, names.map(objectName));
  return rebuilt.filter((name) => name !== undefined);
}

function objectName(source: string): string {
  return source.replace(/\.c$/, ".o");
}

async function listSources(root: string): Promise<string[]> {
  const names: string[] = [];
  for await (const entry of Deno.readDir(`${root}/bpf`)) {
    if (/\.[ch]$/.test(entry.name)) names.push(entry.name);
  }
  return names.sort();
}

async function hashSources(root: string): Promise<string> {
  const names = await listSources(root);
  const texts = await Promise.all(names.map((name) => Deno.readTextFile(`${root}/bpf/${name}`)));
  const clang = await run(["clang", "--version"]);
  const input = JSON.stringify([clang, FLAGS, names, texts]);
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(input));
  return new Uint8Array(digest).toHex();
}

async function buildObject(
  root: string,
  source: string,
  stamp: string,
): Promise<string | undefined> {
  const object = `${root}/dist/bpf/${objectName(source)}`;
  const stampPath = `${object}.stamp`;
  const [found, exists] = await Promise.all([
    Deno.readTextFile(stampPath).catch(() => ""),
    Deno.stat(object).then(() => true, () => false),
  ]);
  if (exists && found === stamp) return undefined;

  const scratch = `${object}.${Deno.pid}`;
  try {
    await run(["clang", ...FLAGS, "-c", `bpf/${source}`, "-o", scratch], { cwd: root });
    await run(["llvm-strip", "-g", scratch]);
    await Deno.rename(scratch, object);
    await Deno.writeTextFile(stampPath, stamp);
  } catch (error) {
    await Deno.remove(scratch).catch(() => {});
    throw error;
  }
  return objectName(source);
}

/** An object whose source is gone must not be packed or loaded. */
async function removeStale(dir: string, objects: readonly string[]): Promise<void> {
  for await (const entry of Deno.readDir(dir)) {
    const object = entry.name.replace(/\.stamp$/, "");
    if (object.endsWith(".bpf.o") && !objects.includes(object)) {
      await Deno.remove(`${dir}/${entry.name}`);
    }
  }
}

if (import.meta.main) {
  for (const name of await buildObjects()) say(`BPF ${name}`);
}
