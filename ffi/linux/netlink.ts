/**
 * A netlink socket: one request, all its answers.
 *
 * In: a message type, flags and a payload. Out: the payloads of the answers. The kernel answers
 * while `send` is still running, so the receive that follows never waits for long and may be
 * synchronous; that makes a socket usable inside `withNetns`, where it must be opened to speak with
 * that namespace. A time-out guards against a kernel that does not answer.
 *
 * @module
 */

import { checkLibc, lastErrno } from "../check.ts";
import { openLibrary, type Symbols } from "../dlopen.ts";
import { Errno } from "../errno.ts";
import { SyscallError } from "../errors.ts";
import { Fd } from "../fd.ts";
import { boundedText, fixedBytes, Struct } from "../memory.ts";

/** Protocols of AF_NETLINK. */
export const NetlinkProtocol = { ROUTE: 0, SOCK_DIAG: 4 } as const;
export type NetlinkProtocol = typeof NetlinkProtocol[keyof typeof NetlinkProtocol];

/** A socket to the kernel in the network namespace where it was opened. */
export class NetlinkSocket implements Disposable {
  readonly #fd: Fd;
  readonly #buffer = fixedBytes(RECEIVE_SIZE_BYTES);
  #sequence = 0;

  private constructor(fd: Fd) {
    this.#fd = fd;
  }

