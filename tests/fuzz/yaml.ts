/**
 * YAML that somebody may put into the source folder, from good documents made worse.
 *
 * In: a seed and a number of cases. Each case is one file as the directory source reads it, and
 * what is accepted goes through the model and the compiler. It fails when something is thrown,
 * takes too long, or when a rejection does not say where and why.
 *
 * @module
 */
import assert from "node:assert/strict";
import { compile } from "@/src/compile/mod.ts";
import { applyChanges, type Change, emptyState, type Rejection } from "@/src/model/mod.ts";
import { EMPTY_RECORD, recordOf, type RecordOptions } from "@/src/watch/directory/record.ts";
import { CONFIG } from "@/tests/unit/model/world.ts";
import { forEachCase, type FuzzOptions, join, type Random } from "./random.ts";

const OPTIONS: RecordOptions = {
  systemNamespace: "kube-system",
  defaultNamespace: "default",
  netnsAnnotation: true,
  misplaced: () => undefined,
};
const FILE = "objects/fuzz.yaml";

/** Good files; `WEFT_FUZZ_CORPUS` names a folder of more. */
const FOLDERS = ["../seed", "../cli/manifests"].map((name) =>
  new URL(name, import.meta.url).pathname
);

/** Longest time that one file may take, of at most some tens of KiB. */
const CASE_MS_MAX = 5000;
/** What the process may grow by, with all that its engine has not given back yet. */
const GROWTH_BYTES_MAX = 256 << 20;

/** Text that means something to YAML, to Kubernetes or to JavaScript. */
const WORDS = [
  ..."- |: |{|}|[|]|,|#|&a |*a|*b|!!str |!!binary |!<x> |<<: *a|---\n|...\n|%YAML 1.2\n".split("|"),
  ...["|\n", ">\n", "'", '"', "? ", "\t", "\r\n", "\u0085", "\u2028", "\ufeff", "\0", "\\x00", "~"],
  ...["null", "true", "no", ".inf", ".nan", "-0", "1e999", "0x7fffffff", "0o17", "2026-01-01"],
  ...["__proto__", "constructor", "toString", "hasOwnProperty", "length", "metadata", "spec"],
  ...["apiVersion: v1\n", "kind: List\n", "kind: Pod\n", "items:\n", "kind: CiliumNetworkPolicy\n"],
  ...["STRICT", "strict", "65536", "-1", "0", "999999999999999999999", "::1", "10.0.0.0/33", "/"],
  ...["a".repeat(64), "a".repeat(300), "é".repeat(70), "[".repeat(500), "{a: ".repeat(200)],
];

/** Runs the fuzzer. */
export async function fuzzYaml(options: FuzzOptions): Promise<void> {
  const corpus = await readCorpus();
  const startBytes = Deno.memoryUsage().rss;
  await forEachCase(options, (random) => {
    const bytes = makeFile(random, corpus);
    const start = performance.now();
    const text = new TextDecoder().decode(bytes);
    const previous = random.chance(4)
      ? recordOf(FILE, random.pick(corpus), EMPTY_RECORD, OPTIONS)
      : EMPTY_RECORD;
    const record = recordOf(FILE, bytes, previous, OPTIONS);
    for (const rejection of record.rejections) checkRejection(rejection, text);
    const changes = record.entries.map(({ object, origin }): Change => ({
      type: "put",
      object,
      origin,
    }));
    compile(applyChanges(emptyState(CONFIG), changes));
    const elapsedMs = performance.now() - start;
    assert.ok(elapsedMs < CASE_MS_MAX, `took ${elapsedMs} ms for ${bytes.length} bytes`);
  });
  const grownBytes = Deno.memoryUsage().rss - startBytes;
  assert.ok(grownBytes < GROWTH_BYTES_MAX, `Seed ${options.seed}: grew by ${grownBytes} bytes`);
}

/** Says which file, which line of it, which field where there is one, and what is wrong. */
function checkRejection(rejection: Rejection, text: string): void {
  const { file, line, reason, path, code } = rejection;
  const shown = JSON.stringify(rejection);
  assert.equal(file, FILE, shown);
  assert.ok(line !== undefined && line >= 1 && line <= text.split("\n").length + 1, shown);
  assert.match(reason, /\S{2}/, shown);
  assert.doesNotMatch(reason, /undefined|\[object|\bat .*\.ts:/, shown);
  if (code === "invalid") assert.notEqual(path, "", shown);
}

async function readCorpus(): Promise<Uint8Array[]> {
  const more = Deno.env.get("WEFT_FUZZ_CORPUS");
  const folders = more === undefined ? FOLDERS : [...FOLDERS, more];
  const files = (await Promise.all(folders.map(listYaml))).flat().sort();
  return await Promise.all(files.map((path) => Deno.readFile(path)));
}

async function listYaml(folder: string): Promise<string[]> {
  const entries = await Array.fromAsync(Deno.readDir(folder));
  const found = entries.map(({ name, isDirectory }) => {
    if (isDirectory) return listYaml(`${folder}/${name}`);
    return Promise.resolve(/\.(ya?ml|json)$/.test(name) ? [`${folder}/${name}`] : []);
  });
  return (await Promise.all(found)).flat();
}

function makeFile(random: Random, corpus: readonly Uint8Array[]): Uint8Array {
  if (random.chance(40)) return makeBomb(random);
  const separator = new TextEncoder().encode("\n---\n");
  let bytes: Uint8Array = random.pick(corpus);
  if (random.chance(3)) bytes = join(bytes, separator, random.pick(corpus));
  if (random.chance(3)) bytes = random.damage(bytes);
  const rounds = random.size(12);
  for (let round = 0; round < rounds; round++) bytes = damageText(random, bytes);
  return bytes.subarray(0, FILE_BYTES_MAX);
}

const FILE_BYTES_MAX = 64 * 1024;

/** A pod whose aliases double at every level, in a field that nobody reads. */
function makeBomb(random: Random): Uint8Array {
  const levels = Array.from({ length: 8 + random.below(18) }, (_, level) => {
    const below = level === 0 ? "x" : `*l${level - 1}, *l${level - 1}`;
    return `  l${level}: &l${level} [${below}]`;
  });
  const head = "apiVersion: v1\nkind: Pod\nmetadata: {name: bomb}\nspec:\n";
  return new TextEncoder().encode(head + levels.join("\n"));
}

/** Damage that YAML understands: lines moved, values and words replaced, indentation changed. */
function damageText(random: Random, bytes: Uint8Array): Uint8Array {
  const lines = new TextDecoder().decode(bytes).split("\n");
  const at = random.below(lines.length);
  const line = lines[at] ?? "";
  switch (random.below(7)) {
    case 0:
      lines.splice(at, 1 + random.size(4));
      break;
    case 1:
      lines.splice(random.below(lines.length), 0, line);
      break;
    case 2:
      lines[at] = " ".repeat(random.below(6)) + line.trimStart();
      break;
    case 3:
      lines[at] = line.replace(/:.*/, () => `: ${random.pick(WORDS)}`);
      break;
    case 4: {
      const column = random.below(line.length + 1);
      lines[at] = line.slice(0, column) + random.pick(WORDS) + line.slice(column);
      break;
    }
    case 5:
      lines[at] = line.replace(/[\w.-]+/, () => random.pick(WORDS));
      break;
    case 6:
      lines.splice(at, 0, ...lines.slice(random.below(at + 1), at));
      break;
  }
  return new TextEncoder().encode(lines.join("\n"));
}
