/**
 * A client for tests that opens its socket in an unusual way: `sockets_program.ts SPEC`, where SPEC
 * is JSON. It prints one JSON object; a connection that fails is an answer.
 *
 * Raw calls of the C library, because no runtime makes sockets like these. Invariant: every call
 * has a time limit of its own, so that a connection which hangs is an answer, too.
 *
 * @module
 */
import { lastErrno } from "../../ffi/check.ts";
import { openLibrary } from "../../ffi/dlopen.ts";
import { boundedText, cstring, fixedBytes, readCstring, Struct } from "../../ffi/memory.ts";
import { connectByRing } from "./sockets_ring.ts";

/** What to open, and how. */
export interface Spec {
  readonly host: string;
  readonly port: number;
  /** what is sent; UDP: the datagram */
  readonly say: string;
  readonly how?: "blocking" | "non-blocking" | "fast open" | "ring" | "polled ring";
  readonly protocol?: "tcp" | "mptcp" | "udp";
  /** IPv4 in a socket of IPv6 */
  readonly mapped?: boolean;
  readonly bind?: {
    readonly address?: string;
    readonly port?: number;
    readonly device?: string;
  };
  /** where the process goes after it has made the socket */
  readonly then?: { readonly cgroup?: string; readonly netns?: string };
  /** path of a socket: where the socket is given away, or taken from */
  readonly give?: string;
  readonly take?: string;
  /** UDP: waits for an answer */
  readonly answered?: boolean;
}

/** What came of it. */
export interface Report {
  /** such as "ECONNREFUSED" */
  readonly error?: string;
  readonly during?: "connect" | "send" | "receive";
  readonly peer?: string;
  readonly local?: string;
  readonly answer?: string;
  /** false as soon as somebody may come for it */
  readonly given?: boolean;
}

function dial(spec: Spec): Report {
  const fd = spec.take === undefined ? openSocket(spec) : takeOver(spec.take);
  enter(spec.then ?? {});
  const sent = spec.how === "fast open" ? sendWithSyn(fd, spec) : connectAndSend(fd, spec);
  // After a failure the socket has lost its ends.
  if (sent.error !== undefined) return sent;
  const ends = { peer: nameOf(fd, C.getpeername), local: nameOf(fd, C.getsockname) };
  if (spec.protocol === "udp" && spec.answered !== true) return { ...ends, ...sent };
  if (spec.protocol !== "udp") C.shutdown(fd, SHUT_WR);
  return { ...ends, ...receiveAll(fd, spec.protocol === "udp") };
}

function openSocket({ protocol = "tcp", mapped = false, host, bind = {} }: Spec): number {
  const family = mapped || host.includes(":") ? AF_INET6 : AF_INET;
  const type = protocol === "udp" ? SOCK_DGRAM : SOCK_STREAM;
  const number = { tcp: 0, udp: 0, mptcp: 262 }[protocol];
  const fd = must("socket", C.socket(family, type, number));
  const seconds = new Struct(16).setU64(0, PATIENCE_S).bytes;
  for (const option of [SO_RCVTIMEO, SO_SNDTIMEO]) {
    must("setsockopt", C.setsockopt(fd, SOL_SOCKET, option, seconds, 16));
  }
  if (bind.device !== undefined) {
    const name = cstring(bind.device);
    must("device", C.setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, name, name.length));
  }
  if (bind.address !== undefined || bind.port !== undefined) {
    must(
      "setsockopt",
      C.setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, new Struct(4).setU32(0, 1).bytes, 4),
    );
    const any = family === AF_INET6 ? "::" : "0.0.0.0";
    const { bytes, length } = socketAddress(bind.address ?? any, bind.port ?? 0, mapped);
    must("bind", C.bind(fd, bytes, length));
  }
  return fd;
}

function enter({ cgroup, netns }: NonNullable<Spec["then"]>): void {
  if (netns !== undefined) {
    const fd = must("open", C.open(cstring(netns), 0));
    must("setns", C.setns(fd, 0));
    C.close(fd);
  }
  if (cgroup !== undefined) Deno.writeTextFileSync(`${cgroup}/cgroup.procs`, String(Deno.pid));
}

