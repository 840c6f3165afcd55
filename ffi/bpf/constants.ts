/**
 * Numbers of the kernel's BPF interface (include/uapi/linux/bpf.h) that weft uses. Data only.
 *
 * @module
 */

/** `enum bpf_attach_type`. */
export const AttachType = {
  CGROUP_INET_INGRESS: 0,
  CGROUP_INET_EGRESS: 1,
  CGROUP_SOCK_OPS: 3,
  SK_MSG_VERDICT: 7,
  CGROUP_INET4_CONNECT: 10,
  CGROUP_INET6_CONNECT: 11,
  CGROUP_UDP4_SENDMSG: 14,
  CGROUP_UDP6_SENDMSG: 15,
  CGROUP_UDP4_RECVMSG: 19,
  CGROUP_UDP6_RECVMSG: 20,
  CGROUP_INET4_GETPEERNAME: 29,
  CGROUP_INET6_GETPEERNAME: 30,
  CGROUP_INET_SOCK_RELEASE: 34,
  SK_LOOKUP: 36,
  TCX_INGRESS: 46,
  TCX_EGRESS: 47,
} as const;
export type AttachType = typeof AttachType[keyof typeof AttachType];

/** `enum bpf_map_type`. */
export const MapType = {
  HASH: 1,
  ARRAY: 2,
  PROG_ARRAY: 3,
  PERCPU_HASH: 5,
  PERCPU_ARRAY: 6,
  LRU_HASH: 9,
  LRU_PERCPU_HASH: 10,
  LPM_TRIE: 11,
  ARRAY_OF_MAPS: 12,
  HASH_OF_MAPS: 13,
  SOCKMAP: 15,
  SOCKHASH: 18,
  SK_STORAGE: 24,
  RINGBUF: 27,
} as const;
export type MapType = typeof MapType[keyof typeof MapType];

/** `enum bpf_prog_type`. */
export const ProgramType = {
  SOCKET_FILTER: 1,
  SCHED_CLS: 3,
  CGROUP_SKB: 8,
  SOCK_OPS: 13,
  SK_MSG: 16,
  CGROUP_SOCK_ADDR: 18,
  SK_LOOKUP: 30,
} as const;
export type ProgramType = typeof ProgramType[keyof typeof ProgramType];

/** `enum bpf_link_type`. */
export const LinkType = { CGROUP: 3, NETNS: 5, TCX: 11, SOCKMAP: 14 } as const;
export type LinkType = typeof LinkType[keyof typeof LinkType];

/** Flags of `BPF_MAP_UPDATE_ELEM`. */
export const UpdateFlag = {
  /** Create or replace. */
  ANY: 0,
  /** Create; EEXIST when it is there. */
  NOEXIST: 1,
  /** Replace; ENOENT when it is not there. */
  EXIST: 2,
} as const;
export type UpdateFlag = typeof UpdateFlag[keyof typeof UpdateFlag];

/** Flags of map creation. */
export const MapFlag = { NO_PREALLOC: 1, RDONLY_PROG: 1 << 7, WRONLY_PROG: 1 << 8 } as const;

/** Flags of attachment to a list of programs (TCX). */
export const AttachFlag = { REPLACE: 1 << 2, BEFORE: 1 << 3, AFTER: 1 << 4 } as const;
