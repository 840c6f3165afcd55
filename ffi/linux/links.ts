/**
 * Interfaces, their addresses, and which namespace is at the other end of a veth.
 *
 * Every function asks the network namespace that this thread is in (see `withNetns`). Namespace ids
 * are relative to it as well: the same namespace has another id elsewhere. Addresses are 16 bytes,
 * IPv4 as v4-mapped.
 *
 * @module
 */

import { Errno } from "../errno.ts";
import { SyscallError } from "../errors.ts";
import type { Fd } from "../fd.ts";
import { Struct } from "../memory.ts";
import {
  attributeU32,
  NetlinkProtocol,
  NetlinkSocket,
  parseAttributes,
  readText,
  readU32,
} from "./netlink.ts";

/** All interfaces of the current network namespace. */
export function listLinks(): Link[] {
  using socket = NetlinkSocket.open(NetlinkProtocol.ROUTE);
  const request = new Struct(LINK_HEADER_SIZE).bytes; // struct ifinfomsg, all zero
  return socket.dump(RTM_GETLINK, request, "Cannot list interfaces").map(parseLink);
}

/** All addresses of the current network namespace, of both families. */
export function listAddresses(): InterfaceAddress[] {
  using socket = NetlinkSocket.open(NetlinkProtocol.ROUTE);
  const request = new Struct(ADDRESS_HEADER_SIZE).bytes; // struct ifaddrmsg, all zero
  return socket.dump(RTM_GETADDR, request, "Cannot list addresses").flatMap(parseAddress);
}

/** The id by which the current network namespace knows another; undefined when it has none yet. */
export function netnsId(netns: Fd): number | undefined {
  using socket = NetlinkSocket.open(NetlinkProtocol.ROUTE);
  const action = `Cannot read id of network namespace "${netns.label}"`;
  const answer = socket.get(RTM_GETNSID, netnsRequest(attributeU32(NETNSA_FD, netns.raw)), action);
  const id = (readU32(parseAttributes(answer, NETNS_HEADER_SIZE).get(NETNSA_NSID)) ?? NO_ID) | 0;
  return id === NO_ID ? undefined : id;
}

/** Like `netnsId`, but lets the kernel choose an id where there is none. */
export function ensureNetnsId(netns: Fd): number {
  const known = netnsId(netns);
  if (known !== undefined) return known;
  using socket = NetlinkSocket.open(NetlinkProtocol.ROUTE);
  const action = `Cannot give network namespace "${netns.label}" an id`;
  const wanted = [attributeU32(NETNSA_NSID, NO_ID), attributeU32(NETNSA_FD, netns.raw)];
  try {
    socket.change(RTM_NEWNSID, netnsRequest(...wanted), action);
  } catch (error) {
    // Somebody else was quicker; the id that it got is as good.
    if (!(error instanceof SyscallError) || error.errno !== Errno.EEXIST) throw error;
  }
  const id = netnsId(netns);
  if (id === undefined) throw new SyscallError("netlink", Errno.ENOENT, action);
  return id;
}

/** An interface. */
export interface Link {
  readonly ifindex: number;
  readonly name: string;
  /** Kind of virtual device, such as "veth"; "" for hardware and loopback. */
  readonly kind: string;
  /** Ifindex of the other end (veth), in its own namespace. */
  readonly peerIfindex: number | undefined;
  /** Id of the namespace of the other end; undefined when it is this one. */
  readonly peerNetnsId: number | undefined;
  /** Ifindex of the bridge or bond that it belongs to. */
  readonly masterIfindex: number | undefined;
  /** Hardware address, 6 bytes on Ethernet. */
  readonly mac: Uint8Array;
  /** Whether it is administratively up. */
  readonly up: boolean;
  readonly loopback: boolean;
}

