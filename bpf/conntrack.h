/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* The connection tables. A row is half open (forgettable, so that a flood of SYNs cannot take what
 * live connections need) until the handshake is complete; then it stays until the connection
 * ends. */
#ifndef WEFT_CONNTRACK_H
#define WEFT_CONNTRACK_H

#include "events.h"
#include "parse.h"

/* Half-open connections that one source may add in one epoch. */
#define BUDGET_EPOCH_NS 1000000000ull
#define BUDGET_MAX 16384
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

/* Whom a SYN is charged to: a local pod, else the source's /24 or /64. */
static __always_inline void charged(const struct weft_addr *source, int local,
				    struct weft_addr *whom)
{
	*whom = *source;
	if (!local && addr_is_v4(source)) {
		whom->word[3] &= bpf_htonl(0xffffff00);
	} else if (!local) {
		whom->word[2] = 0;
		whom->word[3] = 0;
	}
}

static __always_inline int within_budget(const struct weft_addr *source, int local)
{
	struct weft_addr whom;
	struct weft_budget *budget, fresh = { .count = 1 };
	__u64 epoch = bpf_ktime_get_ns() / BUDGET_EPOCH_NS;

	charged(source, local, &whom);
	budget = bpf_map_lookup_elem(&budgets, &whom);
	if (!budget) {
		fresh.epoch = epoch;
		return bpf_map_update_elem(&budgets, &whom, &fresh, BPF_ANY) == 0;
	}
	if (budget->epoch != epoch) {
		budget->epoch = epoch;
		budget->count = 0;
	}
	if (budget->count >= BUDGET_MAX)
		return 0;
	__sync_fetch_and_add(&budget->count, 1);
	return 1;
}

/* A completed handshake gives the credit back: only what stays half open is charged. */
static __always_inline void give_back(const struct weft_addr *source, int local)
{
	struct weft_addr whom;
	struct weft_budget *budget;

	charged(source, local, &whom);
	budget = bpf_map_lookup_elem(&budgets, &whom);
	if (budget && budget->count)
		__sync_fetch_and_add(&budget->count, -1);
}

/* The handshake is complete: the row may stay. Returns 0 if there is no room for it. */
static __always_inline struct weft_conn_row *establish(const struct weft_conn_key *key,
						       struct weft_conn_row *row)
{
	struct weft_conn_row kept = *row;

	kept.flags |= WEFT_CONN_ESTABLISHED;
	kept.touched_ns = bpf_ktime_get_ns();
	if (bpf_map_update_elem(&connections, key, &kept, BPF_ANY))
		return NULL;
	bpf_map_delete_elem(&half_open, key);
	return bpf_map_lookup_elem(&connections, key);
}

/* The connection has ended: its last packets find the row among the closing ones. */
static __always_inline void finish(const struct weft_conn_key *key, const struct weft_conn_row *row)
{
	struct weft_conn_row last = *row;

	bpf_map_update_elem(&closing, key, &last, BPF_ANY);
	bpf_map_delete_elem(&connections, key);
	bpf_map_delete_elem(&half_open, key);
}

/* Follows FIN and RST of a packet that passes. */
static __always_inline void follow(const struct weft_conn_key *key, struct weft_conn_row *row,
				   const struct packet *p, __u8 fin_flag)
{
	const __u8 both = WEFT_CONN_FIN_LOCAL | WEFT_CONN_FIN_REMOTE;
	__u64 now;

	if (p->tcp_flags & TCP_FIN)
		row->flags |= fin_flag;
	if ((p->tcp_flags & TCP_RST) || ((row->flags & both) == both)) {
		finish(key, row);
		return;
	}
	now = bpf_ktime_get_ns();
	if (now - row->touched_ns > TOUCH_INTERVAL_NS)
		row->touched_ns = now;
}

/* Remembers that the pod has sent a datagram or an echo request: the answer may come in. */
static __always_inline void expect_answer(const struct weft_conn_key *key)
{
	struct weft_conn_row *row = bpf_map_lookup_elem(&datagrams, key);
	struct weft_conn_row fresh = { .state = WEFT_STATE_OUTBOUND };

	if (row)
		return;
	fresh.touched_ns = bpf_ktime_get_ns();
	bpf_map_update_elem(&datagrams, key, &fresh, BPF_ANY);
}

#endif
