/**
 * Readiness of many descriptors: epoll, level-triggered.
 *
 * In: descriptors with the events of interest. Out: `wait` fills an array that is reused; `ready`
 * and
 * `events` read it. Invariant: an entry names the descriptor's number only, so whoever closes one
 * must not let the number be used again before the batch is worked off.
 *
 * @module
 */

import { checkLibc, lastErrno } from "../check.ts";
import { openLibrary } from "../dlopen.ts";
import { Errno } from "../errno.ts";
import { Fd } from "../fd.ts";
import { Struct } from "../memory.ts";

export const EPOLLIN = 0x1;
export const EPOLLOUT = 0x4;
export const EPOLLERR = 0x8;
export const EPOLLHUP = 0x10;
export const EPOLLRDHUP = 0x2000;

export class Epoll implements Disposable {
  readonly #fd: Fd;
  readonly #ready: Struct;
  readonly #capacity: number;
  readonly #change = new Struct(EVENT_SIZE);

  constructor(capacity = 256) {
    const raw = checkLibc("epoll_create1", C.epoll_create1(EPOLL_CLOEXEC), "Cannot make an epoll");
    this.#fd = Fd.adopt(raw, "epoll");
    this.#capacity = capacity;
    this.#ready = new Struct(EVENT_SIZE * capacity);
  }

  /** Watches `fd`. ERR and HUP are always reported. */
  add(fd: number, events: number): void {
    this.#control(EPOLL_CTL_ADD, fd, events);
  }

  /** Changes what is watched of `fd`. */
  modify(fd: number, events: number): void {
    this.#control(EPOLL_CTL_MOD, fd, events);
  }

  /** Watches `fd` no longer. */
  remove(fd: number): void {
    this.#control(EPOLL_CTL_DEL, fd, 0);
  }

  /** Waits for events, at most `timeoutMs` (-1: for ever); returns how many there are. */
  wait(timeoutMs: number): number {
    const count = C.epoll_wait(this.#fd.raw, this.#ready.bytes, this.#capacity, timeoutMs);
    if (count >= 0) return count;
    if (lastErrno() === Errno.EINTR) return 0;
    return checkLibc("epoll_wait", count, "Cannot wait for events");
  }

  /** The descriptor of entry `index`. */
  ready(index: number): number {
    return this.#ready.view.getInt32(index * EVENT_SIZE + 4, true);
  }

  /** The events of entry `index`. */
  events(index: number): number {
    return this.#ready.view.getUint32(index * EVENT_SIZE, true);
  }

  [Symbol.dispose](): void {
    this.#fd.close();
  }

  #control(operation: number, fd: number, events: number): void {
    this.#change.view.setUint32(0, events, true);
    this.#change.view.setInt32(4, fd, true);
    const result = C.epoll_ctl(this.#fd.raw, operation, fd, this.#change.bytes);
    if (result !== 0) checkLibc("epoll_ctl", result, `Cannot watch descriptor ${fd}`);
  }
}

const LIBC_EPOLL = {
  // int epoll_create1(int flags);
  epoll_create1: { parameters: ["i32"], result: "i32" },
  // int epoll_ctl(int epfd, int op, int fd, struct epoll_event *event);
  epoll_ctl: { parameters: ["i32", "i32", "i32", "buffer"], result: "i32" },
  // int epoll_wait(int epfd, struct epoll_event *events, int maxevents, int timeout);
  epoll_wait: { parameters: ["i32", "buffer", "i32", "i32"], result: "i32" },
} as const satisfies Deno.ForeignLibraryInterface;

/** Bound once: `wait` is called for every turn of the relay's loop. */
const C = openLibrary("libc.so.6", LIBC_EPOLL);

const EPOLL_CLOEXEC = 0o2000000;
const EPOLL_CTL_ADD = 1;
const EPOLL_CTL_DEL = 2;
const EPOLL_CTL_MOD = 3;
/** struct epoll_event is packed on x86-64 and padded to 16 bytes elsewhere. */
const EVENT_SIZE = Deno.build.arch === "x86_64" ? 12 : 16;
