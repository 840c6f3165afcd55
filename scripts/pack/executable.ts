/**
 * Puts `dist/weft` together: a shell header (`launcher.sh`), the packed app and the packed runtime.
 * In: directories. Out: one executable file.
 *
 * Three parts stand behind the header, in this order: the app (bundle and eBPF objects, gzip), the
 * boot part of the runtime (loader, libc and zstd, gzip) and the rest of the runtime (zstd). gzip
 * is what every small root can read, but takes a second for a hundred megabytes; zstd takes a
 * quarter of one. The runtime is packed once for each toolchain and level and kept in dist/.cache,
 * so that a build after a change of source packs the app alone.
 *
 * Invariant: the same inputs give the same bytes (sorted names, no times, no owners), hence the
 * same folder name on the machine that unpacks it.
 *
 * @module
 */

import { run } from "../lib/command.ts";
import { type Extent, findInterpreter } from "./elf.ts";

export interface Packed {
  /** Files that hold the part, to be put one behind the other. */
  readonly files: readonly string[];
  /** SHA-256 over them, in hexadecimal. */
  readonly hash: string;
  /** Bytes of each file. */
  readonly sizes: readonly number[];
}

export interface PackedRuntime extends Packed {
  /** Where `deno` names its loader. */
  readonly interpreter: Extent;
}

/** Name of the loader in the runtime directory. */
export const LOADER = "ld-linux-x86-64.so.2";

/** What must be there before zstd can run; the rest of the runtime is packed with zstd. */
const BOOT = [LOADER, "libc.so.6", "libz.so.1", "unpack"];

/** Loader's path in what is packed: room for that of the longest folder to unpack to. */
export const INTERPRETER_ROOM = `/${"-".repeat(399)}`;

/** Hexadecimal digits of the content's hash that name a folder on the target machine. */
const NAME_LENGTH = 16;

export async function packApp(dir: string, target: string): Promise<Packed> {
  await tar(dir, ["."], `gzip -n -6`, target);
  return await describe([target]);
}

/** Packs the runtime that this very deno belongs to, or finds it packed in `cache`. */
export async function packRuntime(cache: string, level: number): Promise<PackedRuntime> {
  const dir = `${cache}/${runtimeDir().split("/").at(-1)}-${level}`;
  if (!await Deno.stat(dir).then(() => true, () => false)) {
    const stage = await Deno.makeTempDir({ dir: cache, prefix: "stage." });
    try {
      const deno = `${stage}/deno`;
      await Deno.copyFile(Deno.execPath(), deno);
      await run(["patchelf", "--set-interpreter", INTERPRETER_ROOM, deno]);
      await packRuntimeInto(`${stage}/packed`, deno, level);
      await Deno.rename(`${stage}/packed`, dir);
    } finally {
      await Deno.remove(stage, { recursive: true });
    }
  }
  return await describeRuntime(dir);
}

/** Packs a runtime whose deno is `executable`, for `deno compile`. */
export async function packCompiled(
  executable: string,
  target: string,
  level: number,
): Promise<PackedRuntime> {
  await packRuntimeInto(target, executable, level);
  return await describeRuntime(target);
}

/** What scripts/toolchain put together. */
function runtimeDir(): string {
  return Deno.execPath().replace(/\/[^/]+$/, "");
}

async function describeRuntime(dir: string): Promise<PackedRuntime> {
  const interpreter = JSON.parse(await Deno.readTextFile(`${dir}/interpreter.json`)) as Extent;
  return { ...await describe([`${dir}/boot.tar.gz`, `${dir}/rest.tar.zst`]), interpreter };
}

