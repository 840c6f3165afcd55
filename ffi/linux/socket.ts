/**
 * TCP sockets by number: made, bound, connected, read and written without blocking.
 *
 * In: descriptors, byte buffers, addresses of 16 bytes (IPv4 as ::ffff:a.b.c.d). Out: counts, or a
 * negative error number. Invariant: `receive` and `send` never throw and never allocate, for every
 * byte of the relay goes through them; errors there are ordinary values, read from `errno` in the
 * same breath. Raw numbers and not `Fd`s, because the relay's loop owns them by the thousand.
 *
 * @module
 */

import { checkLibc, lastErrno } from "../check.ts";
import { openLibrary } from "../dlopen.ts";
import { fixedBytes, Struct } from "../memory.ts";

/** One end of a connection. */
export interface Endpoint {
  /** 16 bytes */
  readonly address: Uint8Array;
  readonly port: number;
}

/** Makes a non-blocking, close-on-exec TCP socket of the family of `address`. */
export function openTcpSocket(address: Uint8Array): number {
  const family = isIpv4(address) ? AF_INET : AF_INET6;
  const raw = C.socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  return checkLibc("socket", raw, "Cannot make a socket");
}

/** Makes a listener on an ephemeral port of all addresses of both families. */
export function openTcpListener(backlog: number): number {
  const raw = C.socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  checkLibc("socket", raw, "Cannot make a listener");
  const any = new Struct(SOCKADDR_IN6_SIZE);
  any.view.setUint16(0, AF_INET6, true);
  try {
    setOption(raw, SocketOption.V6ONLY, 0);
    // What it accepts holds the application's port: that must not keep it from binding again.
    setOption(raw, SocketOption.REUSEADDR, 1);
    checkLibc("bind", C.bind(raw, any.bytes, SOCKADDR_IN6_SIZE), "Cannot bind a listener");
    checkLibc("listen", C.listen(raw, backlog), "Cannot listen");
  } catch (error) {
    C.close(raw);
    throw error;
  }
  return raw;
}

/** Starts to connect, or asks how far it is: zero when connected, else a negative error number. */
export function connect(fd: number, { address, port }: Endpoint): number {
  const length = writeSockaddr(address, port);
  return C.connect(fd, sockaddr.bytes, length) === 0 ? 0 : -lastErrno();
}

/** Takes a connection from a listener; a negative error number when there is none. */
export function accept(fd: number): number {
  const raw = C.accept4(fd, null, null, SOCK_NONBLOCK | SOCK_CLOEXEC);
  return raw >= 0 ? raw : -lastErrno();
}

/** The other end of a connection; undefined when there is none any more. */
export function peerName(fd: number): Endpoint | undefined {
  sockaddrLength.setU32(0, SOCKADDR_IN6_SIZE);
  return C.getpeername(fd, sockaddr.bytes, sockaddrLength.bytes) === 0 ? readSockaddr() : undefined;
}

/** This end of a connection. */
export function socketName(fd: number): Endpoint | undefined {
  sockaddrLength.setU32(0, SOCKADDR_IN6_SIZE);
  return C.getsockname(fd, sockaddr.bytes, sockaddrLength.bytes) === 0 ? readSockaddr() : undefined;
}

/** Receives into `target`: bytes, zero at the end of the stream, or a negative error number. */
export function receive(fd: number, target: Uint8Array<ArrayBuffer>, size: number): number {
  const count = C.recv(fd, target, size, 0);
  return count >= 0 ? count : -lastErrno();
}

/** The same into memory of C's. */
export function receiveInto(fd: number, target: Deno.PointerObject, size: number): number {
  const count = P.recv(fd, target, size, 0);
  return count >= 0 ? count : -lastErrno();
}

/** Sends from `source`: bytes, or a negative error number. Never raises SIGPIPE. */
export function send(fd: number, source: Uint8Array<ArrayBuffer>, size: number): number {
  const count = C.send(fd, source, size, MSG_NOSIGNAL);
  return count >= 0 ? count : -lastErrno();
}

/** The same from memory of C's. */
export function sendFrom(fd: number, source: Deno.PointerObject, size: number): number {
  const count = P.send(fd, source, size, MSG_NOSIGNAL);
  return count >= 0 ? count : -lastErrno();
}

/** Ends this side's stream. */
export function shutdownWrite(fd: number): void {
  C.shutdown(fd, SHUT_WR);
}

/** Closes; what was sent still arrives. */
export function closeSocket(fd: number): void {
  C.close(fd);
}

/** Makes the next close send RST. */
export function abortOnClose(fd: number): void {
  C.setsockopt(fd, SOL_SOCKET, SO_LINGER, LINGER_ZERO, 8);
}

/** Sets an option whose value is an int. Failure is ignored: all of these are improvements. */
export function setOption(fd: number, [level, name]: SocketOption, value: number): void {
  optionValue.setU32(0, value);
  C.setsockopt(fd, level, name, optionValue.bytes, 4);
}

