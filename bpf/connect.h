/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* What happens to a connect(): translated if it dials a Service, then refused, let go, or turned to
 * the relay of the pod. Sockets of other namespaces than the agent's pods and its node pass. */
#ifndef WEFT_CONNECT_H
#define WEFT_CONNECT_H

#include <bpf/bpf_core_read.h>
#include "budget.h"
#include "relay.h"
#include "service.h"

#ifndef ECONNREFUSED
#define ECONNREFUSED 111
#endif
#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

#define ALLOW 1
#define REJECT 0

static __always_inline int is_tcp(const struct bpf_sock_addr *ctx)
{
	return ctx->protocol == IPPROTO_TCP || ctx->protocol == IPPROTO_MPTCP;
}

static __always_inline struct weft_socket *socket_of(struct bpf_sock_addr *ctx, __u64 flags)
{
	if (!ctx->sk)
		return NULL;
	return bpf_sk_storage_get(&sockets, ctx->sk, NULL, flags);
}

static __always_inline int refuse(const struct subject *s, __u8 hook, __u16 reason)
{
	count(reason);
	tell_refusal(s, hook, reason, 0, WEFT_TELLING_REFUSED, WEFT_REFUSED_MAX);
	bpf_set_retval(-ECONNREFUSED);
	return REJECT;
}

static __always_inline int relay_is_there(__u32 slot, const struct weft_config *conf)
{
	struct bpf_sock *listener = listener_of(slot, 0, 0, conf);

	if (!listener)
		return 0;
	bpf_sk_release(listener);
	return 1;
}

/* Kernels without MPTCP do not have it: what asks for it is then cut out of the programs. */
struct mptcp_sock {
	int token;
} __attribute__((preserve_access_index));

/* MPTCP connects by a subflow, but the application asks the whole for its name. */
static __always_inline struct weft_socket *whole_of(struct bpf_sock_addr *ctx, __u64 flags)
{
	struct mptcp_sock *whole;

	if (!bpf_core_type_exists(struct mptcp_sock) || !ctx->sk)
		return NULL;
	whole = bpf_skc_to_mptcp_sock(ctx->sk);
	return whole ? bpf_sk_storage_get(&sockets, whole, NULL, flags) : NULL;
}

/* Remembers for getpeername() what the application asked for, and where it is really going. */
static __always_inline struct weft_socket *remember(struct bpf_sock_addr *ctx, __u8 role,
						    const struct weft_addr *name, __be16 name_port)
{
	struct weft_socket *socket = socket_of(ctx, BPF_SK_STORAGE_GET_F_CREATE), *whole;

	if (!socket)
		return NULL;
	socket->role = role;
	socket->name = *name;
	socket->name_port = name_port;
	whole = whole_of(ctx, BPF_SK_STORAGE_GET_F_CREATE);
	if (whole) {
		whole->role = role;
		whole->name = *name;
		whole->name_port = name_port;
	}
	return socket;
}

/* Remembers for recvmsg() under which Service a UDP socket knows the backend that answers it. */
static __always_inline long name_answers(struct bpf_sock_addr *ctx, const struct weft_addr *backend,
					 __be16 port, const struct weft_addr *service,
					 __be16 service_port)
{
	struct weft_datagram_key key = {
		.socket_cookie = bpf_get_socket_cookie(ctx),
		.backend = *backend,
		.port = port,
	};
	struct weft_datagram_name name = { .service = *service, .port = service_port };

	return bpf_map_update_elem(&datagram_names, &key, &name, BPF_ANY);
}

/* What the pod with this cookie has taken; NULL: nothing yet. */
static __always_inline const struct weft_budget *taken_by(__u64 cookie)
{
	struct weft_addr payer;

	pay_as_pod(&payer, WEFT_PAYER_OPENS, cookie);
	return budget_of(&payer);
}

static __always_inline __u8 relay_or_full(const struct weft_budget *taken,
					  const struct weft_config *conf)
{
	return !taken || has_room_for(taken->steered, conf->steered_max) ? WEFT_VERDICT_RELAY :
									   WEFT_VERDICT_REFUSE;
}

