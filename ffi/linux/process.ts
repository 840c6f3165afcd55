/**
 * This process and others: limits, name, memory dumps, whether a process lives, the BPF clock.
 *
 * @module
 */

import { checkLibc, lastErrno } from "../check.ts";
import { openLibrary, type Symbols } from "../dlopen.ts";
import { Errno } from "../errno.ts";
import { SyscallError } from "../errors.ts";
import { cstring, Struct } from "../memory.ts";

/** Resources with a limit. */
export const Resource = { OPEN_FILES: 7, LOCKED_MEMORY: 8 } as const;
export type Resource = typeof Resource[keyof typeof Resource];

/** A limit: what is in force, and what it may be raised to without privileges. */
export interface ResourceLimit {
  readonly current: bigint;
  readonly maximum: bigint;
}

/** The limit of this process. */
export function resourceLimit(resource: Resource): ResourceLimit {
  const limit = new Struct(16);
  checkLibc("getrlimit", libc().getrlimit(resource, limit.bytes), "Cannot read resource limit");
  return { current: limit.u64(0), maximum: limit.u64(8) };
}

/** Raises a limit of this process to at least `wanted`; past the maximum only with privileges. */
export function raiseResourceLimit(resource: Resource, wanted: bigint): ResourceLimit {
  const { current, maximum } = resourceLimit(resource);
  if (current >= wanted) return { current, maximum };
  const next = { current: wanted, maximum: maximum > wanted ? maximum : wanted };
  const limit = new Struct(16).setU64(0, next.current).setU64(8, next.maximum);
  const result = libc().setrlimit(resource, limit.bytes);
  checkLibc("setrlimit", result, () => `Cannot raise resource limit to ${wanted}`);
  return next;
}

/** Whether a process of this id exists, in this PID namespace. */
export function isProcessAlive(pid: number): boolean {
  if (libc().kill(pid, 0) === 0) return true;
  const errno = lastErrno();
  if (errno === Errno.ESRCH) return false;
  if (errno === Errno.EPERM) return true;
  throw new SyscallError("kill", errno, `Cannot tell whether process ${pid} is alive`);
}

/** Forbids core dumps of this process, and debuggers of other users: its memory holds keys. */
export function forbidDumps(): void {
  checkLibc("prctl", libc().prctl(PR_SET_DUMPABLE, null, 0, 0, 0), "Cannot forbid memory dumps");
}

/** Name of this thread in `ps`; 15 bytes at most count. */
export function nameThread(name: string): void {
  checkLibc("prctl", libc().prctl(PR_SET_NAME, cstring(name), 0, 0, 0), "Cannot name thread");
}

/** CLOCK_MONOTONIC in nanoseconds: the clock of `bpf_ktime_get_ns()`. */
export function monotonicNs(): bigint {
  checkLibc("clock_gettime", libc().clock_gettime(CLOCK_MONOTONIC, time.bytes));
  return time.u64(0) * 1_000_000_000n + time.u64(8);
}

const PR_SET_DUMPABLE = 4;
const PR_SET_NAME = 15;
const CLOCK_MONOTONIC = 1;
/** `struct timespec`, used again and again: the clock is read for every row. */
const time = new Struct(16);

const LIBC_PROCESS = {
  // int getrlimit(int resource, struct rlimit *limit);
  getrlimit: { parameters: ["i32", "buffer"], result: "i32" },
  // int setrlimit(int resource, const struct rlimit *limit);
  setrlimit: { parameters: ["i32", "buffer"], result: "i32" },
  // int kill(pid_t pid, int signal);
  kill: { parameters: ["i32", "i32"], result: "i32" },
  // int prctl(int option, unsigned long arg2, unsigned long arg3, unsigned long arg4,
  //           unsigned long arg5);
  prctl: { parameters: ["i32", "buffer", "u32", "u32", "u32"], result: "i32" },
  // int clock_gettime(clockid_t clock, struct timespec *time);
  clock_gettime: { parameters: ["i32", "buffer"], result: "i32" },
} as const satisfies Deno.ForeignLibraryInterface;

function libc(): Symbols<typeof LIBC_PROCESS> {
  return openLibrary("libc.so.6", LIBC_PROCESS);
}