  /** Opens a socket in the namespace that this thread is in. */
  static open(protocol: NetlinkProtocol): NetlinkSocket {
    const raw = libc().socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);
    const fd = Fd.adopt(checkLibc("socket", raw, "Cannot open netlink socket"), "netlink socket");
    const timeout = new Struct(16).setU64(0, TIMEOUT_SECONDS);
    const result = libc().setsockopt(fd.raw, SOL_SOCKET, SO_RCVTIMEO, timeout.bytes, 16);
    if (result !== 0) {
      const errno = lastErrno();
      fd.close();
      throw new SyscallError("setsockopt(SO_RCVTIMEO)", errno, "Cannot open netlink socket");
    }
    return new NetlinkSocket(fd);
  }

  /** Asks for one thing; the answer's payload, or an error. */
  get(type: number, payload: Uint8Array, action: string): Uint8Array {
    const [answer] = this.#exchange(type, NLM_F_REQUEST, payload, action).payloads;
    if (answer === undefined) throw new SyscallError("recv", Errno.ENODATA, action);
    return answer;
  }

  /** Changes something; returns when it is done. */
  change(type: number, payload: Uint8Array, action: string): void {
    this.#exchange(type, NLM_F_REQUEST | NLM_F_ACK, payload, action);
  }

  /** Lists everything; begins again when it changed meanwhile, so that the list is consistent. */
  dump(type: number, payload: Uint8Array, action: string): Uint8Array[] {
    for (let attempt = 1; attempt <= DUMP_ATTEMPTS_MAX; attempt++) {
      const answer = this.#exchange(type, NLM_F_REQUEST | NLM_F_DUMP, payload, action);
      if (!answer.interrupted) return answer.payloads;
    }
    throw new SyscallError("recv", Errno.EINTR, action);
  }

  [Symbol.dispose](): void {
    this.#fd.close();
  }

  #exchange(type: number, flags: number, payload: Uint8Array, action: string): Answer {
    const sequence = ++this.#sequence;
    const message = new Struct(HEADER_SIZE_BYTES + payload.length);
    message.setU32(0, message.bytes.length).setU32(8, sequence);
    message.view.setUint16(4, type, true);
    message.view.setUint16(6, flags, true);
    message.bytes.set(payload, HEADER_SIZE_BYTES);
    checkLibc("send", libc().send(this.#fd.raw, message.bytes, message.bytes.length, 0), action);
    const answer: Answer = { payloads: [], interrupted: false };
    const expect = flags & NLM_F_DUMP ? "end" : flags & NLM_F_ACK ? "acknowledgement" : "one";
    while (!this.#receive(sequence, expect, answer, action)) { /* more to come */ }
    return answer;
  }

  /** Reads one datagram of messages; true when the answer is complete. */
  #receive(sequence: number, expect: Expectation, answer: Answer, action: string): boolean {
    const received = libc().recv(this.#fd.raw, this.#buffer, this.#buffer.length, MSG_TRUNC);
    checkLibc("recv", received, action);
    if (received > this.#buffer.length) throw new SyscallError("recv", Errno.EMSGSIZE, action);
    const view = new DataView(this.#buffer.buffer, 0, received);
    for (let start = 0; start + HEADER_SIZE_BYTES <= received;) {
      const length = view.getUint32(start, true);
      const type = view.getUint16(start + 4, true);
      const flags = view.getUint16(start + 6, true);
      const body = this.#buffer.subarray(start + HEADER_SIZE_BYTES, start + length);
      const own = view.getUint32(start + 8, true) === sequence;
      start += align4(Math.max(length, HEADER_SIZE_BYTES));
      if (!own) continue; // the rest of an answer that was given up
      if (flags & NLM_F_DUMP_INTR) answer.interrupted = true;
      if (type === NLMSG_ERROR || type === NLMSG_DONE) {
        throwStatus(body, action);
        return true;
      }
      answer.payloads.push(body.slice());
      if (expect === "one") return true;
    }
    return false;
  }
}

/** Attributes of a message by type, from `offset` on. A repeated one counts with its last value. */
export function parseAttributes(payload: Uint8Array, offset: number): Map<number, Uint8Array> {
  const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
  const attributes = new Map<number, Uint8Array>();
  while (offset + 4 <= payload.length) {
    const length = view.getUint16(offset, true);
    if (length < 4 || offset + length > payload.length) break;
    const type = view.getUint16(offset + 2, true) & NLA_TYPE_MASK;
    attributes.set(type, payload.subarray(offset + 4, offset + length));
    offset += align4(length);
  }
  return attributes;
}

/** One attribute with a 32-bit value. */
export function attributeU32(type: number, value: number): Uint8Array {
  const attribute = new Struct(8).setU32(4, value >>> 0);
  attribute.view.setUint16(0, 8, true);
  attribute.view.setUint16(2, type, true);
  return attribute.bytes;
}

/** Value of a 32-bit attribute. */
export function readU32(attribute: Uint8Array | undefined): number | undefined {
  if (attribute === undefined || attribute.length < 4) return undefined;
  return new DataView(attribute.buffer, attribute.byteOffset, 4).getUint32(0, true);
}

/** Value of a text attribute; "" when it is absent. */
export function readText(attribute: Uint8Array | undefined): string {
  return attribute === undefined ? "" : boundedText(attribute);
}

type Expectation = "one" | "acknowledgement" | "end";

interface Answer {
  readonly payloads: Uint8Array[];
  interrupted: boolean;
}

const AF_NETLINK = 16;
const SOCK_RAW = 3;
const SOCK_CLOEXEC = 0o2000000;
const SOL_SOCKET = 1;
const SO_RCVTIMEO = 20;
const MSG_TRUNC = 0x20;

const NLM_F_REQUEST = 1;
const NLM_F_ACK = 4;
const NLM_F_DUMP = 0x300;
const NLM_F_DUMP_INTR = 0x10;
const NLMSG_ERROR = 2;
const NLMSG_DONE = 3;
const NLA_TYPE_MASK = 0x3fff;
const HEADER_SIZE_BYTES = 16;

/** The kernel fills at most 32 KiB of a dump into one datagram. */
const RECEIVE_SIZE_BYTES = 65_536;
const TIMEOUT_SECONDS = 5;
const DUMP_ATTEMPTS_MAX = 10;

const LIBC_NETLINK = {
  // int socket(int domain, int type, int protocol);
  socket: { parameters: ["i32", "i32", "i32"], result: "i32" },
  // int setsockopt(int fd, int level, int name, const void *value, socklen_t length);
  setsockopt: { parameters: ["i32", "i32", "i32", "buffer", "u32"], result: "i32" },
  // ssize_t send(int fd, const void *buf, size_t length, int flags);
  send: { parameters: ["i32", "buffer", "u32", "i32"], result: "i32" },
  // ssize_t recv(int fd, void *buf, size_t length, int flags);
  recv: { parameters: ["i32", "buffer", "u32", "i32"], result: "i32" },
} as const satisfies Deno.ForeignLibraryInterface;

function libc(): Symbols<typeof LIBC_NETLINK> {
  return openLibrary("libc.so.6", LIBC_NETLINK);
}

/** NLMSG_ERROR and NLMSG_DONE begin with 0 or a negative error number. */
function throwStatus(body: Uint8Array, action: string): void {
  const status = (readU32(body) ?? 0) | 0;
  if (status < 0) throw new SyscallError("netlink", -status, action);
}

function align4(length: number): number {
  return (length + 3) & ~3;
}
