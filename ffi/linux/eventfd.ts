/**
 * A counter that one thread raises and another one's epoll sees: how a blocked worker is woken.
 *
 * @module
 */

import { checkLibc } from "../check.ts";
import { openLibrary } from "../dlopen.ts";
import { Fd } from "../fd.ts";
import { u64Bytes } from "../memory.ts";

/** Makes one at zero, non-blocking and close-on-exec. */
export function openEventfd(label: string): Fd {
  const raw = C.eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  return Fd.adopt(checkLibc("eventfd", raw, `Cannot make eventfd "${label}"`), label);
}

/** Wakes whoever waits for `fd`. */
export function raiseEventfd(fd: number): void {
  C.write(fd, ONE, 8);
}

/** Back to zero; returns how often it was raised. */
export function clearEventfd(fd: number): number {
  const count = u64Bytes(0n);
  return C.read(fd, count, 8) === 8 ? new DataView(count.buffer).getUint32(0, true) : 0;
}

const LIBC_EVENTFD = {
  // int eventfd(unsigned int initval, int flags);
  eventfd: { parameters: ["u32", "i32"], result: "i32" },
  // ssize_t write(int fd, const void *buf, size_t count); counts fit 31 bits
  write: { parameters: ["i32", "buffer", "u32"], result: "i32" },
  // ssize_t read(int fd, void *buf, size_t count); counts fit 31 bits
  read: { parameters: ["i32", "buffer", "u32"], result: "i32" },
} as const satisfies Deno.ForeignLibraryInterface;

const C = openLibrary("libc.so.6", LIBC_EVENTFD);
const EFD_NONBLOCK = 0o4000;
const EFD_CLOEXEC = 0o2000000;
const ONE = u64Bytes(1n);
