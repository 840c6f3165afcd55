/**
 * Small questions about text: what an error says, which lines matter, how many there are.
 *
 * @module
 */

/** An error in words, for people. */
export function errorText(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const expected = ["TestbedError", "SceneError"].includes(error.name);
  return expected ? error.message : `${error.stack ?? error.message}`;
}

/** Lines that are not empty. */
export function linesOf(text: string): string[] {
  return text.split("\n").map((line) => line.trimEnd()).filter((line) => line !== "");
}

/** "1 line", "3 lines". */
export function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? "" : "s"}`;
}

/** "1.2 s" or "12 ms". */
export function duration(ms: number): string {
  return ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`;
}
