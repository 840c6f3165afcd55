/**
 * How the project is written, as tests: layers, sizes, comments, names. Each failure names the file
 * and what to do. Format, lint and the length of functions are `deno lint`'s and `deno fmt`'s.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { WORKERS } from "@/src/assets.ts";
import { readModuleGraph } from "./support/module_graph.ts";
import { readSources, type SourceFile } from "./support/source_tree.ts";

const ROOT = decodeURIComponent(new URL("..", import.meta.url).pathname).slice(0, -1);
const FILES = readSources(ROOT);
const CODE = FILES.filter(({ path }) => path.endsWith(".ts") && !path.endsWith(".gen.ts"));

/** Layers that a layer may import besides itself and the base. */
const ALLOWED: Record<string, readonly string[]> = {
  ffi: [],
  base: ["layout"],
  layout: [],
  asm: [],
  model: [],
  watch: ["model"],
  evaluate: ["model"],
  identity: ["model"],
  compile: ["model", "asm", "layout"],
  load: ["model", "compile", "asm", "ffi", "layout"],
  relay: ["model", "identity", "compile", "load", "ffi", "layout"],
  observe: ["model", "compile", "load", "relay", "config", "ffi", "layout"],
  install: ["model", "watch"],
  config: ["model"],
};

/** Files of `src/` that hold what all layers share: bounds, errors, words. */
const BASE = ["assert", "assets", "errors", "limits", "log", "reasons", "version"];

/** Layers that do without these. */
const WITHOUT_BASE = ["ffi", "layout"];

const LINES_MAX = 400;
const PROGRAM_LINES_MAX = 300;
const COLUMNS_MAX = 100;
/** What the formatter leaves longer is text in quotes, which stays in one piece to be found. */
const QUOTED_COLUMNS_MAX = 130;

/** A line of comment, also behind code. */
const COMMENT = /^\s*(\*|\/[/*]|#)|\s\/\/ /;

describe("layers", () => {
  const entries = ["main.ts", ...Object.values(WORKERS)];

  it("import one way, and each other by their doors", async () => {
    const graph = await readModuleGraph(ROOT, entries);
    assert.deepEqual(graph.broken, []);
    const wrong = graph.edges.filter(({ source, target }) => !isAllowed(source, target));
    assertNone(wrong.map(({ source, target }) => `${source} must not import ${target}`));
  });

  it("hold no file that nothing reaches", async () => {
    const tests = CODE.map(({ path }) => path).filter((path) => path.endsWith("_test.ts"));
    const { modules } = await readModuleGraph(ROOT, [...entries, ...tests]);
    const dead = CODE.filter(({ path }) => /^(src|ffi)\//.test(path) && !modules.has(path));
    assertNone(dead.map(({ path }) => `${path} is imported by no entry and no test`));
  });
});

describe("files", () => {
  it("are short enough to read in a sitting", () => {
    assertNone(
      FILES.filter(isOurCode).flatMap(({ path, text }) => {
        const max = path.endsWith(".bpf.c") ? PROGRAM_LINES_MAX : LINES_MAX;
        const count = text.split("\n").length - 1;
        return count > max ? [`${path} has ${count} lines, want at most ${max}`] : [];
      }),
    );
  });

  it("have lines that fit on a screen", () => {
    const isLong = (line: string): boolean => {
      const max = /["'`]/.test(line) && !COMMENT.test(line) ? QUOTED_COLUMNS_MAX : COLUMNS_MAX;
      return [...line].length > max && !/https?:\/\//.test(line);
    };
    assertNone(
      FILES.filter(isOurCode).flatMap((file) => linesOf(file, isLong))
        .map((place) => `${place}: longer than ${COLUMNS_MAX} columns`),
    );
  });

  it("say in a module comment what they are", () => {
    assertNone(
      CODE.filter(({ text }) => !/^(\/\/.*\n)*\/\*\*[\s\S]*?@module[\s\S]*?\*\//.test(text))
        .map(({ path }) => `${path} does not begin with a comment that has @module`),
    );
  });

  it("are no leftovers of a patch", () => {
    assertNone(FILES.map(({ path }) => path).filter((path) => /\.(orig|rej)$/.test(path)));
  });

  it("are named after what they hold", () => {
    const vague = /(^|[/_])(utils?|helpers?|common|misc|index)\.ts$/;
    const odd = CODE.filter(({ path }) => vague.test(path) || !/^[a-z0-9_./]+$/.test(path));
    assertNone(odd.map(({ path }) => `${path}: name the noun that it holds, in snake_case`));
  });

  it("name no machine, no user and no registry", () => {
    const places = [
      "/work/",
      "/home/[a-z]",
      "/root/\\.",
      ":?//registry\\.",
      ":?//deb\\.",
      "/var/cache/weft",
    ];
    const place = new RegExp(`(?<![\\w}./])(${places.join("|")})`);
    assertNone(
      FILES.filter(({ path }) => path !== "tests/tidy_test.ts")
        .flatMap((file) => linesOf(file, (line) => place.test(line)))
        .map((where) => `${where}: names a place of one machine`),
    );
  });

  it("of Markdown have exactly one title", () => {
    assertNone(
      FILES.filter(({ path }) => path.endsWith(".md")).flatMap(({ path, text }) => {
        const prose = text.replace(/^```[\s\S]*?^```/gm, "");
        const count = prose.match(/^# /gm)?.length ?? 0;
        return count === 1 ? [] : [`${path} has ${count} titles, want 1`];
      }),
    );
  });
});

function isOurCode({ path }: SourceFile): boolean {
  return /\.(ts|c|h|sh)$/.test(path) && !path.endsWith(".gen.ts");
}

function isAllowed(source: string, target: string): boolean {
  const [from, to] = [layerOf(source), layerOf(target)];
  if (from === undefined || from === to) return true; // main.ts, agent.ts and cli/ see every door
  if (to === undefined) return false;
  const allowed = from === "top"
    ? true
    : (ALLOWED[from] ?? []).includes(to) || (to === "base" && !WITHOUT_BASE.includes(from));
  return allowed && (!/^src\/[^/]+\//.test(target) || target.endsWith("/mod.ts"));
}

/** Name of the layer of a file; "top" for the pipeline's own files; undefined outside of them. */
function layerOf(path: string): string | undefined {
  if (path === "bpf/layout.gen.ts") return "layout";
  if (path.startsWith("ffi/")) return "ffi";
  if (path === "main.ts" || path.startsWith("src/cli/")) return "top";
  const [, folder, file] = /^src\/(?:([^/]+)\/|([^/]+)\.ts$)/.exec(path) ?? [];
  if (file === undefined) return folder;
  return BASE.includes(file) ? "base" : file === "config" ? "config" : "top";
}

/** `path:line` of the lines for which `test` holds. */
function linesOf({ path, text }: SourceFile, test: (line: string) => boolean): string[] {
  return text.split("\n").flatMap((line, index) => test(line) ? [`${path}:${index + 1}`] : []);
}

function assertNone(failures: readonly string[]): void {
  assert.equal(failures.join("\n"), "");
}
