/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* Counting and telling. An event that finds the ring full, or is one too many, is counted as lost
 * under its reason, never waited for. */
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

/* Whether one more of a kind may be told in this second. */
static __always_inline int within_quota(__u32 telling, __u32 max)
{
	__u64 second = bpf_ktime_get_ns() / 1000000000ull;
	struct weft_quota *quota = bpf_map_lookup_elem(&quotas, &telling);

	if (!quota)
		return 0;
	if (quota->second != second) {
		quota->second = second;
		quota->told = 0;
	}
	return quota->told++ < max;
}

/* Whether to tell of something that was allowed: what nobody listens to is told a few times in a
 * second, so that the recent past has examples; the counters have all of it. */
static __always_inline int may_tell(const struct weft_config *conf)
{
	return (conf->flags & WEFT_CONFIG_LISTENED) ||
	       within_quota(WEFT_TELLING_UNHEARD, WEFT_UNHEARD_MAX);
}

static __always_inline void lose(__u16 reason)
{
	count(WEFT_COUNTER_EVENTS_LOST);
	count(WEFT_COUNTER_LOST + reason);
}

static __always_inline void tell(const struct subject *s, __u8 hook, __u8 verdict, __u16 reason,
				 __u8 state)
{
	struct weft_event *event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);

	if (!event) {
		lose(reason);
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

/* Tells of what was dropped or refused, unless others have filled the second. */
static __always_inline void tell_refusal(const struct subject *s, __u8 hook, __u16 reason,
					 __u8 state, __u32 telling, __u32 max)
{
	if (within_quota(telling, max))
		tell(s, hook, WEFT_VERDICT_REFUSE, reason, state);
	else
		lose(reason);
}

#endif
