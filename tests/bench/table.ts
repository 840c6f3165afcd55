/**
 * The result, as tables that fit a terminal: a row a figure, a column a path, then the ratios.
 *
 * @module
 */
import type { Load } from "./load.ts";
import { compare, type Sample, summarize, type Summary } from "./samples.ts";

/** What is shown. */
export interface Result {
  readonly machine: readonly string[];
  readonly samples: readonly Sample[];
  readonly loads: readonly Load[];
  readonly faults: readonly string[];
  readonly rounds: number;
}

/** All of it as text. */
export function renderTables(result: Result): string {
  const { machine, faults, rounds, loads } = result;
  const sections = [
    machine.join("\n"),
    `${rounds} rounds; medians, and ratios as "median (lowest-highest)" of the rounds' own ratios`,
    `TWO NODES: client -> proxy -> wire -> proxy -> server`,
    grid([FAR_HEAD, ...loads.flatMap((load) => farRows(result, load))]),
    `Ratios of rates: more is better. Of times and costs: less is better. nginx and haproxy with the\n` +
    `buffers that suit them better (64 KiB for bulk where that column is there).`,
    ...idleSection(result),
    `ONE NODE, --same-node=attest: client -> server, the kernel checks both ends (rate / no mesh)`,
    grid([NEAR_HEAD, ...loads.flatMap((load) => nearRows(result, load))]),
    ...(faults.length > 0 ? [`FAILED\n${faults.map((fault) => `  ${fault}`).join("\n")}`] : []),
  ];
  return `${sections.join("\n\n")}\n`;
}

const PATHS = ["no mesh", "nginx", "nginx-64k", "haproxy", "haproxy-64k", "weft"] as const;
const FAR_HEAD = ["", "unit", ...PATHS, "weft/nginx", "weft/haproxy", "weft/no mesh"];
const NEAR_HEAD = ["", "unit", "no mesh", "attest", "attest/no mesh"];

function farRows(result: Result, load: Load): string[][] {
  return figuresOf(load).map(({ figure, title, unit, digits }) => {
    const { samples } = result;
    const cell = (path: string) => show(summarize(samples, load.name, path, figure), digits);
    const ratio = (bases: readonly string[]) => {
      const base = bestOf(samples, load, bases);
      return showRatio(compare(samples, load.name, figure, { path: "weft", base }));
    };
    return [
      title,
      unit,
      ...PATHS.map((path) => path === "no mesh" && figure === "cost" ? "" : cell(path)),
      ratio(["nginx", "nginx-64k"]),
      ratio(["haproxy", "haproxy-64k"]),
      figure === "cost" ? "" : ratio(["no mesh"]),
    ];
  });
}

function nearRows(result: Result, load: Load): string[][] {
  const { samples } = result;
  const [none, attest] = ["near: no mesh", "near: weft attest"];
  return figuresOf(load).filter(({ figure }) => figure !== "cost").flatMap((row) => {
    const { figure, title, unit, digits } = row;
    const ratio = compare(samples, load.name, figure, { path: attest, base: none });
    if (ratio === undefined) return [];
    const cell = (path: string) => show(summarize(samples, load.name, path, figure), digits);
    return [[title, unit, cell(none), cell(attest), showRatio(ratio)]];
  });
}

function idleSection({ samples }: Result): string[] {
  if (!samples.some(({ load }) => load === "idle")) return [];
  const paths = ["nginx", "haproxy", "weft"];
  const row = (title: string, unit: string, figure: string, digits: number) => [
    title,
    unit,
    ...paths.map((path) => show(summarize(samples, "idle", path, figure), digits)),
  ];
  return [
    "MEMORY (proportional set size) of fresh proxies, without and with 1,000 idle connections",
    grid([
      ["", "unit", ...paths],
      row("client's side, idle", "MiB", "idleClientMib", 1),
      row("server's side, idle", "MiB", "idleServerMib", 1),
      row("client's side, 1,000 connections", "MiB", "heldClientMib", 1),
      row("server's side, 1,000 connections", "MiB", "heldServerMib", 1),
      row("client's side, a connection", "KiB", "clientKib", 1),
      row("server's side, a connection", "KiB", "serverKib", 1),
    ]),
  ];
}

interface FigureRow {
  readonly figure: string;
  readonly title: string;
  readonly unit: string;
  readonly digits: number;
}

function figuresOf(load: Load): FigureRow[] {
  const latency = [
    { figure: "p50Us", title: "  half answered within", unit: "µs", digits: 0 },
    { figure: "p99Us", title: "  99 % answered within", unit: "µs", digits: 0 },
  ];
  return [
    { figure: "rate", title: load.title, ...load.rate },
    ...(load.isBulk ? [] : latency),
    { figure: "cost", title: "  both proxies", ...load.cost },
  ];
}

/** Of several settings of one program the one with the best rate under this load. */
function bestOf(samples: readonly Sample[], load: Load, paths: readonly string[]): string {
  const rate = (path: string) => summarize(samples, load.name, path, "rate")?.median ?? -1;
  return paths.toSorted((a, b) => rate(b) - rate(a))[0] ?? "";
}

function show(summary: Summary | undefined, digits: number): string {
  return summary === undefined ? "" : summary.median.toFixed(digits);
}

function showRatio(summary: Summary | undefined): string {
  if (summary === undefined) return "";
  const [median, lowest, highest] = [summary.median, summary.lowest, summary.highest]
    .map((value) => value.toFixed(2));
  return `${median} (${lowest}-${highest})`;
}

function grid(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) =>
    Math.max(...rows.map((row) => row[column]?.length ?? 0))
  );
  return rows.map((row) =>
    row.map((cell, column) => {
      const width = widths[column] ?? 0;
      return column < 2 ? cell.padEnd(width) : cell.padStart(width);
    }).join("  ").trimEnd()
  ).join("\n");
}
