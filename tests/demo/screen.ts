/**
 * What a spectator sees: narrow, aligned lines on standard output, coloured on a terminal only.
 *
 * In: words. Out: lines of at most `COLUMNS` characters; what other programs say may be wider.
 * Invariant: with colours taken away, every line says the same; nothing is told by colour alone.
 *
 * @module
 */

/** Columns that a line of ours may take. */
export const COLUMNS = 92;

/** Columns that a line of another program may take: weft's own screens are up to 100 wide. */
const OUTPUT_COLUMNS = 106;

/** Columns of what was expected; what happened stands behind it. */
const EXPECTED_COLUMNS = 43;

const COLOURS = { bold: "1", dim: "2", red: "31", green: "32", cyan: "36" } as const;

/** Where a demo is told. */
export interface Screen {
  /** One line, as it is; empty without text. */
  line(text?: string): void;
  title(number: number, text: string): void;
  /** A sentence about what comes. */
  note(text: string): void;
  command(prompt: string, text: string): void;
  output(line: string): void;
  check(passed: boolean, expected: string, happened: string): void;
  /** Shows nothing any more. */
  mute(): void;
}

/** The screen of this process. */
export function openScreen(): Screen {
  let muted = false;
  const write = (text: string) => muted || writeLine(text);
  const coloured = Deno.stdout.isTerminal() && !Deno.noColor;
  const paint = (colour: keyof typeof COLOURS, text: string) =>
    coloured && text !== "" ? `\x1b[${COLOURS[colour]}m${text}\x1b[0m` : text;
  return {
    line: (text = "") => void write(text),
    mute: () => void (muted = true),
    title(number, text) {
      write("");
      write(paint("bold", ` ${number}  ${text}`));
    },
    note(text) {
      for (const line of wrap(text, COLUMNS - 4)) write(paint("dim", `    ${line}`));
    },
    command(prompt, text) {
      // Broken where a shell would let one break it; a comment is one's own line anyway.
      const [first = "", ...rest] = wrap(text, COLUMNS - 7 - prompt.length);
      const lines = [first, ...rest.map((line) => `    ${line}`)];
      lines.forEach((line, index) => {
        const end = index < lines.length - 1 ? " \\" : "";
        write(index === 0 ? `    ${paint("cyan", prompt)} ${line}${end}` : `    ${line}${end}`);
      });
    },
    output(line) {
      const indent = /^ */.exec(line)?.[0] ?? "";
      wrap(line.trimStart(), OUTPUT_COLUMNS - 6 - indent.length).forEach((part, index) =>
        write(paint("dim", `      ${indent}${index === 0 ? "" : "  "}${part}`))
      );
    },
    check(passed, expected, happened) {
      const mark = passed ? paint("green", "✓") : paint("red", "✗");
      const left = `${expected.padEnd(EXPECTED_COLUMNS)}  `;
      const indent = " ".repeat(6 + left.length);
      wrap(happened, COLUMNS - indent.length).forEach((line, index) =>
        write(
          index === 0 ? `    ${mark} ${left}${paint("dim", line)}` : indent + paint("dim", line),
        )
      );
    },
  };
}

/** A screen that keeps its lines, for a failure's message. */
export function recordScreen(lines: string[]): Screen {
  return {
    line: (text = "") => void lines.push(text),
    mute: () => {},
    title: (number, text) => void lines.push(`${number}  ${text}`),
    note: (text) => void lines.push(text),
    command: (prompt, text) => void lines.push(`${prompt} ${text}`),
    output: (line) => void lines.push(`  ${line}`),
    check: (passed, expected, happened) =>
      void lines.push(`${passed ? "✓" : "✗"} ${expected}: ${happened}`),
  };
}

/** A command as one would type it. */
export function shellText(argv: readonly string[]): string {
  const quoted = (word: string) =>
    /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
  return argv.map(quoted).join(" ");
}

/** Breaks at blanks; a word that is too long stays whole. */
function wrap(text: string, columns: number): string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(" ")) {
    if (line !== "" && line.length + 1 + word.length > columns) {
      lines.push(line);
      line = word;
    } else line = line === "" ? word : `${line} ${word}`;
  }
  return [...lines, line];
}

function writeLine(text: string): void {
  const bytes = new TextEncoder().encode(`${text}\n`);
  for (let sent = 0; sent < bytes.length;) sent += Deno.stdout.writeSync(bytes.subarray(sent));
}
