/**
 * The TCP (or UDP) sockets of a network namespace: listing them, and ending one.
 *
 * Acts in the namespace that this thread is in (see `withNetns`). A socket is named by the kernel's
 * cookie, so that one which took over the same addresses meanwhile is not hit by mistake. Ending a
 * socket resets the connection and lets both sides know (CONFIG_INET_DIAG_DESTROY).
 *
 * @module
 */

import { Errno } from "../errno.ts";
import { SyscallError } from "../errors.ts";
import { Struct } from "../memory.ts";
import { NetlinkProtocol, NetlinkSocket } from "./netlink.ts";

/** States of a TCP socket (include/net/tcp_states.h). */
export const TcpState = {
  ESTABLISHED: 1,
  SYN_SENT: 2,
  SYN_RECV: 3,
  FIN_WAIT1: 4,
  FIN_WAIT2: 5,
  TIME_WAIT: 6,
  CLOSE: 7,
  CLOSE_WAIT: 8,
  LAST_ACK: 9,
  LISTEN: 10,
  CLOSING: 11,
} as const;
export type TcpState = typeof TcpState[keyof typeof TcpState];

/** Protocols that can be listed. */
export const SocketProtocol = { TCP: 6, UDP: 17 } as const;
export type SocketProtocol = typeof SocketProtocol[keyof typeof SocketProtocol];

/** Lists the sockets of the current network namespace, of both address families. */
export function listSockets(
  states: readonly TcpState[] = Object.values(TcpState),
  protocol: SocketProtocol = SocketProtocol.TCP,
): SocketInfo[] {
  using socket = NetlinkSocket.open(NetlinkProtocol.SOCK_DIAG);
  const mask = states.reduce((bits, state) => bits | (1 << state), 0);
  return [AF_INET, AF_INET6].flatMap((family) => {
    const request = new Struct(REQUEST_SIZE).setU32(4, mask);
    request.bytes.set([family, protocol]);
    return socket.dump(SOCK_DIAG_BY_FAMILY, request.bytes, "Cannot list sockets")
      .map((payload) => parseSocket(payload, protocol));
  });
}

/** Ends a socket of the current network namespace; false when it is gone already. */
export function destroySocket(info: SocketInfo): boolean {
  using socket = NetlinkSocket.open(NetlinkProtocol.SOCK_DIAG);
  const request = new Struct(REQUEST_SIZE).setU32(4, 0xffff_ffff);
  request.bytes.set([info.family, info.protocol]);
  request.bytes.set(info.id, REQUEST_ID_OFFSET);
  try {
    socket.change(SOCK_DESTROY, request.bytes, "Cannot end a socket");
    return true;
  } catch (error) {
    if (error instanceof SyscallError && error.errno === Errno.ENOENT) return false;
    throw error;
  }
}

/** A socket. Addresses are 16 bytes, IPv4 as v4-mapped. */
export interface SocketInfo {
  readonly protocol: SocketProtocol;
  readonly state: TcpState;
  readonly localAddress: Uint8Array;
  readonly localPort: number;
  readonly remoteAddress: Uint8Array;
  readonly remotePort: number;
  /** Owner. */
  readonly uid: number;
  /** As in /proc/PID/fd; 0 when no process holds it. */
  readonly inode: number;
  /** SO_COOKIE. */
  readonly cookie: bigint;
  /** Address family of the socket itself: an AF_INET6 socket may carry IPv4. */
  readonly family: number;
  /** `struct inet_diag_sockid`, by which the kernel finds it again. */
  readonly id: Uint8Array;
}

const SOCK_DIAG_BY_FAMILY = 20;
const SOCK_DESTROY = 21;
const AF_INET = 2;
const AF_INET6 = 10;

/** `struct inet_diag_req_v2`, and where its `id` is. */
const REQUEST_SIZE = 56;
const REQUEST_ID_OFFSET = 8;
/** `struct inet_diag_msg`: family, state, timer, retrans, id, … */
const MESSAGE_ID_OFFSET = 4;
const ID_SIZE = 48;

function parseSocket(payload: Uint8Array, protocol: SocketProtocol): SocketInfo {
  const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
  const [family = 0, state = 0] = payload;
  const id = payload.slice(MESSAGE_ID_OFFSET, MESSAGE_ID_OFFSET + ID_SIZE);
  const after = MESSAGE_ID_OFFSET + ID_SIZE;
  return {
    protocol,
    state: state as TcpState,
    localAddress: addressOf(id.subarray(4, 20), family),
    localPort: view.getUint16(MESSAGE_ID_OFFSET),
    remoteAddress: addressOf(id.subarray(20, 36), family),
    remotePort: view.getUint16(MESSAGE_ID_OFFSET + 2),
    uid: view.getUint32(after + 12, true),
    inode: view.getUint32(after + 16, true),
    cookie: view.getBigUint64(MESSAGE_ID_OFFSET + 40, true),
    family,
    id,
  };
}

/** An AF_INET address stands in the first of four words. */
function addressOf(words: Uint8Array, family: number): Uint8Array {
  if (family === AF_INET6) return words;
  const address = new Uint8Array(16);
  address.set([0xff, 0xff], 10);
  address.set(words.subarray(0, 4), 12);
  return address;
}
