/**
 * PEM: blocks of base64 between two lines.
 *
 * In: text of a file. Out: its blocks, in order. Invariant: a block that was begun is ended and
 * decodes whole; a damaged file is an error, never a shorter list. (A lenient reader turns a bundle
 * that was cut off into a bundle with one root less, which refuses half of the mesh.)
 *
 * @module
 */

/** One block. */
export interface PemBlock {
  readonly label: string;
  readonly der: Uint8Array;
}

/** Reads every block; text between blocks is a comment, as RFC 7468 has it. */
export function decodePem(text: string): PemBlock[] {
  const blocks: PemBlock[] = [];
  let open: { label: string; lines: string[] } | null = null;
  for (const rawLine of text.split("\n")) {
    const line = rawLine.trim();
    const begin = /^-----BEGIN ([A-Z0-9 ]+)-----$/.exec(line)?.[1];
    const end = /^-----END ([A-Z0-9 ]+)-----$/.exec(line)?.[1];
    if (begin !== undefined) {
      if (open !== null) throw new PemError(`The block "${open.label}" has no end`);
      open = { label: begin, lines: [] };
    } else if (end !== undefined) {
      if (open?.label !== end) throw new PemError(`The end of "${end}" has no beginning`);
      blocks.push({ label: end, der: decodeLines(open) });
      open = null;
    } else if (open !== null) open.lines.push(line);
  }
  if (open !== null) throw new PemError(`The block "${open.label}" is cut off`);
  return blocks;
}

/** Writes one block, ending in a newline. */
export function encodePem(label: string, der: Uint8Array): string {
  const lines = der.toBase64().match(/.{1,64}/g) ?? [];
  return [`-----BEGIN ${label}-----`, ...lines, `-----END ${label}-----`, ""].join("\n");
}

/** Text that is not PEM. */
export class PemError extends Error {
  override readonly name = "PemError";
}

function decodeLines(block: { label: string; lines: string[] }): Uint8Array {
  try {
    return Uint8Array.fromBase64(block.lines.join(""));
  } catch (error) {
    throw new PemError(`The block "${block.label}" is not base64`, { cause: error });
  }
}
