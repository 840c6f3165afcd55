/**
 * Text for terminals: tables, time spans, counts. Pure.
 *
 * @module
 */

/** Columns aligned, two spaces between them; an empty last column leaves no blanks. */
export function table(rows: readonly (readonly string[])[], indent = ""): string {
  const widths: number[] = [];
  for (const row of rows) {
    row.forEach((cell, index) => {
      widths[index] = Math.max(widths[index] ?? 0, cell.length);
    });
  }
  return rows.map((row) => {
    const cells = row.map((cell, index) => cell.padEnd(widths[index] ?? 0));
    return `${indent}${cells.join("  ")}`.trimEnd() + "\n";
  }).join("");
}

/** "3 pods", "1 pod", "no pods". */
export function count(number: number, noun: string, plural = `${noun}s`): string {
  if (number === 0) return `no ${plural}`;
  return `${number} ${number === 1 ? noun : plural}`;
}

/** The two largest units: "2d 3h", "5m 12s", "400ms". */
export function span(durationMs: number): string {
  if (durationMs < 1000) return `${Math.max(0, Math.round(durationMs))}ms`;
  let rest = Math.floor(durationMs / 1000);
  const parts: string[] = [];
  for (const [unit, seconds] of UNITS) {
    const whole = Math.floor(rest / seconds);
    rest -= whole * seconds;
    if (whole > 0 || parts.length === 1) parts.push(whole > 0 ? `${whole}${unit}` : "");
    if (parts.length === 2) break;
  }
  return parts.filter((part) => part !== "").join(" ");
}

/** "in 42m", "expired 3m ago". */
export function expiry(notAfterMs: number, nowMs: number): string {
  const left = notAfterMs - nowMs;
  return left > 0 ? `expires in ${span(left)}` : `expired ${span(-left)} ago`;
}

/** Lines of at most `width` columns, broken at spaces; words are never cut. */
export function wrap(text: string, width: number, indent = ""): string {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(" ")) {
    if (line !== "" && indent.length + line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
    } else line = line === "" ? word : `${line} ${word}`;
  }
  lines.push(line);
  return lines.map((each) => `${indent}${each}`).join("\n");
}

/** "Sentence." from "sentence". */
export function sentence(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
}

const UNITS = [["d", 86_400], ["h", 3600], ["m", 60], ["s", 1]] as const;
