/**
 * Where the files are that the code needs at run time besides itself: eBPF objects and the entry
 * scripts of workers. In: a name. Out: a path or URL.
 *
 * Invariant: everything lies below one root, at the same relative place in a checkout, in the
 * unpacked bundle of `dist/weft` and in the file system of a `deno compile` executable. So nothing
 * has to say at run time which of them this is: no environment variable, no probing of files.
 *
 * Nobody else uses `import.meta.url` to find a file: a bundle moves code between files.
 *
 * @module
 */

/** Entry scripts of workers: the only list of them, also read by `scripts/build.ts`. */
export const WORKERS = {
  "relay/worker": "src/relay/worker.ts",
} as const;

export type WorkerName = keyof typeof WORKERS;

/** Folder of the eBPF objects below the root. */
const OBJECT_DIR = "dist/bpf";

/**
 * Absolute path of a bundled asset.
 *
 * @param name File name of an eBPF object, such as "steer.bpf.o"
 */
export function assetPath(name: string): string {
  return decodeURIComponent(new URL(`${OBJECT_DIR}/${name}`, rootUrl(import.meta.url)).pathname);
}

/** What to give to `new Worker(…, { type: "module" })`. */
export function workerUrl(name: WorkerName): URL {
  const script: string = WORKERS[name];
  const isBundle = import.meta.url.endsWith(".js");
  return new URL(isBundle ? bundled(script) : script, rootUrl(import.meta.url));
}

/**
 * URL of the root folder, from the URL of the file that this code is in now: itself, an entry
 * script that it was bundled into, or one of the chunks, which all lie in the root.
 */
export function rootUrl(here: string): URL {
  const entries = Object.values(WORKERS).map(bundled);
  const inner = ["src/assets.ts", ...entries].find((path) => here.endsWith(`/${path}`));
  return inner === undefined ? new URL(".", here) : new URL(here.slice(0, -inner.length));
}

/** Name that the bundler gives to an entry script. */
function bundled(script: string): string {
  return script.replace(/\.ts$/, ".js");
}
