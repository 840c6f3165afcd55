/**
 * Network namespaces: opening one, telling one from another, and acting inside one.
 *
 * `withNetns` is the only way in. It switches this thread, runs a synchronous function and switches
 * back before it returns, so that nothing else ever runs inside: one asynchronous step would let
 * any other task of the process run in a pod's namespace. A process that cannot get back must not
 * go on, because all it would do from then on would happen in the wrong network: it aborts.
 *
 * @module
 */

import { checkLibc, lastErrno } from "../check.ts";
import { openLibrary, type Symbols } from "../dlopen.ts";
import { SyscallError } from "../errors.ts";
import { Fd } from "../fd.ts";
import { cstring, Struct } from "../memory.ts";

/** What a function may return that runs inside another namespace: anything but a promise. */
export type Synchronous<T> = T extends PromiseLike<unknown> ? never : T;

/**
 * Runs `action` with this thread in the namespace. The namespaces of all other threads stay as they
 * are. Do not start threads, workers, children or asynchronous work in `action`.
 */
export function withNetns<T>(netns: Fd, action: () => Synchronous<T>): T {
  using home = openNetns(OWN_NETNS);
  checkLibc("setns", libc().setns(netns.raw, CLONE_NEWNET), `Cannot enter "${netns.label}"`);
  let result: T;
  try {
    result = action();
  } finally {
    if (libc().setns(home.raw, CLONE_NEWNET) !== 0) libc().abort();
  }
  if (result instanceof Promise) {
    throw new TypeError("Cannot run an asynchronous function in another network namespace");
  }
  return result;
}

/** Opens the namespace at `path`, such as "/run/netns/a" or "/proc/1/ns/net". */
export function openNetns(path: string): Fd {
  const raw = libc().open(cstring(path), O_RDONLY | O_CLOEXEC);
  checkLibc("open", raw, () => `Cannot open network namespace "${path}"`);
  return Fd.adopt(raw, path);
}

/** Opens the namespace that this thread is in. */
export function openOwnNetns(): Fd {
  return openNetns(OWN_NETNS);
}

/** The kernel's number for a namespace (SO_NETNS_COOKIE); never used again for another one. */
export function netnsCookie(netns?: Fd): bigint {
  return netns === undefined ? ownCookie() : withNetns(netns, ownCookie);
}

/** Inode and device of a namespace: the same pair means the same namespace, while it lives. */
export function netnsIdentity(netns: Fd): NetnsIdentity {
  const { ino, dev } = Deno.statSync(`/proc/self/fd/${netns.raw}`);
  if (ino === null) throw new TypeError(`Cannot tell the inode of "${netns.label}"`);
  return { device: dev, inode: ino };
}

/** Whether two descriptors lead to the same namespace. */
export function isSameNetns(a: Fd, b: Fd): boolean {
  const [one, other] = [netnsIdentity(a), netnsIdentity(b)];
  return one.inode === other.inode && one.device === other.device;
}

/** Identifies a namespace while it lives. */
export interface NetnsIdentity {
  readonly device: number;
  readonly inode: number;
}

/** Of this thread, not of the process: another thread may be elsewhere just now. */
const OWN_NETNS = "/proc/thread-self/ns/net";
const O_RDONLY = 0;
const O_CLOEXEC = 0o2000000;
const CLONE_NEWNET = 0x40000000;
const AF_INET = 2;
const SOCK_DGRAM_CLOEXEC = 2 | 0o2000000;
const SOL_SOCKET = 1;
const SO_NETNS_COOKIE = 71;

const LIBC_NETNS = {
  // int open(const char *path, int flags, ...);
  open: { parameters: ["buffer", "i32"], result: "i32" },
  // int setns(int fd, int nstype);
  setns: { parameters: ["i32", "i32"], result: "i32" },
  // int socket(int domain, int type, int protocol);
  socket: { parameters: ["i32", "i32", "i32"], result: "i32" },
  // int getsockopt(int fd, int level, int name, void *value, socklen_t *length);
  getsockopt: { parameters: ["i32", "i32", "i32", "buffer", "buffer"], result: "i32" },
  // void abort(void);
  abort: { parameters: [], result: "void" },
} as const satisfies Deno.ForeignLibraryInterface;

function libc(): Symbols<typeof LIBC_NETNS> {
  return openLibrary("libc.so.6", LIBC_NETNS);
}

function ownCookie(): bigint {
  const raw = libc().socket(AF_INET, SOCK_DGRAM_CLOEXEC, 0);
  using socket = Fd.adopt(checkLibc("socket", raw, "Cannot read netns cookie"), "cookie socket");
  const cookie = new Struct(8);
  const length = new Struct(4).setU32(0, 8);
  const result = libc().getsockopt(
    socket.raw,
    SOL_SOCKET,
    SO_NETNS_COOKIE,
    cookie.bytes,
    length.bytes,
  );
  if (result !== 0) {
    throw new SyscallError("getsockopt(SO_NETNS_COOKIE)", lastErrno(), "Cannot read netns cookie");
  }
  return cookie.u64(0);
}
