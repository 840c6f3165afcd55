/**
 * The text files of the checkout, for tests about how the project is written. In: the root. Out:
 * paths relative to it, with their text.
 *
 * Folders are walked instead of asking git: the tests also run where there is a copy and no git.
 *
 * @module
 */

export interface SourceFile {
  /** Relative to the root. */
  readonly path: string;
  readonly text: string;
}

/** What is made, fetched or not ours to write. */
const SKIPPED = new Set([".git", "dist", "node_modules", ".cache"]);

const TEXT = /(\.(ts|c|h|md|sh|json|lock|yaml|orig|rej)|\/[^./]+)$/;

export function readSources(root: string): SourceFile[] {
  return listFiles(root, "")
    .filter((path) => TEXT.test(`/${path}`))
    .map((path) => ({ path, text: Deno.readTextFileSync(`${root}/${path}`) }));
}

function listFiles(root: string, prefix: string): string[] {
  return [...Deno.readDirSync(`${root}/${prefix}`)]
    .sort((a, b) => a.name < b.name ? -1 : 1)
    .flatMap(({ name, isDirectory, isFile }) => {
      if (SKIPPED.has(name)) return [];
      if (isDirectory) return listFiles(root, `${prefix}${name}/`);
      return isFile ? [`${prefix}${name}`] : [];
    });
}
