/**
 * Which module imports which, as Deno resolves it, types included. In: entry modules. Out: edges
 * between files of the checkout.
 *
 * @module
 */

export interface ModuleGraph {
  /** Every local module that the entries reach, as a path relative to the root. */
  readonly modules: ReadonlySet<string>;
  readonly edges: readonly ModuleEdge[];
  /** What could not be loaded, with Deno's reason. */
  readonly broken: readonly string[];
}

export interface ModuleEdge {
  readonly source: string;
  readonly target: string;
}

interface DenoInfo {
  readonly modules: readonly {
    readonly specifier: string;
    readonly error?: string;
    readonly dependencies?: readonly {
      readonly code?: { readonly specifier?: string };
      readonly type?: { readonly specifier?: string };
    }[];
  }[];
}

export async function readModuleGraph(
  root: string,
  entries: readonly string[],
): Promise<ModuleGraph> {
  // `deno info` takes one file: give it one that imports them all.
  const scratch = await Deno.makeTempFile({ prefix: "weft-graph.", suffix: ".ts" });
  try {
    const imports = entries.map((entry) => `import ${JSON.stringify(`file://${root}/${entry}`)};`);
    await Deno.writeTextFile(scratch, imports.join("\n"));
    return toGraph(root, await denoInfo(root, scratch));
  } finally {
    await Deno.remove(scratch);
  }
}

async function denoInfo(root: string, file: string): Promise<DenoInfo> {
  const output = await new Deno.Command(Deno.execPath(), {
    args: ["info", "--json", `--config=${root}/deno.json`, file],
    env: { NO_COLOR: "1" },
    stdin: "null",
  }).output();
  const decoder = new TextDecoder();
  if (!output.success) throw new Error(`"deno info" failed: ${decoder.decode(output.stderr)}`);
  return JSON.parse(decoder.decode(output.stdout)) as DenoInfo;
}

function toGraph(root: string, info: DenoInfo): ModuleGraph {
  const prefix = `file://${root}/`;
  const local = info.modules.filter(({ specifier }) => specifier.startsWith(prefix));
  const relative = (specifier: string): string => specifier.slice(prefix.length);
  return {
    modules: new Set(local.map(({ specifier }) => relative(specifier))),
    edges: local.flatMap(({ specifier, dependencies = [] }) =>
      dependencies
        .map(({ code, type }) => code?.specifier ?? type?.specifier ?? "")
        .filter((target) => target.startsWith(prefix))
        .map((target) => ({ source: relative(specifier), target: relative(target) }))
    ),
    broken: local.flatMap(({ error }) => error === undefined ? [] : [error]),
  };
}
