/**
 * The lines of a stream, for tests that listen to a program while it runs.
 *
 * @module
 */

/** Each line as it comes, without its end; also the last one if nothing ends it. */
export async function* readLines(
  stream: ReadableStream<Uint8Array<ArrayBuffer>>,
): AsyncGenerator<string, void> {
  let rest = "";
  for await (const chunk of stream.pipeThrough(new TextDecoderStream() as ChunkDecoder)) {
    const lines = (rest + chunk).split("\n");
    rest = lines.pop() ?? "";
    yield* lines;
  }
  if (rest !== "") yield rest;
}

type ChunkDecoder = ReadableWritablePair<string, Uint8Array<ArrayBuffer>>;
