/**
 * Waiting for one descriptor without blocking the thread.
 *
 * `poll(2)` runs on a thread of Deno's pool; the promise resolves when the descriptor is readable
 * or the time is up. For rare waits of the main thread; the relay's loops have an epoll of their
 * own.
 *
 * @module
 */

import { openLibrary, type Symbols } from "../dlopen.ts";

/** True when `fd` became readable, false after `timeoutMs`. */
export async function waitReadable(fd: number, timeoutMs: number): Promise<boolean> {
  const request = new Uint8Array(8); // struct pollfd { int fd; short events; short revents; }
  const view = new DataView(request.buffer);
  view.setInt32(0, fd, true);
  view.setInt16(4, POLLIN, true);
  return await libc().poll(request, 1n, timeoutMs) > 0 && view.getInt16(6, true) !== 0;
}

const POLLIN = 1;

const LIBC_POLL = {
  // int poll(struct pollfd *fds, nfds_t nfds, int timeout);
  poll: { parameters: ["buffer", "u64", "i32"], result: "i32", nonblocking: true },
} as const satisfies Deno.ForeignLibraryInterface;

function libc(): Symbols<typeof LIBC_POLL> {
  return openLibrary("libc.so.6", LIBC_POLL);
}
