/**
 * Writes bpf/layout.gen.ts: the TypeScript half of the contract that bpf/layout.h is.
 *
 * In: bpf/layout.h (types and constants) and the compiled objects in dist/bpf (maps). Out: codecs,
 * enumerations, constants and map definitions. The compiler lays the structures out and evaluates
 * the constants, and its own type information (BTF) is what we read: nobody parses C here. Types
 * that no program uses have no BTF, so a tiny unit that mentions each of them is compiled as well.
 *
 * Run: deno run -A scripts/layout.ts [--check] [--no-maps]
 *
 * @module
 */

import { Btf } from "../ffi/bpf/btf.ts";
import { renderLayout } from "./layout_render.ts";

const HEADER = "bpf/layout.h";
const OBJECTS = "dist/bpf";
const TARGET = "bpf/layout.gen.ts";

/** Compiles a unit that mentions everything which `header` declares, and reads its types. */
export async function reflectHeader(header: string): Promise<Btf> {
  const directory = await Deno.makeTempDir({ prefix: "weft-layout-" });
  try {
    const source = `${directory}/reflect.c`;
    const object = `${directory}/reflect.o`;
    const path = await Deno.realPath(header);
    await Deno.writeTextFile(source, reflectionUnit(path, await Deno.readTextFile(path)));
    await compileToBpf(source, object);
    return Btf.parseElf(await Deno.readFile(object));
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

/** C source that gives every `weft_` type a variable and every WEFT_ constant an enumerator. */
function reflectionUnit(path: string, header: string): string {
  const types = unique(
    header.matchAll(/^(struct|enum) (weft_\w+)\s*\{/gm),
    ([, kind, name]) => `${kind} ${name} reflect_${name};`,
  );
  const constants = unique(
    header.matchAll(/^#define (WEFT_\w+)[ \t]+\S/gm),
    ([, name]) => `\tREFLECT_${name} = (${name}),`,
  );
  const holder = constants.length === 0
    ? []
    : ["enum reflect_constants {", ...constants, "} reflect_all_constants;"];
  return [`#include "${path}"`, ...types, ...holder, ""].join("\n");
}

/** Compiles a C file for the bpf target, with type information. */
export async function compileToBpf(source: string, object: string): Promise<void> {
  const { success, stderr } = await new Deno.Command("clang", {
    args: ["-g", "-O2", "-target", "bpf", `-I${ARCH_INCLUDE}`, "-c", source, "-o", object],
    stderr: "piped",
  }).output();
  if (!success) throw new Error(`Cannot compile "${source}":\n${new TextDecoder().decode(stderr)}`);
}

/** Where <asm/types.h> is: the bpf target has no directory of its own. */
const ARCH_INCLUDE = `/usr/include/${Deno.build.arch}-linux-gnu`;

function unique(
  matches: Iterable<RegExpMatchArray>,
  render: (match: RegExpMatchArray) => string,
): string[] {
  return [...new Set([...matches].map(render))];
}

async function readObjects(directory: string): Promise<Map<string, Btf>> {
  const names = [...Deno.readDirSync(directory)].map((entry) => entry.name)
    .filter((name) => name.endsWith(".bpf.o")).sort();
  const objects = new Map<string, Btf>();
  for (const name of names) {
    // deno-lint-ignore no-await-in-loop -- a few small files
    const bytes = await Deno.readFile(`${directory}/${name}`);
    objects.set(name.slice(0, -".bpf.o".length), Btf.parseElf(bytes));
  }
  if (objects.size === 0) {
    throw new Error(`Cannot find objects in "${directory}": build them first`);
  }
  return objects;
}

/** Formats the text like all other code, so that it is pleasant to read. */
async function format(text: string): Promise<string> {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["fmt", "--line-width=100", "--ext=ts", "-"],
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(text));
  await writer.close();
  const { success, stdout, stderr } = await child.output();
  if (!success) throw new Error(`Cannot format:\n${new TextDecoder().decode(stderr)}`);
  return new TextDecoder().decode(stdout);
}

async function main(args: readonly string[]): Promise<number> {
  const objects = args.includes("--no-maps") ? new Map() : await readObjects(OBJECTS);
  const text = await format(renderLayout(await reflectHeader(HEADER), objects));
  if (!args.includes("--check")) {
    await Deno.writeTextFile(TARGET, text);
    return 0;
  }
  const present = await Deno.readTextFile(TARGET).catch(() => "");
  if (present === text) return 0;
  await Deno.stderr.write(new TextEncoder().encode(
    `${TARGET} is stale: run deno run -A scripts/layout.ts\n`,
  ));
  return 1;
}

if (import.meta.main) Deno.exit(await main(Deno.args));
