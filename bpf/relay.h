/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* Which listener of the relay gets a connection. A worker is there if it has offered a listener and
 * has told of itself of late: one that is stopped, or stuck, keeps its listeners, and whatever were
 * given to it would wait for as long. */
#ifndef WEFT_RELAY_H
#define WEFT_RELAY_H

#include "decide.h"

/* A time that has not come yet is no sign of life, either: it counts as very old. */
static __always_inline int is_alive(__u32 worker, const struct weft_config *conf)
{
	const __u64 *row = bpf_map_lookup_elem(&beats, &worker);
	__u64 beat;

	if (!row)
		return 0;
	beat = *(const volatile __u64 *)row; /* before the clock is read: it is never ahead */
	return beat && bpf_ktime_get_ns() - beat < (__u64)conf->silence_ms * 1000000;
}

/* The listener of the chosen worker, or of the next that is there; NULL without one. The caller
 * releases it. */
static __always_inline struct bpf_sock *listener_of(__u32 slot, __u32 direction, __u32 choice,
						    const struct weft_config *conf)
{
	__u32 workers = conf->workers;

	for (__u32 i = 0; i < WEFT_WORKERS_MAX && i < workers; i++) {
		__u32 worker = (choice + i) % workers;
		__u32 index = (slot * 2 + direction) * WEFT_WORKERS_MAX + worker;
		struct bpf_sock *listener;

		if (!is_alive(worker, conf))
			continue;
		listener = bpf_map_lookup_elem(&listeners, &index);
		if (listener)
			return listener;
	}
	return NULL;
}

#endif
