/**
 * An explanation as one screen: the answer, the ends, what decided (with the line of the file that
 * says so), the stages, what would make it work. In comes an explanation, out goes text. Invariant:
 * the first line alone answers; the rest is in the order in which a reader asks.
 *
 * @module
 */
import type { Explanation, Fix, PartyReport, Path, StageReport } from "../observe/mod.ts";
import { sentence, wrap } from "./text.ts";

/** Lines of a file, or undefined where it cannot be read. */
export type ReadLines = (file: string) => readonly string[] | undefined;

const WIDTH_MAX = 100;

/** The screen. */
export function explanationText(
  explanation: Explanation,
  columns: number | undefined,
  readLines: ReadLines = linesOf,
): string {
  const width = Math.min(columns ?? WIDTH_MAX, WIDTH_MAX);
  const { paths } = explanation;
  return [
    headline(explanation),
    endLines(explanation, width),
    ...paths.map((path, index) => pathText(path, index, paths.length, readLines, width)),
    fixLines(explanation.fixes, width),
    noteLines(explanation.notes, width),
  ].filter((part) => part !== "").join("\n");
}

function headline(explanation: Explanation): string {
  const { query, from, to, answer, reason } = explanation;
  const port = query.protocol === "ICMP" ? "ICMP" : `port ${query.port}/${query.protocol}`;
  const ends = `${from.name} → ${to.name}, ${port}`;
  const [path] = explanation.paths;
  switch (answer) {
    case "refused":
      return `REFUSED  ${ends}  (${reason})\n\n  ${sentence(explanation.happened)}\n`;
    case "mixed":
      return `IT DEPENDS  ${ends}  (some ways end in ${reason})\n`;
    case "allowed": {
      const how = path?.transport === undefined ? "" : `  over ${path.transport}`;
      const condition = path?.condition === undefined ? "" : `\n\n  If ${path.condition}.`;
      return `ALLOWED  ${ends}${how}${condition}\n`;
    }
  }
}

function endLines({ from, to, paths }: Explanation, width: number): string {
  // Where a policy both enrols the target and rules the port, it is told once, as the rule.
  const told = to.standing !== undefined && to.standing.sentence === paths[0]?.mode.sentence;
  const { standing: _, ...plain } = to;
  return partyText("from", from, width) + partyText("to", told ? plain : to, width);
}

function partyText(word: string, party: PartyReport, width: number): string {
  const facts = [
    party.kind === "address" ? "" : party.addresses.join(" "),
    party.node === undefined || party.kind === "node" ? "" : `on node ${party.node}`,
  ].filter((fact) => fact !== "").join("  ");
  const first = `  ${word.padEnd(4)}  ${party.name}  ${facts}`.trimEnd() + "\n" +
    (party.spiffeId === undefined ? "" : `        ${party.spiffeId}\n`);
  const { standing } = party;
  if (standing === undefined) return first;
  const place = standing.file === undefined ? "" : ` (${placeText(standing)})`;
  const text = `${standing.inMesh ? "in the mesh" : "not in the mesh"}: ` +
    `${lowerFirst(standing.sentence)}${place}`;
  return `${first}${wrap(text, width, "        ")}\n`;
}

function pathText(
  path: Path,
  index: number,
  total: number,
  readLines: ReadLines,
  width: number,
): string {
  const { target, mode } = path;
  const at = `${target.pod ? `${target.pod} ` : ""}${hostPort(target)}`;
  const also = path.also.length === 0
    ? ""
    : ` (and in the same way ${path.also.map(hostPort).join(", ")})`;
  const title = total === 1
    ? ""
    : `${index + 1}. ${at}${also}: ${path.answer === "allowed" ? "allowed" : "REFUSED"}\n`;
  const rule = `  rule  ${at} is ${mode.mode}:\n${wrap(mode.sentence, width, "        ")}\n`;
  return title + rule + excerpt(mode, readLines) + "\n" + stageLines(path.stages, width);
}

/** The place in the file, with the lines around it. */
function excerpt(
  place: { readonly file?: string; readonly line?: number; readonly path?: string },
  readLines: ReadLines,
): string {
  const { file, line } = place;
  if (file === undefined) return "";
  const title = `        ${placeText(place)}${place.path ? `  ${place.path}` : ""}\n`;
  const lines = line === undefined ? undefined : readLines(file);
  if (lines === undefined || line === undefined || lines[line - 1] === undefined) return title;
  const digits = String(line).length;
  const shown: string[] = [];
  for (let number = Math.max(1, line - 1); number <= line; number++) {
    const mark = number === line ? ">" : " ";
    shown.push(`        ${mark} ${String(number).padStart(digits)} | ${lines[number - 1]}\n`);
  }
  return title + shown.join("");
}

function stageLines(stages: readonly StageReport[], width: number): string {
  const head = Math.max(...stages.map((stage) => stageTitle(stage).length), 0);
  return stages.map((stage, index) => {
    const lead = `  ${index + 1} ${stageTitle(stage).padEnd(head)}  `;
    const outcome = OUTCOME_WORDS[stage.outcome].padEnd(7);
    const indent = " ".repeat(lead.length + outcome.length + 2);
    const text = wrap(stage.sentence, width, indent).slice(indent.length);
    return `${lead}${outcome}  ${text}\n`;
  }).join("");
}

function stageTitle(stage: StageReport): string {
  const node = stage.node === undefined ? "" : ` (node ${stage.node})`;
  return `${STAGE_WORDS[stage.stage]}${node}`;
}

const STAGE_WORDS = {
  service: "Service",
  connect: "client's connect()",
  guard: "server's veth",
  relay: "relay",
} as const satisfies Record<StageReport["stage"], string>;

const OUTCOME_WORDS = {
  passes: "passes",
  refuses: "REFUSES",
  relays: "relays",
  waits: "WAITS",
  absent: "absent",
} as const satisfies Record<StageReport["outcome"], string>;

function fixLines(fixes: readonly Fix[], width: number): string {
  if (fixes.length === 0) return "";
  const title = fixes.length === 1 ? "To make it work:" : "To make it work, one of:";
  const lines = fixes.map((fix) => {
    const text = wrap(fix.sentence.replace(/^or /, ""), width, "    ").slice(4);
    const place = fix.file === undefined ? "" : `      ${placeText(fix)}${field(fix)}\n`;
    const command = fix.command === undefined ? "" : `      $ ${fix.command}\n`;
    return `  - ${text}\n${place}${command}`;
  });
  return `${title}\n${lines.join("")}`;
}

function noteLines(notes: readonly string[], width: number): string {
  return notes.map((note) => `${wrap(`Note: ${note}`, width)}\n`).join("");
}

function field({ path }: Fix): string {
  return path === undefined ? "" : `  ${path}`;
}

function placeText({ file, line }: { readonly file?: string; readonly line?: number }): string {
  return `${file ?? "?"}${line === undefined ? "" : `:${line}`}`;
}

function hostPort({ address, port }: { address: string; port: number }): string {
  const host = address.includes(":") ? `[${address}]` : address;
  return port === 0 ? host : `${host}:${port}`;
}

function lowerFirst(text: string): string {
  return text.startsWith("Cilium") ? text : `${text.charAt(0).toLowerCase()}${text.slice(1)}`;
}

function linesOf(file: string): readonly string[] | undefined {
  try {
    return Deno.readTextFileSync(file).split("\n");
  } catch {
    return undefined;
  }
}
