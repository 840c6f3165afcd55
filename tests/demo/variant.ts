/**
 * A weft with one thing taken out: a copy of the source, one change of its text, an executable.
 *
 * Invariant: the text that is changed stands in the file exactly once; a sabotage that no longer
 * fits the source is an error, not a success. The checkout is not touched.
 *
 * @module
 */
import { run } from "@/scripts/lib/command.ts";
import { projectRoot } from "@/scripts/lib/terminal.ts";

/** One change. */
export interface Mutation {
  /** path in the checkout */
  readonly file: string;
  readonly from: string;
  readonly to: string;
}

/** What is copied: all that a build reads. The packed runtime is of no use to anyone else. */
const COPIED = ["main.ts", "deno.json", "deno.lock", "src", "ffi", "bpf", "scripts"];

/** Builds it; disposing removes the copy. */
export async function buildVariant(mutation: Mutation): Promise<Variant> {
  const directory = await Deno.makeTempDir({ prefix: "weft-variant-" });
  const variant = {
    weft: `${directory}/dist/weft`,
    [Symbol.asyncDispose]: () => Deno.remove(directory, { recursive: true }).catch(() => undefined),
  };
  try {
    const root = projectRoot();
    await run(["cp", "-a", ...COPIED.map((path) => `${root}/${path}`), directory]);
    await Deno.mkdir(`${directory}/dist`);
    await run(["cp", "-a", `${root}/dist/.cache`, `${directory}/dist/.cache`]).catch(() => "");
    await mutate(`${directory}/${mutation.file}`, mutation);
    // Not the script itself: that would also measure what it has built.
    const program = 'import { build } from "./scripts/build.ts"; await build();';
    const env = { NO_COLOR: "1" };
    await run([Deno.execPath(), "eval", program], { cwd: directory, env });
    return variant;
  } catch (error) {
    await variant[Symbol.asyncDispose]();
    throw error;
  }
}

/** A built copy. */
export interface Variant extends AsyncDisposable {
  readonly weft: string;
}

async function mutate(path: string, { file, from, to }: Mutation): Promise<void> {
  const text = await Deno.readTextFile(path);
  const found = text.split(from).length - 1;
  if (found !== 1) {
    throw new Error(`Cannot change "${file}": the text to be changed is there ${found} times`);
  }
  await Deno.writeTextFile(path, text.replace(from, () => to));
}