function connectAndSend(fd: number, spec: Spec): Report {
  const { host, port, mapped = false, how = "blocking", say } = spec;
  const { bytes, length } = socketAddress(host, port, mapped);
  const errno = how === "ring" || how === "polled ring"
    ? connectByRing(fd, bytes, length, how === "polled ring")
    : how === "non-blocking"
    ? connectWithoutBlocking(fd, bytes, length)
    : errnoOf(C.connect(fd, bytes, length));
  if (errno !== 0) return failed("connect", errno);
  const data = fixedBytes(say.length);
  new TextEncoder().encodeInto(say, data);
  const failure = errnoOf(C.send(fd, data, data.length, MSG_NOSIGNAL));
  return failure === 0 ? {} : failed("send", failure);
}

/** Starts to connect, waits until it is known how that ended, and blocks from then on. */
function connectWithoutBlocking(fd: number, to: Uint8Array<ArrayBuffer>, length: number): number {
  C.fcntl(fd, F_SETFL, O_NONBLOCK);
  const errno = errnoOf(C.connect(fd, to, length));
  if (errno !== 0 && errno !== EINPROGRESS) return errno;
  const entry = new Struct(8).setU32(0, fd).setU32(4, POLLOUT);
  if (C.poll(entry.bytes, 1, PATIENCE_S * 1000) !== 1) return ETIMEDOUT;
  const state = new Struct(4);
  C.getsockopt(fd, SOL_SOCKET, SO_ERROR, state.bytes, new Struct(4).setU32(0, 4).bytes);
  C.fcntl(fd, F_SETFL, 0);
  return state.u32(0);
}

function sendWithSyn(fd: number, { host, port, mapped = false, say }: Spec): Report {
  const { bytes, length } = socketAddress(host, port, mapped);
  const data = cstring(say);
  const errno = errnoOf(
    C.sendto(fd, data, say.length, MSG_FASTOPEN | MSG_NOSIGNAL, bytes, length),
  );
  return errno === 0 ? {} : failed("connect", errno);
}

function receiveAll(fd: number, once: boolean): Report {
  const buffer = fixedBytes(65_536);
  let answer = "";
  for (;;) {
    const count = C.recv(fd, buffer, buffer.length, 0);
    if (count < 0) return { ...failed("receive", lastErrno()), answer };
    if (count === 0) return { answer };
    answer += new TextDecoder().decode(buffer.subarray(0, count));
    if (once) return { answer };
  }
}

/** Makes the socket here and hands it to whoever connects to `path`. */
function giveAway(spec: Spec, path: string): Report {
  const fd = openSocket(spec);
  const door = must("socket", C.socket(AF_UNIX, SOCK_STREAM, 0));
  const address = unixAddress(path);
  must("bind", C.bind(door, address, address.length));
  must("listen", C.listen(door, 1));
  say({ given: false });
  const taker = must("accept", C.accept(door, null, null));
  const message = descriptorMessage();
  message.control.setU32(16, fd);
  must("sendmsg", C.sendmsg(taker, message.header.bytes, 0));
  // Until the other has it.
  C.recv(taker, fixedBytes(1), 1, 0);
  return { given: true };
}

/** Takes the socket that another process has made. */
function takeOver(path: string): number {
  const door = must("socket", C.socket(AF_UNIX, SOCK_STREAM, 0));
  const address = unixAddress(path);
  must("connect", C.connect(door, address, address.length));
  const message = descriptorMessage();
  must("recvmsg", C.recvmsg(door, message.header.bytes, 0));
  return message.control.u32(16);
}

/** A message of one byte with room for one descriptor (SCM_RIGHTS). */
function descriptorMessage(): { header: Struct; control: Struct } {
  const control = new Struct(24).setU64(0, 20).setU32(8, SOL_SOCKET).setU32(12, SCM_RIGHTS);
  const piece = new Struct(16).setPointer(0, fixedBytes(1)).setU64(8, 1);
  const header = new Struct(56).setPointer(16, piece.bytes).setU64(24, 1);
  return { header: header.setPointer(32, control.bytes).setU64(40, 24), control };
}

function socketAddress(host: string, port: number, mapped: boolean) {
  const six = mapped || host.includes(":");
  const address = new Struct(six ? 28 : 16);
  address.view.setUint16(0, six ? AF_INET6 : AF_INET, true);
  address.view.setUint16(2, port);
  const text = cstring(mapped && !host.includes(":") ? `::ffff:${host}` : host);
  const target = fixedBytes(16);
  if (C.inet_pton(six ? AF_INET6 : AF_INET, text, target) !== 1) throw new TypeError(host);
  address.bytes.set(six ? target : target.subarray(0, 4), six ? 8 : 4);
  return { bytes: address.bytes, length: address.bytes.length };
}

