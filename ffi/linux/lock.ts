/**
 * A lock file: at most one process holds it, and the kernel releases it however that process ends.
 *
 * The file stays when the lock is released; removing it would let two processes lock two files of
 * the same name.
 *
 * @module
 */

import { checkLibc, lastErrno } from "../check.ts";
import { openLibrary, type Symbols } from "../dlopen.ts";
import { Errno } from "../errno.ts";
import { SyscallError } from "../errors.ts";
import { Fd } from "../fd.ts";
import { cstring } from "../memory.ts";

/** A lock that this process holds. */
export class FileLock implements Disposable {
  readonly #fd: Fd;

  private constructor(fd: Fd) {
    this.#fd = fd;
  }

  /** Locks the file at `path` (made if needed, 0600); undefined when another holds it. */
  static tryAcquire(path: string): FileLock | undefined {
    const raw = libc().open(cstring(path), O_RDWR | O_CREAT | O_CLOEXEC, 0o600);
    const fd = Fd.adopt(checkLibc("open", raw, () => `Cannot open lock file "${path}"`), path);
    if (libc().flock(fd.raw, LOCK_EX | LOCK_NB) === 0) return new FileLock(fd);
    const errno = lastErrno();
    fd.close();
    if (errno === Errno.EAGAIN) return undefined;
    throw new SyscallError("flock", errno, `Cannot lock "${path}"`);
  }

  /** Releases the lock. */
  [Symbol.dispose](): void {
    this.#fd.close();
  }
}

const O_RDWR = 2;
const O_CREAT = 0o100;
const O_CLOEXEC = 0o2000000;
const LOCK_EX = 2;
const LOCK_NB = 4;

const LIBC_LOCK = {
  // int open(const char *path, int flags, mode_t mode);
  open: { parameters: ["buffer", "i32", "u32"], result: "i32" },
  // int flock(int fd, int operation);
  flock: { parameters: ["i32", "i32"], result: "i32" },
} as const satisfies Deno.ForeignLibraryInterface;

function libc(): Symbols<typeof LIBC_LOCK> {
  return openLibrary("libc.so.6", LIBC_LOCK);
}
