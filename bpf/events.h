/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* Counting and telling. An event that finds the ring full is counted as lost, never waited for. */
#ifndef WEFT_EVENTS_H
#define WEFT_EVENTS_H

#include "maps.h"

static __always_inline void count(__u32 counter)
{
	__u64 *cell = bpf_map_lookup_elem(&counters, &counter);

	if (cell)
		*cell += 1;
}

/* The connection that an event speaks of, from the side that opened it. */
struct subject {
	const struct weft_addr *source;
	const struct weft_addr *target;
	__be16 source_port;
	__be16 target_port;
	__u8 proto;
};

static __always_inline void tell(const struct subject *s, __u8 hook, __u8 verdict, __u16 reason,
				 __u8 state)
{
	struct weft_event *event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);

	if (!event) {
		count(WEFT_COUNTER_EVENTS_LOST);
		return;
	}
	__builtin_memset(event, 0, sizeof(*event));
	event->time_ns = bpf_ktime_get_ns();
	event->source = *s->source;
	event->target = *s->target;
	event->source_port = s->source_port;
	event->target_port = s->target_port;
	event->reason = reason;
	event->verdict = verdict;
	event->hook = hook;
	event->proto = s->proto;
	event->state = state;
	bpf_ringbuf_submit(event, 0);
}

#endif