/** An address of an interface. */
export interface InterfaceAddress {
  readonly ifindex: number;
  /** 16 bytes. */
  readonly address: Uint8Array;
  /** Of 128 bits. */
  readonly prefixBits: number;
  /** RT_SCOPE_*: 0 global, 253 link, 254 host. */
  readonly scope: number;
  /** IPv6 only: duplicate address detection is still running, or found a duplicate. */
  readonly tentative: boolean;
}

const RTM_GETLINK = 18;
const RTM_GETADDR = 22;
const RTM_NEWNSID = 88;
const RTM_GETNSID = 90;
const LINK_HEADER_SIZE = 16;
const ADDRESS_HEADER_SIZE = 8;
/** `struct rtgenmsg`, padded. */
const NETNS_HEADER_SIZE = 4;

const IFLA_ADDRESS = 1;
const IFLA_IFNAME = 3;
const IFLA_LINK = 5;
const IFLA_MASTER = 10;
const IFLA_LINKINFO = 18;
const IFLA_LINK_NETNSID = 37;
const IFLA_INFO_KIND = 1;
const IFF_UP = 1;
const IFF_LOOPBACK = 8;

const IFA_ADDRESS = 1;
const IFA_LOCAL = 2;
const IFA_F_TENTATIVE_OR_FAILED = 0x40 | 0x08;
const AF_INET = 2;
const AF_INET6 = 10;

const NETNSA_NSID = 1;
const NETNSA_FD = 3;
/** NETNSA_NSID_NOT_ASSIGNED: "none" in an answer, "any" in a request. */
const NO_ID = -1;

function parseLink(payload: Uint8Array): Link {
  const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
  const attributes = parseAttributes(payload, LINK_HEADER_SIZE);
  const info = attributes.get(IFLA_LINKINFO);
  const flags = view.getUint32(8, true);
  const peer = readU32(attributes.get(IFLA_LINK));
  return {
    ifindex: view.getInt32(4, true),
    name: readText(attributes.get(IFLA_IFNAME)),
    kind: info === undefined ? "" : readText(parseAttributes(info, 0).get(IFLA_INFO_KIND)),
    peerIfindex: peer === 0 ? undefined : peer,
    peerNetnsId: readU32(attributes.get(IFLA_LINK_NETNSID)),
    masterIfindex: readU32(attributes.get(IFLA_MASTER)),
    mac: attributes.get(IFLA_ADDRESS) ?? new Uint8Array(),
    up: (flags & IFF_UP) !== 0,
    loopback: (flags & IFF_LOOPBACK) !== 0,
  };
}

function parseAddress(payload: Uint8Array): InterfaceAddress[] {
  const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
  const [family = 0, prefixLength = 0, flags = 0, scope = 0] = payload;
  if (family !== AF_INET && family !== AF_INET6) return [];
  const attributes = parseAttributes(payload, ADDRESS_HEADER_SIZE);
  // On a point-to-point link IFA_ADDRESS is the other side's; IFA_LOCAL is always ours.
  const own = attributes.get(IFA_LOCAL) ?? attributes.get(IFA_ADDRESS);
  if (own === undefined) return [];
  return [{
    ifindex: view.getUint32(4, true),
    address: family === AF_INET ? mappedAddress(own) : own,
    prefixBits: family === AF_INET ? prefixLength + 96 : prefixLength,
    scope,
    tentative: family === AF_INET6 && (flags & IFA_F_TENTATIVE_OR_FAILED) !== 0,
  }];
}

function netnsRequest(...attributes: readonly Uint8Array[]): Uint8Array {
  const request = new Uint8Array(NETNS_HEADER_SIZE + 8 * attributes.length);
  attributes.forEach((attribute, i) => request.set(attribute, NETNS_HEADER_SIZE + 8 * i));
  return request;
}

/** ::ffff:a.b.c.d */
function mappedAddress(ip4: Uint8Array): Uint8Array {
  const address = new Uint8Array(16);
  address.set([0xff, 0xff], 10);
  address.set(ip4, 12);
  return address;
}