function unixAddress(path: string): Uint8Array<ArrayBuffer> {
  const text = cstring(path);
  const address = fixedBytes(2 + text.length);
  address[0] = AF_UNIX;
  address.set(text, 2);
  return address;
}

/** An end of the socket: "address port". */
function nameOf(fd: number, ask: typeof C.getpeername): string {
  const name = new Struct(28);
  const errno = errnoOf(ask(fd, name.bytes, new Struct(4).setU32(0, 28).bytes));
  if (errno !== 0) return nameOfErrno(errno);
  const family = name.view.getUint16(0, true);
  const text = fixedBytes(64);
  C.inet_ntop(family, name.bytes.slice(family === AF_INET ? 4 : 8), text, 64);
  const address = boundedText(text);
  return `${address} ${name.view.getUint16(2)}`;
}

function say(report: Report): void {
  Deno.stdout.writeSync(new TextEncoder().encode(`${JSON.stringify(report)}\n`));
}

function failed(during: NonNullable<Report["during"]>, errno: number): Report {
  return { error: nameOfErrno(errno), during };
}

function nameOfErrno(errno: number): string {
  return readCstring(C.strerrorname_np(errno)) || String(errno);
}

function errnoOf(result: number): number {
  return result < 0 ? lastErrno() : 0;
}

function must(what: string, result: number): number {
  if (result < 0) throw new Error(`Cannot ${what}: ${nameOfErrno(lastErrno())}`);
  return result;
}

const C = openLibrary("libc.so.6", {
  socket: { parameters: ["i32", "i32", "i32"], result: "i32" },
  bind: { parameters: ["i32", "buffer", "u32"], result: "i32" },
  listen: { parameters: ["i32", "i32"], result: "i32" },
  accept: { parameters: ["i32", "pointer", "pointer"], result: "i32" },
  connect: { parameters: ["i32", "buffer", "u32"], result: "i32" },
  getpeername: { parameters: ["i32", "buffer", "buffer"], result: "i32" },
  getsockname: { parameters: ["i32", "buffer", "buffer"], result: "i32" },
  getsockopt: { parameters: ["i32", "i32", "i32", "buffer", "buffer"], result: "i32" },
  setsockopt: { parameters: ["i32", "i32", "i32", "buffer", "u32"], result: "i32" },
  send: { parameters: ["i32", "buffer", "u32", "i32"], result: "i32" },
  sendto: { parameters: ["i32", "buffer", "u64", "i32", "buffer", "u32"], result: "i32" },
  recv: { parameters: ["i32", "buffer", "u32", "i32"], result: "i32" },
  sendmsg: { parameters: ["i32", "buffer", "i32"], result: "i32" },
  recvmsg: { parameters: ["i32", "buffer", "i32"], result: "i32" },
  shutdown: { parameters: ["i32", "i32"], result: "i32" },
  poll: { parameters: ["buffer", "u64", "i32"], result: "i32" },
  fcntl: { parameters: ["i32", "i32", "i32"], result: "i32" },
  open: { parameters: ["buffer", "i32"], result: "i32" },
  setns: { parameters: ["i32", "i32"], result: "i32" },
  close: { parameters: ["i32"], result: "i32" },
  inet_pton: { parameters: ["i32", "buffer", "buffer"], result: "i32" },
  inet_ntop: { parameters: ["i32", "buffer", "buffer", "u32"], result: "pointer" },
  strerrorname_np: { parameters: ["i32"], result: "pointer" },
});

const PATIENCE_S = 8;
const AF_UNIX = 1;
const AF_INET = 2;
const AF_INET6 = 10;
const SOCK_STREAM = 1;
const SOCK_DGRAM = 2;
const SOL_SOCKET = 1;
const SO_REUSEADDR = 2;
const SO_ERROR = 4;
const SO_RCVTIMEO = 20;
const SO_SNDTIMEO = 21;
const SO_BINDTODEVICE = 25;
const SCM_RIGHTS = 1;
const MSG_NOSIGNAL = 0x4000;
const MSG_FASTOPEN = 0x20000000;
const SHUT_WR = 1;
const F_SETFL = 4;
const O_NONBLOCK = 0o4000;
const POLLOUT = 4;
const EINPROGRESS = 115;
const ETIMEDOUT = 110;

if (import.meta.main) {
  const spec = JSON.parse(Deno.args[0] ?? "{}") as Spec;
  say(spec.give === undefined ? dial(spec) : giveAway(spec, spec.give));
}