async function packRuntimeInto(target: string, deno: string, level: number): Promise<void> {
  const files = `${target}/files`;
  await Deno.mkdir(target);
  await run(["cp", "-r", runtimeDir(), files]);
  await Deno.copyFile(deno, `${files}/deno`);
  const interpreter = findInterpreter(await Deno.readFile(deno));
  await Deno.writeTextFile(`${target}/interpreter.json`, JSON.stringify(interpreter));
  const rest = [...Deno.readDirSync(files)].map((entry) => entry.name)
    .filter((name) => !BOOT.includes(name)).sort();
  const long = level > 9 ? " --long=26" : ""; // 64 MiB of window: what zstd -d accepts unasked
  await tar(files, BOOT, "gzip -n -9", `${target}/boot.tar.gz`);
  await tar(files, rest, `zstd -q -T0 -${level}${long}`, `${target}/rest.tar.zst`);
  await Deno.remove(files, { recursive: true });
}

async function tar(
  dir: string,
  names: readonly string[],
  compressor: string,
  target: string,
): Promise<void> {
  await run([
    "tar",
    "--sort=name",
    "--mtime=@0",
    "--owner=0",
    "--group=0",
    "--numeric-owner",
    "--mode=u=rwX,go=",
    `--use-compress-program=${compressor}`,
    "-cf",
    target,
    "-C",
    dir,
    ...names,
  ]);
}

async function describe(files: readonly string[]): Promise<Packed> {
  const parts = await Promise.all(files.map((file) => Deno.readFile(file)));
  const bytes = new Uint8Array(await new Blob(parts).arrayBuffer());
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toHex();
  return { files, hash, sizes: parts.map((part) => part.length) };
}

/** Writes the executable, aside first and then by rename. */
export async function writeExecutable(
  target: string,
  parts: { readonly app: Packed; readonly runtime: PackedRuntime },
  template: string,
  runArgs: string,
): Promise<void> {
  const header = fillHeader(template, parts, runArgs);
  const scratch = `${target}.${Deno.pid}`;
  using file = await Deno.open(scratch, { write: true, create: true, truncate: true, mode: 0o755 });
  await file.write(header);
  for (const part of [...parts.app.files, ...parts.runtime.files]) {
    // In this order, behind one another.
    // deno-lint-ignore no-await-in-loop
    await writeAll(file, await Deno.readFile(part));
  }
  await Deno.rename(scratch, target);
}

async function writeAll(file: Deno.FsFile, bytes: Uint8Array): Promise<void> {
  for (let sent = 0; sent < bytes.length;) {
    // deno-lint-ignore no-await-in-loop
    sent += await file.write(bytes.subarray(sent));
  }
}

/** The header names offsets behind itself, so it is padded to a length that is known before. */
function fillHeader(
  template: string,
  { app, runtime }: { readonly app: Packed; readonly runtime: PackedRuntime },
  runArgs: string,
): Uint8Array {
  const length = 16 * 1024;
  const appSize = sum(app.sizes);
  const values: Record<string, string | number> = {
    APP: app.hash.slice(0, NAME_LENGTH),
    APP_HASH: app.hash,
    APP_AT: length,
    APP_SIZE: appSize,
    RUNTIME: runtime.hash.slice(0, NAME_LENGTH),
    RUNTIME_HASH: runtime.hash,
    RUNTIME_AT: length + appSize,
    RUNTIME_SIZE: sum(runtime.sizes),
    BOOT_SIZE: runtime.sizes[0] ?? 0,
    LOADER,
    INTERPRETER_AT: runtime.interpreter.offset,
    INTERPRETER_SIZE: runtime.interpreter.size,
    RUN: runArgs,
  };
  const text = template.replace(/@([A-Z_]+)@/g, (_, name: string) => {
    const value = values[name];
    if (value === undefined) throw new Error(`launcher.sh wants "${name}", which nobody gives`);
    return String(value);
  });
  const bytes = new TextEncoder().encode(text);
  if (bytes.length > length) {
    throw new Error(`The header has ${bytes.length} bytes, want at most ${length}`);
  }
  const padded = new Uint8Array(length).fill("\n".charCodeAt(0));
  padded.set(bytes);
  return padded;
}

function sum(sizes: readonly number[]): number {
  return sizes.reduce((total, size) => total + size, 0);
}
