/**
 * What a capture proves: payload that passed, words in clear, TLS handshakes and what was in them.
 *
 * In: the file of a capture that was stopped. Out: plain values. Invariant: the packets speak, read
 * by tcpdump and tshark; nothing of weft's is asked.
 *
 * @module
 */
import type { Capture } from "@/tests/testbed/capture.ts";

/** Words that only plaintext HTTP has. */
const HTTP_WORDS = ["GET / ", "HTTP/1.", "Host: ", "Server address", "Server name"];

/** A TCP segment. */
export interface Segment {
  readonly timeMs: number;
  readonly source: string;
  readonly target: string;
  readonly sourcePort: number;
  readonly targetPort: number;
  readonly payloadBytes: number;
  readonly flags: { readonly syn: boolean; readonly fin: boolean; readonly rst: boolean };
}

/** Every TCP segment of a capture, in its order. */
export async function segmentsOf(capture: Capture): Promise<Segment[]> {
  const rows = await capture.packets({
    filter: "tcp",
    fields: [
      "frame.time_epoch",
      "ip.src",
      "ip.dst",
      "ipv6.src",
      "ipv6.dst",
      "tcp.srcport",
      "tcp.dstport",
      "tcp.len",
      "tcp.flags",
    ],
  });
  return rows.map((row) => {
    const flags = Number(row["tcp.flags"][0] ?? 0);
    return {
      timeMs: Number(row["frame.time_epoch"][0] ?? 0) * 1000,
      source: row["ip.src"][0] ?? row["ipv6.src"][0] ?? "",
      target: row["ip.dst"][0] ?? row["ipv6.dst"][0] ?? "",
      sourcePort: Number(row["tcp.srcport"][0]),
      targetPort: Number(row["tcp.dstport"][0]),
      payloadBytes: Number(row["tcp.len"][0] ?? 0),
      flags: { fin: (flags & 1) !== 0, syn: (flags & 2) !== 0, rst: (flags & 4) !== 0 },
    };
  });
}

/** Bytes of payload in segments. */
export function payloadBytes(segments: readonly Segment[]): number {
  return segments.reduce((sum, segment) => sum + segment.payloadBytes, 0);
}

/** Words of HTTP that stand in the capture as they are. */
export async function clearWords(capture: Capture): Promise<string[]> {
  await capture.stop();
  const text = new TextDecoder("latin1").decode(await Deno.readFile(capture.file));
  return HTTP_WORDS.filter((word) => text.includes(word));
}

/** What a TLS handshake showed, decrypted with a key log. */
export interface Handshake {
  /** "0x0304" is TLS 1.3 */
  readonly versions: readonly string[];
  /** SPIFFE IDs of the certificates, with who sent each */
  readonly identities: readonly { readonly sender: string; readonly spiffeId: string }[];
}

/** The handshakes of a capture. Port 80 carries TLS here, which tshark has to be told. */
export async function handshakeOf(capture: Capture, keylog: string): Promise<Handshake> {
  const versions = await tshark(capture, keylog, ["-Y", "tls.handshake.type == 2"], [
    "tls.handshake.extensions.supported_version",
  ]);
  const certificates = await tshark(capture, keylog, ["-Y", "tls.handshake.type == 11"], [
    "ip.src",
    "ipv6.src",
    "tls.handshake.certificate",
  ]);
  const identities = certificates.flatMap(([v4 = "", v6 = "", chain = ""]) => {
    // The leaf comes first; issuer and root name the trust domain alone.
    const names = hexWords(chain).flatMap(urisOf)
      .filter((name) => /^spiffe:\/\/[^/]+\/./.test(name));
    return names.map((spiffeId) => ({ sender: v4 || v6, spiffeId }));
  });
  return {
    versions: [...new Set(versions.map(([version = ""]) => version))],
    identities,
  };
}

/** The bytes that the key log opens, as text. */
export async function decrypted(capture: Capture, keylog: string): Promise<string> {
  await capture.stop();
  const args = [...inputs(capture, keylog), "-q", "-z", "follow,tls,ascii,0"];
  return await runTshark(args);
}

async function tshark(
  capture: Capture,
  keylog: string,
  filter: readonly string[],
  fields: readonly string[],
): Promise<string[][]> {
  await capture.stop();
  const shape = ["-T", "fields", "-E", "separator=/t", "-E", "aggregator=,"];
  const wanted = fields.flatMap((field) => ["-e", field]);
  const text = await runTshark([...inputs(capture, keylog), ...filter, ...shape, ...wanted]);
  return text.split("\n").filter((line) => line !== "").map((line) => line.split("\t"));
}

function hexWords(text: string): Uint8Array<ArrayBuffer>[] {
  return text.split(",").filter((word) => word !== "")
    .map((word) => Uint8Array.fromHex(word.replaceAll(":", "")));
}

/** URIs of the subject alternative names in DER: tag 0x86, length, text. */
function urisOf(der: Uint8Array): string[] {
  const text = new TextDecoder("latin1").decode(der);
  return [...text.matchAll(/spiffe:\/\//g)].flatMap(({ index }) => {
    const [tag, length = 0] = [der[index - 2], der[index - 1]];
    return tag === 0x86 ? [text.slice(index, index + length)] : [];
  });
}

function inputs(capture: Capture, keylog: string): string[] {
  const keys = ["-o", `tls.keylog_file:${keylog}`];
  return ["-n", "-r", capture.file, ...keys, "-d", "tcp.port==80,tls"];
}

async function runTshark(args: readonly string[]): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command("tshark", { args: [...args] })
    .output();
  const decoder = new TextDecoder();
  if (!success) throw new Error(`Cannot read packets: ${decoder.decode(stderr).trim()}`);
  return decoder.decode(stdout);
}
