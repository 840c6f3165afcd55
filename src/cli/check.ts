/**
 * `weft check`: can this machine run weft? In comes the machine, out goes a line per feature and
 * what to do about those that are missing. Works without an agent.
 *
 * @module
 */
import type { CliEnv } from "./env.ts";
import { ExitStatus } from "./exit.ts";
import type { Finding } from "./features.ts";
import { outputOption, type Program } from "./options.ts";
import { count, table } from "./text.ts";

const HELP = `
Each feature is tried for real: tiny programs are loaded and maps made, and thrown away. Nothing is
attached, nothing stays. Run it as root: without the capabilities most cannot be tried.

Examples:
  weft check
  weft check -o json | jq -r '.features[] | select(.present != true) | .name'

Exit status: 0 all that is required is there, 1 something required is missing or cannot be tried.
`;

/** Adds `weft check`. */
export function registerCheck(program: Program, env: CliEnv): void {
  program.command("check")
    .description("say whether this kernel and machine can run weft, and what is missing")
    .addOption(outputOption())
    .addHelpText("after", HELP)
    .action(async ({ output }) => {
      const { findFeatures } = await import("./features.ts");
      const findings = findFeatures();
      const ready = findings.every(isSatisfied);
      if (output === "json") env.out(`${JSON.stringify({ ready, features: findings })}\n`);
      else env.out(checkText(findings));
      if (!ready) env.status = ExitStatus.NO;
    });
}

/** Whether nothing stands in the way. */
function isSatisfied({ required, present }: Finding): boolean {
  return !required || present === true;
}

/** The table, then what to do. */
export function checkText(findings: readonly Finding[]): string {
  const rows = table(findings.map((finding) => [
    answerWord(finding),
    finding.name,
    finding.detail === undefined ? finding.purpose : `${finding.purpose} (${finding.detail})`,
  ]));
  const missing = findings.filter(({ present }) => present !== true);
  const lines = missing.map(({ name, required, present, without }) => {
    const word = present === "unknown" ? "unknown" : required ? "missing" : "without it";
    return `${required ? "!" : "-"} ${name}: ${word}: ${without}\n`;
  }).join("");
  return `${rows}${lines === "" ? "" : `\n${lines}`}\n${conclusion(findings)}\n`;
}

function conclusion(findings: readonly Finding[]): string {
  const absent = findings.filter((finding) => !isSatisfied(finding));
  if (absent.length === 0) return "This machine can run weft.";
  const unknown = absent.every(({ present }) => present === "unknown");
  return unknown
    ? `${count(absent.length, "required feature")} cannot be tried: run this as root.`
    : `This machine cannot run weft: ${count(absent.length, "required feature")} missing.`;
}

function answerWord({ present, required }: Finding): string {
  if (present === true) return "yes";
  if (present === "unknown") return "?";
  return required ? "NO" : "no";
}
