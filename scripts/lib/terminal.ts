/**
 * What the scripts share of the world around them: the root of the checkout and lines of text for
 * a person. Output goes to standard output in the order in which it was said.
 *
 * @module
 */

/** Absolute path of the checkout, without a trailing slash. */
export function projectRoot(): string {
  return decodeURIComponent(new URL("../..", import.meta.url).pathname).replace(/\/$/, "");
}

/** Writes one line. */
export function say(text: string): void {
  const bytes = new TextEncoder().encode(`${text}\n`);
  for (let sent = 0; sent < bytes.length;) sent += Deno.stdout.writeSync(bytes.subarray(sent));
}
