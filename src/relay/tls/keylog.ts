/**
 * The key log for debugging: TLS secrets in NSS format, appended to one file by all workers.
 *
 * Whoever reads the file reads the traffic: it is made 0600, and one that others can read is
 * refused.
 *
 * @module
 */

/** Opens the log; returns what takes one line. */
export function openKeylog(path: string): (line: string) => void {
  const file = Deno.openSync(path, { append: true, create: true, mode: 0o600 });
  const { mode } = file.statSync();
  if (mode !== null && (mode & 0o077) !== 0) {
    file.close();
    throw new TypeError(
      `Cannot use key log "${path}": its mode is ${(mode & 0o777).toString(8)}, want 600`,
    );
  }
  const encoder = new TextEncoder();
  // One write for a line: O_APPEND keeps the lines of several workers whole.
  return (line) => void file.writeSync(encoder.encode(`${line}\n`));
}
