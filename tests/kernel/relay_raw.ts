/**
 * An application's end of a connection as the kernel has it: no runtime reads ahead of the test,
 * and a reset is a reset when the test says so.
 *
 * In: a pod of the rig. Out: descriptors of its namespace. Invariant: every wait is for the kernel,
 * and has a deadline; the relays' workers run on threads of their own meanwhile.
 *
 * @module
 */

import assert from "node:assert/strict";
import { Errno } from "@/ffi/errno.ts";
import { Epoll, EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT } from "@/ffi/linux/epoll.ts";
import { withNetns } from "@/ffi/linux/netns.ts";
import {
  abortOnClose,
  accept,
  closeSocket,
  connect,
  openTcpListener,
  openTcpSocket,
  receive,
  send,
  shutdownWrite,
  socketName,
} from "@/ffi/linux/socket.ts";
import { parseAddress } from "@/src/model/address.ts";
import type { RigPod } from "./relay_rig.ts";

/** How long anything may take that the kernel or a relay does. */
const PATIENCE_MS = 5000;
/** Buffers that take nothing for so long are full: nobody announces that. */
const QUIET_MS = 300;

/** How a connection ended for who reads it. */
export interface Ending {
  readonly text: string;
  readonly how: "end" | "reset";
}

export class RawEnd implements Disposable {
  readonly fd: number;
  #open = true;

  constructor(fd: number) {
    this.fd = fd;
  }

  /** Dials from within a pod's namespace. */
  static dial(pod: RigPod, address: string, port: number): RawEnd {
    const bytes = parseAddress(address) ?? assert.fail(address);
    const fd = withNetns(pod.netns, () => openTcpSocket(bytes));
    connect(fd, { address: bytes, port });
    return new RawEnd(fd);
  }

  /** What an application does whose connection is steered. */
  static dialOut(pod: RigPod): RawEnd {
    return RawEnd.dial(pod, "127.0.0.1", pod.ports.get("outbound") ?? 0);
  }

  write(text: string): void {
    const bytes = new TextEncoder().encode(text);
    assert.equal(send(this.fd, bytes, bytes.length), bytes.length);
  }

  /** Sends `size` bytes at the receiver's pace; how many were taken before all was full. */
  fill(size: number): number {
    const chunk = new Uint8Array(1 << 16);
    let left = size;
    while (left > 0) {
      const sent = send(this.fd, chunk, Math.min(left, chunk.length));
      if (sent > 0) left -= sent;
      else if (sent !== -Errno.EAGAIN || wait(this.fd, EPOLLOUT, QUIET_MS) === 0) break;
    }
    return size - left;
  }

  /** Reads exactly `size` bytes. */
  read(size: number): string {
    const bytes = new Uint8Array(size);
    let at = 0;
    while (at < size) {
      const count = receive(this.fd, bytes.subarray(at), size - at);
      if (count > 0) at += count;
      else if (count === -Errno.EAGAIN) expect(this.fd, EPOLLIN);
      else assert.fail(`the connection ended with ${count} after ${at} bytes`);
    }
    return new TextDecoder().decode(bytes);
  }

  /** What comes first: nothing, where the other has gone without a word. */
  said(): string {
    expect(this.fd, EPOLLIN);
    const bytes = new Uint8Array(1 << 16);
    const count = receive(this.fd, bytes, bytes.length);
    return new TextDecoder().decode(bytes.subarray(0, Math.max(0, count)));
  }

  /** Reads all that comes. */
  ending(): Ending {
    const bytes = new Uint8Array(1 << 16);
    let text = "";
    for (;;) {
      const count = receive(this.fd, bytes, bytes.length);
      if (count > 0) text += new TextDecoder("latin1").decode(bytes.subarray(0, count));
      else if (count === -Errno.EAGAIN) expect(this.fd, EPOLLIN);
      else if (count === 0) return { text, how: "end" };
      else {
        assert.equal(count, -Errno.ECONNRESET);
        return { text, how: "reset" };
      }
    }
  }

  /** Waits for a reset without reading, and then meets it. */
  expectReset(): void {
    expect(this.fd, EPOLLERR | EPOLLHUP);
    const sent = send(this.fd, new Uint8Array(1), 1);
    assert.ok(sent === -Errno.ECONNRESET || sent === -Errno.EPIPE, `send gave ${sent}`);
  }

  /** Ends this direction. */
  end(): void {
    shutdownWrite(this.fd);
  }

  /** SO_LINGER with no time at all. */
  reset(): void {
    abortOnClose(this.fd);
    this[Symbol.dispose]();
  }

  [Symbol.dispose](): void {
    if (this.#open) closeSocket(this.fd);
    this.#open = false;
  }
}

/** An application that listens. */
export class RawListener implements Disposable {
  readonly #fd: number;
  readonly port: number;

  constructor(pod: RigPod) {
    this.#fd = withNetns(pod.netns, () => openTcpListener(4096));
    this.port = socketName(this.#fd)?.port ?? 0;
  }

  accept(): RawEnd {
    expect(this.#fd, EPOLLIN);
    const fd = accept(this.#fd);
    assert.ok(fd >= 0, `accept gave ${fd}`);
    return new RawEnd(fd);
  }

  [Symbol.dispose](): void {
    closeSocket(this.#fd);
  }
}

function expect(fd: number, events: number): void {
  assert.notEqual(wait(fd, events, PATIENCE_MS), 0, "nothing happened");
}

/** Which of `events` have come; zero when the time is over. */
function wait(fd: number, events: number, timeoutMs: number): number {
  using epoll = new Epoll(1);
  epoll.add(fd, events);
  return epoll.wait(timeoutMs) === 0 ? 0 : epoll.events(0);
}
