/**
 * What a pod with every capability can do to its own network: `around_program.ts WHAT ARGS…`.
 *
 * - `send HEX…`: sends frames on eth0, as they are
 * - `flood COUNT HEX WHAT`: sends COUNT copies of a SYN; WHAT differs in each, `port` or `source`
 * - `join PORT…`: tries to listen where somebody listens already, in every way, and says where it
 *   could
 * - `hoard FIRST COUNT`: listens on so many ports, says so, and stays until it is killed
 *
 * It prints JSON. Invariant: nothing is checked or corrected here; a lie is sent as a lie.
 *
 * @module
 */
import { checkLibc, lastErrno } from "../../ffi/check.ts";
import { openLibrary } from "../../ffi/dlopen.ts";
import { fixedBytes, Struct } from "../../ffi/memory.ts";

function send(frames: readonly string[]): number {
  const out = openFrames();
  for (const frame of frames) out(Uint8Array.fromHex(frame) as Uint8Array<ArrayBuffer>);
  return frames.length;
}

/** A SYN of IPv4 without options: ports from byte 34, addresses from byte 26. */
function flood(count: number, hex: string, what: string): number {
  const out = openFrames();
  const frame = fixedBytes(hex.length / 2);
  frame.set(Uint8Array.fromHex(hex));
  const view = new DataView(frame.buffer);
  for (let round = 0; round < count; round++) {
    // One's complement sums stay right when what one word gains another loses.
    view.setUint16(34, view.getUint16(34) + 1);
    view.setUint16(38, view.getUint16(38) - 1);
    if (what === "source") {
      view.setUint16(26, 0x0a00 | round >> 8 & 255);
      view.setUint16(28, (round & 255) << 8 | 1);
      for (const at of [24, 50]) view.setUint16(at, 0);
      view.setUint16(24, checksum(frame.subarray(14, 34), 0));
      view.setUint16(50, checksum(frame.subarray(26), 6 + 20));
    }
    out(frame);
  }
  return count;
}

function checksum(bytes: Uint8Array, start: number): number {
  let sum = start;
  for (let at = 0; at < bytes.length; at += 2) sum += (bytes[at] ?? 0) << 8 | (bytes[at + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  return ~sum & 0xffff;
}

/** A function that puts a frame on eth0. */
function openFrames(): (frame: Uint8Array<ArrayBuffer>) => void {
  const fd = checkLibc("socket", C.socket(AF_PACKET, SOCK_RAW, 0));
  const place = fixedBytes(20);
  const view = new DataView(place.buffer);
  view.setUint16(0, AF_PACKET, true);
  view.setUint32(4, C.if_nametoindex(new TextEncoder().encode("eth0\0")), true);
  return (frame) => {
    const sent = C.sendto(fd, frame, BigInt(frame.length), 0, place, place.length);
    // A queue that is full drops it, as a wire would.
    if (sent < 0 && lastErrno() !== ENOBUFS) checkLibc("sendto", sent);
  };
}

/** Ways of listening on a port that somebody has: options that are set, and the address. */
function join(ports: readonly number[]): string[] {
  const ways = [[], [SO_REUSEADDR], [SO_REUSEPORT], [SO_REUSEADDR, SO_REUSEPORT]];
  return ports.flatMap((port) =>
    ways.flatMap((options) =>
      [AF_INET, AF_INET6].flatMap((family) => {
        const errno = listenOn(family, port, options);
        return errno === 0 ? [`${port} family ${family} options ${options}`] : [];
      })
    )
  );
}

function hoard(first: number, count: number): number {
  let taken = 0;
  for (let port = first; port < first + count; port++) {
    if (listenOn(AF_INET6, port, [SO_REUSEADDR]) === 0) taken++;
  }
  return taken;
}

/** Zero if it listens; the descriptor stays open. */
function listenOn(family: number, port: number, options: readonly number[]): number {
  const fd = checkLibc("socket", C.socket(family, SOCK_STREAM, 0));
  const one = new Struct(4).setU32(0, 1).bytes;
  for (const option of options) C.setsockopt(fd, SOL_SOCKET, option, one, 4);
  const address = new Struct(family === AF_INET ? 16 : 28);
  address.view.setUint16(0, family, true);
  address.view.setUint16(2, port);
  const bound = C.bind(fd, address.bytes, address.bytes.length);
  return bound < 0 || C.listen(fd, 16) < 0 ? lastErrno() : 0;
}

const C = openLibrary("libc.so.6", {
  socket: { parameters: ["i32", "i32", "i32"], result: "i32" },
  bind: { parameters: ["i32", "buffer", "u32"], result: "i32" },
  listen: { parameters: ["i32", "i32"], result: "i32" },
  setsockopt: { parameters: ["i32", "i32", "i32", "buffer", "u32"], result: "i32" },
  sendto: { parameters: ["i32", "buffer", "u64", "i32", "buffer", "u32"], result: "i32" },
  if_nametoindex: { parameters: ["buffer"], result: "u32" },
});

const AF_INET = 2;
const AF_INET6 = 10;
const AF_PACKET = 17;
const SOCK_STREAM = 1;
const SOCK_RAW = 3;
const SOL_SOCKET = 1;
const SO_REUSEADDR = 2;
const SO_REUSEPORT = 15;
const ENOBUFS = 105;

if (import.meta.main) {
  const [what, ...rest] = Deno.args;
  const [first = "", second = "", third = ""] = rest;
  const say = (value: unknown) =>
    Deno.stdout.writeSync(new TextEncoder().encode(`${JSON.stringify(value)}\n`));
  switch (what) {
    case "send":
      say(send(rest));
      break;
    case "flood":
      say("started");
      say(flood(Number(first), second, third));
      break;
    case "join":
      say(join(rest.map(Number)));
      break;
    case "hoard":
      say(hoard(Number(first), Number(second)));
      setInterval(() => {}, 1_000_000);
      break;
    default:
      throw new TypeError(`Cannot do "${what}"`);
  }
}
