/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* Who pays for the rows of the connection tables, so that nobody can take what others need. The
 * local pod that opens a connection pays for its rows, at both ends; otherwise the network from
 * which it comes pays, and so does the pod to which it goes. */
#ifndef WEFT_BUDGET_H
#define WEFT_BUDGET_H

#include "events.h"
#include "decide.h"

/* Half-open connections are counted anew in every epoch. */
#define BUDGET_EPOCH_NS 1000000000ull

static __always_inline void pay_as_pod(struct weft_addr *payer, __u32 role, __u64 cookie)
{
	payer->word[0] = WEFT_PAYER_POD;
	payer->word[1] = role;
	payer->word[2] = cookie >> 32;
	payer->word[3] = cookie;
}

/* An outsider pays by its network, for it could have many addresses there; a known pod or node by
 * its address, for its neighbours are others. */
static __always_inline void pay_as_outsider(struct weft_addr *payer, const struct weft_addr *source,
					    int known)
{
	*payer = *source;
	if (known)
		return;
	if (addr_is_v4(source)) {
		payer->word[3] &= bpf_htonl(0xffffff00);
	} else {
		payer->word[2] = 0xffffffff; /* else ::/64 would be nobody, who has no bounds */
		payer->word[3] = 0;
	}
}

static __always_inline int is_pod_payer(const struct weft_addr *payer)
{
	return payer->word[0] == WEFT_PAYER_POD;
}

static __always_inline struct weft_budget *budget_of(const struct weft_addr *payer)
{
	return is_pod_payer(payer) ? bpf_map_lookup_elem(&pod_budgets, payer) :
				     bpf_map_lookup_elem(&budgets, payer);
}

static __always_inline struct weft_budget *open_budget(const struct weft_addr *payer)
{
	struct weft_budget *budget = budget_of(payer);
	struct weft_budget fresh = {};

	if (budget)
		return budget;
	if (is_pod_payer(payer))
		bpf_map_update_elem(&pod_budgets, payer, &fresh, BPF_NOEXIST);
	else
		bpf_map_update_elem(&budgets, payer, &fresh, BPF_NOEXIST);
	return budget_of(payer);
}

/* Whether a payer may take one more. Two CPUs may give the same place back: less than none taken is
 * none. */
static __always_inline int has_room_for(__u32 taken, __u32 max)
{
	return (__s32)taken < 0 || taken < max;
}

static __always_inline void take(__u32 *taken)
{
	__sync_fetch_and_add(taken, 1);
}

static __always_inline void leave(__u32 *taken)
{
	if ((__s32)*taken > 0)
		__sync_fetch_and_add(taken, -1);
}

/* Charges the beginning of a connection; returns the budget, or NULL if it has begun too many. */
static __always_inline struct weft_budget *begin(const struct weft_addr *payer, __u32 max)
{
	struct weft_budget *budget = open_budget(payer);
	__u64 epoch = bpf_ktime_get_ns() / BUDGET_EPOCH_NS;

	if (!budget)
		return NULL;
	if (budget->epoch != epoch) {
		budget->epoch = epoch;
		budget->half_open = 0;
	}
	if (!has_room_for(budget->half_open, max))
		return NULL;
	take(&budget->half_open);
	return budget;
}

/* What has been completed was none of a flood, and is no longer half open. */
static __always_inline void complete(const struct weft_addr *payer, __u64 began_ns)
{
	struct weft_budget *budget = budget_of(payer);

	if (budget && budget->epoch == began_ns / BUDGET_EPOCH_NS)
		leave(&budget->half_open);
}

/* Charges a row that stays; returns 0 if the payer has too many. */
static __always_inline int spend(const struct weft_addr *payer, __u32 max)
{
	struct weft_budget *budget = open_budget(payer);

	if (!budget || !has_room_for(budget->established, max))
		return 0;
	take(&budget->established);
	return 1;
}

static __always_inline void give_back(const struct weft_addr *payer)
{
	struct weft_budget *budget = budget_of(payer);

	/* The budget of a network may have been forgotten in between. */
	if (budget)
		leave(&budget->established);
}

/* Charges the row of a complete connection. What nobody pays for is the node's own, or was there
 * before the guard. */
static __always_inline int spend_for(const struct weft_conn_row *row, __u64 cookie,
				     const struct weft_config *conf)
{
	struct weft_addr pod;

	if (addr_is_unspecified(&row->payer))
		return 1;
	if (is_pod_payer(&row->payer))
		return spend(&row->payer, conf->opened_max);
	if (!spend(&row->payer, conf->net_max))
		return 0;
	pay_as_pod(&pod, WEFT_PAYER_ACCEPTS, cookie);
	if (spend(&pod, conf->accepted_max))
		return 1;
	give_back(&row->payer);
	return 0;
}

static __always_inline void give_back_for(const struct weft_conn_row *row, __u64 cookie)
{
	struct weft_addr pod;

	if (addr_is_unspecified(&row->payer))
		return;
	give_back(&row->payer);
	if (is_pod_payer(&row->payer))
		return;
	pay_as_pod(&pod, WEFT_PAYER_ACCEPTS, cookie);
	give_back(&pod);
}

/* The connection of a half-open row has got its place. */
static __always_inline void complete_for(const struct weft_conn_row *row, __u64 cookie)
{
	struct weft_addr pod;

	if (addr_is_unspecified(&row->payer))
		return;
	complete(&row->payer, row->touched_ns);
	if (is_pod_payer(&row->payer) || (row->flags & WEFT_CONN_KNOWN))
		return;
	pay_as_pod(&pod, WEFT_PAYER_ACCEPTS, cookie);
	complete(&pod, row->touched_ns);
}

#endif