/** Level and name of options. */
export type SocketOption = readonly [level: number, name: number];
export const SocketOption = {
  REUSEADDR: [1, 2],
  KEEPALIVE: [1, 9],
  NODELAY: [6, 1],
  KEEPIDLE: [6, 4],
  KEEPINTVL: [6, 5],
  KEEPCNT: [6, 6],
  USER_TIMEOUT: [6, 18],
  V6ONLY: [41, 26],
} as const satisfies Record<string, SocketOption>;

const LIBC_SOCKET = {
  // int socket(int domain, int type, int protocol);
  socket: { parameters: ["i32", "i32", "i32"], result: "i32" },
  // int bind(int fd, const struct sockaddr *addr, socklen_t len);
  bind: { parameters: ["i32", "buffer", "u32"], result: "i32" },
  // int listen(int fd, int backlog);
  listen: { parameters: ["i32", "i32"], result: "i32" },
  // int connect(int fd, const struct sockaddr *addr, socklen_t len);
  connect: { parameters: ["i32", "buffer", "u32"], result: "i32" },
  // int accept4(int fd, struct sockaddr *addr, socklen_t *len, int flags);
  accept4: { parameters: ["i32", "pointer", "pointer", "i32"], result: "i32" },
  // int getpeername(int fd, struct sockaddr *addr, socklen_t *len);
  getpeername: { parameters: ["i32", "buffer", "buffer"], result: "i32" },
  // int getsockname(int fd, struct sockaddr *addr, socklen_t *len);
  getsockname: { parameters: ["i32", "buffer", "buffer"], result: "i32" },
  // int setsockopt(int fd, int level, int name, const void *value, socklen_t len);
  setsockopt: { parameters: ["i32", "i32", "i32", "buffer", "u32"], result: "i32" },
  // ssize_t recv(int fd, void *buf, size_t len, int flags); counts fit 31 bits
  recv: { parameters: ["i32", "buffer", "u32", "i32"], result: "i32" },
  // ssize_t send(int fd, const void *buf, size_t len, int flags); counts fit 31 bits
  send: { parameters: ["i32", "buffer", "u32", "i32"], result: "i32" },
  // int shutdown(int fd, int how);
  shutdown: { parameters: ["i32", "i32"], result: "i32" },
  // int close(int fd);
  close: { parameters: ["i32"], result: "i32" },
} as const satisfies Deno.ForeignLibraryInterface;

const LIBC_SOCKET_POINTERS = {
  // ssize_t recv(int fd, void *buf, size_t len, int flags); counts fit 31 bits
  recv: { parameters: ["i32", "pointer", "u32", "i32"], result: "i32" },
  // ssize_t send(int fd, const void *buf, size_t len, int flags); counts fit 31 bits
  send: { parameters: ["i32", "pointer", "u32", "i32"], result: "i32" },
} as const satisfies Deno.ForeignLibraryInterface;

/** Bound once: the relay's hot path calls them for every event. */
const C = openLibrary("libc.so.6", LIBC_SOCKET);
const P = openLibrary("libc.so.6", LIBC_SOCKET_POINTERS);

const AF_INET = 2;
const AF_INET6 = 10;
const SOCK_STREAM = 1;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const SOL_SOCKET = 1;
const SO_LINGER = 13;
const MSG_NOSIGNAL = 0x4000;
const SHUT_WR = 1;
const SOCKADDR_IN_SIZE = 16;
const SOCKADDR_IN6_SIZE = 28;
/** struct linger {1, 0} */
const LINGER_ZERO = Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0);

const sockaddr = new Struct(SOCKADDR_IN6_SIZE);
const sockaddrLength = new Struct(4);
const optionValue = new Struct(4);

function isIpv4(address: Uint8Array): boolean {
  for (let i = 0; i < 10; i++) if (address[i] !== 0) return false;
  return address[10] === 0xff && address[11] === 0xff;
}

function writeSockaddr(address: Uint8Array, port: number): number {
  sockaddr.bytes.fill(0);
  sockaddr.view.setUint16(2, port);
  if (isIpv4(address)) {
    sockaddr.view.setUint16(0, AF_INET, true);
    sockaddr.bytes.set(address.subarray(12, 16), 4);
    return SOCKADDR_IN_SIZE;
  }
  sockaddr.view.setUint16(0, AF_INET6, true);
  sockaddr.bytes.set(address.subarray(0, 16), 8);
  return SOCKADDR_IN6_SIZE;
}

function readSockaddr(): Endpoint | undefined {
  const address = fixedBytes(16);
  const port = sockaddr.view.getUint16(2);
  switch (sockaddr.view.getUint16(0, true)) {
    case AF_INET:
      address[10] = address[11] = 0xff;
      address.set(sockaddr.bytes.subarray(4, 8), 12);
      return { address, port };
    case AF_INET6:
      address.set(sockaddr.bytes.subarray(8, 24));
      return { address, port };
    default:
      return undefined;
  }
}
