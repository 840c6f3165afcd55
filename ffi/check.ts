/**
 * Turns the two C conventions for failure into one: a thrown `SyscallError`.
 *
 * `errno` belongs to the thread: it is valid only right after a failed *synchronous* call. After a
 * nonblocking call it is another thread's. `action` is a string, or a function where building it
 * would cost the hot path.
 *
 * @module
 */

import { openLibrary } from "./dlopen.ts";
import { SyscallError } from "./errors.ts";

/** What was attempted, for the message. */
export type Action = string | (() => string);

/** Result of a libc call that returns -1 and sets `errno`. Call it on the result directly. */
export function checkLibc(call: string, result: number, action?: Action): number {
  if (result !== -1) return result;
  const errno = lastErrno();
  throw new SyscallError(call, errno, typeof action === "function" ? action() : action);
}

/** Result of a function that returns a negative error number, as libbpf 1.x does. */
export function checkNegative(call: string, result: number, action?: Action): number {
  if (result >= 0) return result;
  throw new SyscallError(call, -result, typeof action === "function" ? action() : action);
}

/** The thread's `errno`; read it before any other foreign call. */
export function lastErrno(): number {
  location ??= openErrnoLocation();
  return location.getInt32();
}

const LIBC_ERRNO = {
  // int *__errno_location(void);
  __errno_location: { parameters: [], result: "pointer" },
} as const satisfies Deno.ForeignLibraryInterface;

/** An isolate never changes its thread, so the place is looked up once. */
let location: Deno.UnsafePointerView | undefined;

function openErrnoLocation(): Deno.UnsafePointerView {
  const pointer = openLibrary("libc.so.6", LIBC_ERRNO).__errno_location();
  if (pointer === null) throw new TypeError("Cannot find errno: __errno_location returned null");
  return new Deno.UnsafePointerView(pointer);
}
