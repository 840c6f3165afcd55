/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* All maps, shared by every program of one agent and pinned by name. Hashes that hold live
 * connections are never LRU (one pod could evict another's); what may be forgotten is. */
#ifndef WEFT_MAPS_H
#define WEFT_MAPS_H

#include <linux/bpf.h>
#include <linux/in.h>
#include <bpf/bpf_helpers.h>
#include "layout.h"

#define MAP_HASH(name, key_type, value_type, entries)                                              \
	struct {                                                                                   \
		__uint(type, BPF_MAP_TYPE_HASH);                                                   \
		__uint(max_entries, entries);                                                      \
		__uint(map_flags, BPF_F_NO_PREALLOC);                                              \
		__type(key, key_type);                                                             \
		__type(value, value_type);                                                         \
	} name SEC(".maps")

#define MAP_LRU(name, key_type, value_type, entries)                                               \
	struct {                                                                                   \
		__uint(type, BPF_MAP_TYPE_LRU_HASH);                                               \
		__uint(max_entries, entries);                                                      \
		__type(key, key_type);                                                             \
		__type(value, value_type);                                                         \
	} name SEC(".maps")

#define MAP_ARRAY(name, value_type, entries)                                                       \
	struct {                                                                                   \
		__uint(type, BPF_MAP_TYPE_ARRAY);                                                  \
		__uint(max_entries, entries);                                                      \
		__type(key, __u32);                                                                \
		__type(value, value_type);                                                         \
	} name SEC(".maps")

/* What the plan says. */
MAP_ARRAY(config, struct weft_config, 1);
MAP_ARRAY(decisions, struct weft_decision, WEFT_DECISIONS);
MAP_HASH(addresses, struct weft_addr, struct weft_address_row, 65536);
MAP_HASH(ports, struct weft_port_key, struct weft_port_row, 65536);
MAP_HASH(pods, __u64, struct weft_pod_row, 1024);
MAP_HASH(veths, __u32, struct weft_veth_row, 1024);
MAP_HASH(services, struct weft_port_key, struct weft_service_row, 65536);
MAP_HASH(backends, struct weft_backend_key, struct weft_backend_row, 262144);

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 16384);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct weft_cidr_key);
	__type(value, __u32);
} cidrs SEC(".maps");

/* The relay's listeners: ((slot * 2 + direction) * WEFT_WORKERS_MAX) + worker; 0 is outbound. */
struct {
	__uint(type, BPF_MAP_TYPE_SOCKMAP);
	__uint(max_entries, 1024 * 2 * WEFT_WORKERS_MAX);
	__type(key, __u32);
	__type(value, __u64);
} listeners SEC(".maps");

/* CLOCK_MONOTONIC of the last time that each relay worker told of itself. */
MAP_ARRAY(beats, __u64, WEFT_WORKERS_MAX);

/* What the kernel learns. `datagram_names`, `closing` and `unknown_peers` are LRU and of all pods
 * together: one that has tens of thousands of sockets pushes the rows of others out. That opens
 * nothing, for where such a row is missing less passes, never more. It costs the others this: an
 * answer of a Service shows the backend's address, which its client may not want; the last packets
 * of a closed connection are dropped, and its ends time out; a peer that is not known yet is met
 * with silence for longer; what waits for the next agent is refused at once. A connection is half
 * open until its handshake is complete, then it has a row in `connections` until it ends, and is
 * remembered in `closing` for its last packets. */
MAP_HASH(connections, struct weft_conn_key, struct weft_conn_row, 524288);
MAP_LRU(half_open, struct weft_conn_key, struct weft_conn_row, 65536);
MAP_LRU(closing, struct weft_conn_key, struct weft_conn_row, 16384);
MAP_LRU(datagrams, struct weft_conn_key, struct weft_conn_row, 65536);
MAP_LRU(datagram_names, struct weft_datagram_key, struct weft_datagram_name, 65536);
MAP_LRU(unknown_peers, struct weft_addr, __u64, 16384);
MAP_LRU(budgets, struct weft_addr, struct weft_budget, 16384);
MAP_HASH(pod_budgets, struct weft_addr, struct weft_budget, 4096);
MAP_HASH(steered, struct weft_steer_key, struct weft_steer_row, 65536);
MAP_HASH(clients, struct weft_steer_key, struct weft_steer_row, 65536);

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct weft_socket);
} sockets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, WEFT_COUNTER_MAX);
	__type(key, __u32);
	__type(value, __u64);
} counters SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, WEFT_TELLING_MAX);
	__type(key, __u32);
	__type(value, struct weft_quota);
} quotas SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} events SEC(".maps");

#endif