/* Judges a connection of a local pod; returns the verdict, with the reason of a refusal. */
static __always_inline __u8 judge_outbound(const struct weft_config *conf,
					   const struct weft_pod_row *pod,
					   const struct weft_addr *to, __be16 port, __u64 cookie,
					   __u16 *reason)
{
	const struct weft_address_row *row = bpf_map_lookup_elem(&addresses, to);
	const struct weft_budget *taken = taken_by(cookie);
	const struct weft_decision *decision;

	*reason = WEFT_REASON_MAP_FULL;
	if (row && (row->flags & WEFT_ADDRESS_LOCAL) && row->netns_cookie == cookie)
		return WEFT_VERDICT_DIRECT; /* the pod's own address */
	if (!row && pod->source == WEFT_SOURCE_MESH && (conf->flags & WEFT_CONFIG_NO_SERVICE))
		return WEFT_VERDICT_REFUSE; /* it may be a Service's */
	if (taken && !has_room_for(taken->established, conf->opened_max))
		return WEFT_VERDICT_REFUSE; /* the rest is for others */
	decision = decision_of(WEFT_STAGE_OUTBOUND, pod->source, destination_of(row, to, port));
	if (!decision)
		return WEFT_VERDICT_REFUSE;
	*reason = decision->reason;
	if (decision->verdict != WEFT_VERDICT_RELAY)
		return decision->verdict;
	*reason = WEFT_REASON_MAP_FULL; /* the relay holds as many of this pod as it may */
	if (relay_is_there(pod->slot, conf))
		return relay_or_full(taken, conf);
	if (decision->fallback != WEFT_VERDICT_DIRECT && relay_is_expected(conf))
		return relay_or_full(taken, conf); /* weft_hold has its SYN wait */
	*reason = WEFT_REASON_AGENT_DOWN;
	if (decision->fallback == WEFT_VERDICT_DIRECT)
		count(WEFT_COUNTER_FALLBACK);
	return decision->fallback;
}

/* Decides for one connect() to `to`:`port`; rewrites both if the socket must go elsewhere. */
static __always_inline int on_connect(struct bpf_sock_addr *ctx, struct weft_addr *to, __be16 *port)
{
	__u64 cookie = bpf_get_netns_cookie(ctx);
	const struct weft_pod_row *pod = bpf_map_lookup_elem(&pods, &cookie);
	const struct weft_config *conf = the_config();
	struct weft_addr dialled = *to, self = {};
	__be16 dialled_port = *port;
	struct weft_socket *socket, *whole;
	struct subject subject = { &self, to, 0, *port, ctx->protocol };
	enum translation translation;
	__u16 reason;
	__u8 verdict;

	if (!conf || (!pod && cookie != conf->node_cookie))
		return ALLOW;
	socket = socket_of(ctx, 0);
	if (socket) {
		if (socket->role == WEFT_ROLE_RELAY_OUT || socket->role == WEFT_ROLE_RELAY_IN)
			return ALLOW;
		socket->role = WEFT_ROLE_NONE; /* of an earlier connect() */
	}
	whole = whole_of(ctx, 0);
	if (whole)
		whole->role = WEFT_ROLE_NONE;
	if (addr_is_loopback(to) || (!is_tcp(ctx) && ctx->protocol != IPPROTO_UDP))
		return ALLOW;
	if (pod)
		self = addr_is_v4(to) ? pod->ip4 : pod->ip6;

	translation = translate(to, port, is_tcp(ctx) ? IPPROTO_TCP : IPPROTO_UDP,
				bpf_get_prandom_u32());
	if (translation == NO_BACKEND || translation == NO_ROOM)
		return refuse(&subject, WEFT_HOOK_CONNECT, refusal_of(translation));
	if (translation == TRANSLATED) {
		count(WEFT_COUNTER_TRANSLATED);
		if (!remember(ctx, WEFT_ROLE_TRANSLATED, &dialled, dialled_port) ||
		    (!is_tcp(ctx) && name_answers(ctx, to, *port, &dialled, dialled_port)))
			return refuse(&subject, WEFT_HOOK_CONNECT, WEFT_REASON_MAP_FULL);
	}
	if (!pod || !is_tcp(ctx))
		return ALLOW;

	subject.target_port = *port;
	verdict = judge_outbound(conf, pod, to, *port, cookie, &reason);
	if (verdict == WEFT_VERDICT_DIRECT)
		return ALLOW;
	if (verdict != WEFT_VERDICT_RELAY)
		return refuse(&subject, WEFT_HOOK_CONNECT, reason);
	socket = remember(ctx, WEFT_ROLE_CLIENT, &dialled, dialled_port);
	if (!socket)
		return refuse(&subject, WEFT_HOOK_CONNECT, WEFT_REASON_MAP_FULL);
	socket->target = *to;
	socket->target_port = *port;
	*to = self;
	*port = bpf_htons(conf->relay_port_first +
			  bpf_get_prandom_u32() % (conf->relay_port_count ?: 1));
	return ALLOW;
}

#endif
