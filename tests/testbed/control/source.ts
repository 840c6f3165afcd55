/**
 * The documents in the source directory of a testbed, which all its agents watch. Files keep their
 * names and the text of every document that nobody changed, so that an agent's message about a line
 * is about the line that the user wrote; an object that is new gets a file of its own,
 * `kind-namespace-name.yaml`.
 *
 * Invariant: a file is replaced by rename, so that an agent never reads half of one; and the
 * directory is the only memory: it is read anew by every command.
 *
 * @module
 */
import { type Document, isMap, parseDocument, stringify } from "yaml";
import { TestbedError } from "../host/process.ts";

/** Names an object: kind, namespace ("" where it has none), name. */
export interface ObjectKey {
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
}

/** One YAML document. */
export interface Manifest extends ObjectKey {
  /** what it says, as plain data */
  // deno-lint-ignore no-explicit-any -- a document of any kind, as it was written
  readonly value: any;
  /** its text, without a document marker */
  readonly text: string;
}

const CLUSTER_SCOPED = new Set([
  "Namespace",
  "Node",
  "WeftNode",
  "CustomResourceDefinition",
  "CiliumClusterwideNetworkPolicy",
  "ClusterRole",
  "ClusterRoleBinding",
]);

/** The documents of one directory. */
export class Source {
  readonly #directory: string;
  readonly #files: Map<string, Part[]>;
  readonly #changed = new Set<string>();

  private constructor(directory: string, files: Map<string, Part[]>) {
    this.#directory = directory;
    this.#files = files;
  }

  /** Reads all documents; files that cannot be parsed are left alone. */
  static async read(directory: string): Promise<Source> {
    const files = new Map<string, Part[]>();
    const names = await listYaml(directory);
    const texts = await Promise.all(names.map((name) => Deno.readTextFile(`${directory}/${name}`)));
    names.forEach((name, index) => files.set(name, splitDocuments(texts[index] ?? "").map(toPart)));
    return new Source(directory, files);
  }

  /** All objects, in the order of files and of documents in a file. */
  objects(): Manifest[] {
    return [...this.#files.values()].flat().flatMap(({ manifest }) => manifest ?? []);
  }

  /** The object of that name. */
  get(key: ObjectKey): Manifest | undefined {
    return this.objects().find((manifest) => sameKey(manifest, key));
  }

  /** Puts an object in the place of the one with its name, or into a file of its own. */
  put(text: string): Manifest {
    const part = toPart(text);
    const { manifest } = part;
    if (manifest === undefined) {
      throw new TestbedError(`Cannot use a document without kind: ${text}`);
    }
    const found = this.#find(manifest);
    if (found !== undefined && found.parts[found.index]?.text.trim() === text.trim()) {
      return manifest;
    }
    if (found !== undefined) found.parts[found.index] = part;
    else this.#files.set(fileName(manifest), [...this.#files.get(fileName(manifest)) ?? [], part]);
    this.#changed.add(found?.file ?? fileName(manifest));
    return manifest;
  }

  /** Puts an object that is given as data. */
  putValue(value: unknown): Manifest {
    return this.put(stringify(value, { aliasDuplicateObjects: false, lineWidth: 0 }));
  }

  /** Changes an object in its document, which keeps its comments. */
  edit(key: ObjectKey, change: (document: Document) => void): void {
    const manifest = this.get(key);
    if (manifest === undefined) {
      throw new TestbedError(
        `Cannot change ${key.kind} "${key.namespace}/${key.name}": it is gone`,
      );
    }
    const document = parseDocument(manifest.text);
    change(document);
    this.put(document.toString({ lineWidth: 0 }));
  }

  /** Removes an object, and its file with the last one; tells whether it was there. */
  remove(key: ObjectKey): boolean {
    const found = this.#find(key);
    if (found === undefined) return false;
    found.parts.splice(found.index, 1);
    this.#changed.add(found.file);
    return true;
  }

  /** Writes the files that changed. */
  async write(): Promise<void> {
    const changed = [...this.#changed];
    this.#changed.clear();
    await Promise.all(changed.map((name) => this.#writeFile(name)));
  }

  async #writeFile(name: string): Promise<void> {
    const path = `${this.#directory}/${name}`;
    const parts = this.#files.get(name) ?? [];
    if (parts.every(({ text }) => text.trim() === "")) return await Deno.remove(path);
    // Beside the directory: a watcher of it sees the finished file only.
    const draft = `${this.#directory}.${name.replaceAll("/", "_")}.new`;
    await Deno.writeTextFile(draft, parts.map(({ text }) => text).join("---\n"));
    await Deno.rename(draft, path);
  }

  #find(key: ObjectKey): { file: string; parts: Part[]; index: number } | undefined {
    for (const [file, parts] of this.#files) {
      const index = parts.findIndex(({ manifest }) => manifest && sameKey(manifest, key));
      if (index >= 0) return { file, parts, index };
    }
    return undefined;
  }
}

/** The objects of a text that a user hands over; `file` is its name in messages. */
export function parseObjects(text: string, file: string): Manifest[] {
  return splitDocuments(text).flatMap((part) => {
    const document = parseDocument(part);
    const [problem] = document.errors;
    if (problem) throw new TestbedError(`Cannot parse "${file}": ${problem.message}`);
    if (document.contents === null) return [];
    const { manifest } = toPart(part);
    if (manifest === undefined) {
      throw new TestbedError(`Cannot use a document of "${file}": it lacks kind or metadata.name`);
    }
    return [manifest];
  });
}

/** "pod default/frontend", for messages. */
export function describeObject({ kind, namespace, name }: ObjectKey): string {
  return `${kind.toLowerCase()} ${namespace === "" ? "" : `${namespace}/`}${name}`;
}

/** Whether two keys name the same object. */
export function sameKey(a: ObjectKey, b: ObjectKey): boolean {
  return a.kind === b.kind && a.namespace === b.namespace && a.name === b.name;
}

interface Part {
  readonly text: string;
  /** absent where the document is empty, broken or nameless */
  readonly manifest?: Manifest;
}

async function listYaml(directory: string, below = ""): Promise<string[]> {
  const names: string[] = [];
  for await (const entry of Deno.readDir(`${directory}/${below}`)) {
    if (entry.name.startsWith(".")) continue;
    if (entry.isDirectory) names.push(...await listYaml(directory, `${below}${entry.name}/`));
    else if (/\.(ya?ml|json)$/.test(entry.name)) names.push(`${below}${entry.name}`);
  }
  return names.sort();
}

/**
 * Splits at document markers; by the grammar of YAML no scalar holds one at the start of a line.
 */
function splitDocuments(text: string): string[] {
  return text.split(/^---(?:[ \t]+#.*|[ \t]*)\r?\n/m)
    .map((part) => part === "" || part.endsWith("\n") ? part : `${part}\n`)
    .filter((part, index) => index > 0 || part.trim() !== "");
}

function toPart(text: string): Part {
  const document = parseDocument(text);
  if (document.errors.length > 0 || !isMap(document.contents)) return { text };
  const value = document.toJS();
  const { kind, metadata } = value;
  if (typeof kind !== "string" || typeof metadata?.name !== "string") return { text };
  const namespace = CLUSTER_SCOPED.has(kind) ? "" : metadata.namespace ?? "default";
  return { text, manifest: { kind, namespace, name: metadata.name, value, text } };
}

function fileName({ kind, namespace, name }: ObjectKey): string {
  const parts = namespace === "" ? [kind, name] : [kind, namespace, name];
  return `${parts.join("-").toLowerCase()}.yaml`;
}
