/**
 * An owned file descriptor.
 *
 * Whoever holds an `Fd` must dispose of it (`using`), or give it away with `take()`. Nothing is
 * closed by the garbage collector: a descriptor that is closed at a random moment may by then be
 * another file. Instead every open one is in a register, which tests read to find leaks.
 *
 * @module
 */

import { checkLibc } from "./check.ts";
import { openLibrary } from "./dlopen.ts";

/** An open descriptor with one owner. */
export class Fd implements Disposable {
  /** What it is, for messages and the leak register. */
  readonly label: string;
  #raw: number;

  private constructor(raw: number, label: string) {
    this.#raw = raw;
    this.label = label;
  }

  /** Takes ownership of `raw`, an open descriptor that nobody else will close. */
  static adopt(raw: number, label: string): Fd {
    if (!Number.isInteger(raw) || raw < 0) {
      throw new RangeError(`Cannot adopt descriptor of "${label}": current value is ${raw}`);
    }
    const fd = new Fd(raw, label);
    register.set(fd, tracing ? new Error(`Descriptor of "${label}"`) : undefined);
    return fd;
  }

  /** Duplicates `raw`, which stays its owner's; the copy is close-on-exec. */
  static duplicate(raw: number, label: string): Fd {
    const copy = libc().fcntl(raw, F_DUPFD_CLOEXEC, 0);
    return Fd.adopt(checkLibc("fcntl", copy, `Cannot duplicate descriptor of "${label}"`), label);
  }

  /** The number, to hand to a call. Throws when it was closed or given away. */
  get raw(): number {
    if (this.#raw < 0) {
      throw new TypeError(`Cannot use descriptor of "${this.label}": it is closed`);
    }
    return this.#raw;
  }

  /** Whether it was closed or given away. */
  get closed(): boolean {
    return this.#raw < 0;
  }

  /** Gives ownership away: the caller must see to it that the number is closed. */
  take(): number {
    const raw = this.raw;
    this.#raw = -1;
    register.delete(this);
    return raw;
  }

  /** A second descriptor of the same open file, close-on-exec. */
  duplicate(label = this.label): Fd {
    return Fd.duplicate(this.raw, label);
  }

  /** Closes it; harmless when it is closed already. */
  close(): void {
    if (this.#raw < 0) return;
    libc().close(this.take()); // Linux frees the number whatever close() returns
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** An open descriptor, as the leak register shows it. */
export interface OpenDescriptor {
  readonly label: string;
  readonly raw: number;
  /** Where it was opened, if `traceDescriptors` was on then. */
  readonly stack: string | undefined;
}

/** Every `Fd` of this isolate that is open now. */
export function openDescriptors(): readonly OpenDescriptor[] {
  return [...register].map(([fd, trace]) => ({
    label: fd.label,
    raw: fd.raw,
    stack: trace?.stack,
  }));
}

/** Remembers from now on where each descriptor was opened. For tests: it is slow. */
export function traceDescriptors(on: boolean): void {
  tracing = on;
}

const F_DUPFD_CLOEXEC = 1030;

const LIBC_FD = {
  // int close(int fd);
  close: { parameters: ["i32"], result: "i32" },
  // int fcntl(int fd, int op, ... /* int arg */);
  fcntl: { parameters: ["i32", "i32", "i32"], result: "i32" },
} as const satisfies Deno.ForeignLibraryInterface;

const register = new Map<Fd, Error | undefined>();
let tracing = false;

function libc(): ReturnType<typeof openLibrary<typeof LIBC_FD>> {
  return openLibrary("libc.so.6", LIBC_FD);
}
