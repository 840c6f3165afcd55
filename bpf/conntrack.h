/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* The connection tables. A row is half open (forgettable, so that a flood of SYNs cannot take what
 * live connections need) until the handshake is complete; then it stays until the connection
 * ends. */
#ifndef WEFT_CONNTRACK_H
#define WEFT_CONNTRACK_H

#include "budget.h"
#include "parse.h"

#define TOUCH_INTERVAL_NS 1000000000ull

static __always_inline struct weft_conn_row *find_row(const struct weft_conn_key *key)
{
	struct weft_conn_row *row = bpf_map_lookup_elem(&connections, key);

	if (!row)
		row = bpf_map_lookup_elem(&half_open, key);
	if (!row)
		row = bpf_map_lookup_elem(&closing, key);
	return row;
}

/* Deletes the row of a connection that has ended, and gives back its place exactly once. */
static __always_inline void forget(const struct weft_conn_key *key, const struct weft_conn_row *row,
				   __u64 cookie)
{
	struct weft_conn_row last = *row;

	if (bpf_map_delete_elem(&connections, key) == 0)
		give_back_for(&last, cookie);
}

/* The handshake is complete: the row may stay. Returns NULL if there is no room for it: then it is
 * half open for as long, and the next packet asks again. */
static __always_inline struct weft_conn_row *establish(const struct weft_conn_key *key,
						       struct weft_conn_row *row, __u64 cookie,
						       const struct weft_config *conf)
{
	struct weft_conn_row kept = *row;
	struct weft_conn_row *known;
	const __u64 began_ns = kept.touched_ns;

	if (!spend_for(&kept, cookie, conf))
		return NULL;
	kept.flags |= WEFT_CONN_ESTABLISHED;
	kept.touched_ns = bpf_ktime_get_ns();
	if (bpf_map_update_elem(&connections, key, &kept, BPF_NOEXIST)) {
		give_back_for(&kept, cookie); /* full, or another CPU was first */
	} else {
		kept.touched_ns = began_ns;
		complete_for(&kept, cookie);
	}
	known = bpf_map_lookup_elem(&connections, key);
	if (known)
		bpf_map_delete_elem(&half_open, key);
	return known;
}

/* The connection has ended: its last packets find the row among the closing ones. */
static __always_inline void finish(const struct weft_conn_key *key, const struct weft_conn_row *row,
				   __u64 cookie)
{
	struct weft_conn_row last = *row;

	if (last.state != WEFT_STATE_REFUSE)
		last.flags |= WEFT_CONN_ESTABLISHED; /* it does not begin again */
	bpf_map_update_elem(&closing, key, &last, BPF_ANY);
	forget(key, &last, cookie);
	bpf_map_delete_elem(&half_open, key);
}

static __always_inline void touch(struct weft_conn_row *row)
{
	__u64 now = bpf_ktime_get_ns();

	if (now - row->touched_ns > TOUCH_INTERVAL_NS)
		row->touched_ns = now;
}

/* The first packet of a connection. */
static __always_inline int begins(const struct packet *p)
{
	return (p->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN;
}

/* The row of a complete connection whose addresses and verdict were checked on this veth, and since
 * when no plan has come: its packets pass without another look. */
static __always_inline struct weft_conn_row *checked_row(const struct weft_conn_key *key,
							 const struct __sk_buff *skb,
							 __u32 revision)
{
	struct weft_conn_row *row = bpf_map_lookup_elem(&connections, key);

	if (!row || row->ifindex != skb->ifindex || row->revision != revision)
		return NULL;
	switch (row->state) {
	case WEFT_STATE_NODE:
	case WEFT_STATE_DIRECT:
	case WEFT_STATE_STEERED:
	case WEFT_STATE_OUTBOUND:
		return row;
	default:
		return NULL;
	}
}

/* Notes that the row passed all checks; of a half-open one nothing is noted, for a SYN that is sent
 * again is judged again when the plan has changed. */
static __always_inline void remember_check(struct weft_conn_row *row, const struct __sk_buff *skb,
					   __u32 revision)
{
	if (!(row->flags & WEFT_CONN_ESTABLISHED))
		return;
	row->revision = revision;
	row->ifindex = skb->ifindex;
}

/* Follows FIN and RST of a packet that passes. A RST that need not end the connection leaves the
 * row to the sweep, which looks whether the pod still has its socket. */
static __always_inline void follow(const struct weft_conn_key *key, struct weft_conn_row *row,
				   const struct packet *p, __u8 fin_flag, __u64 cookie,
				   int reset_ends)
{
	const __u8 both = WEFT_CONN_FIN_LOCAL | WEFT_CONN_FIN_REMOTE;

	if ((row->flags & both) == both)
		return; /* it has been finished, and this is the row among the closing ones */
	if (p->tcp_flags & TCP_FIN)
		row->flags |= fin_flag;
	if (((p->tcp_flags & TCP_RST) && reset_ends) || ((row->flags & both) == both)) {
		finish(key, row, cookie);
		return;
	}
	if (p->tcp_flags & TCP_RST)
		row->flags |= WEFT_CONN_DOUBTED;
	else
		touch(row);
}

/* Remembers that the pod has sent a datagram or an echo request: the answer may come in. Returns 0
 * if the pod has sent to too many. */
static __always_inline int expect_answer(const struct weft_conn_key *key, __u64 cookie,
					 const struct weft_config *conf)
{
	struct weft_conn_row fresh = { .state = WEFT_STATE_OUTBOUND };
	struct weft_addr payer;

	if (bpf_map_lookup_elem(&datagrams, key))
		return 1;
	pay_as_pod(&payer, WEFT_PAYER_DATAGRAMS, cookie);
	if (!begin(&payer, conf->half_open_max))
		return 0;
	fresh.touched_ns = bpf_ktime_get_ns();
	return bpf_map_update_elem(&datagrams, key, &fresh, BPF_ANY) == 0;
}

#endif
