// SPDX-License-Identifier: GPL-2.0 OR Apache-2.0
/* Who gets a connection inside the pod: sk_lookup obeys the rows that steering (for what the pod
 * opens) and the guard (for what comes in) have left; sockops leaves the rows by which the two ends
 * of a connection over the pod's lo know each other. */
#include "budget.h"
#include "relay.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Four separate reads: the verifier wants each context field read at its own constant offset. */
#define READ_ADDR(addr, field)                                                                     \
	do {                                                                                       \
		(addr)->word[0] = *(volatile __u32 *)&(field)[0];                                  \
		(addr)->word[1] = *(volatile __u32 *)&(field)[1];                                  \
		(addr)->word[2] = *(volatile __u32 *)&(field)[2];                                  \
		(addr)->word[3] = *(volatile __u32 *)&(field)[3];                                  \
	} while (0)

/* The ends of a connection over the pod's lo, read from a sockops context. */
static __always_inline void sockops_addrs(struct bpf_sock_ops *ops, struct weft_addr *local,
					  struct weft_addr *remote)
{
	if (ops->family == 2 /* AF_INET */) {
		addr_from_v4(local, ops->local_ip4);
		addr_from_v4(remote, ops->remote_ip4);
		return;
	}
	READ_ADDR(local, ops->local_ip6);
	READ_ADDR(remote, ops->remote_ip6);
}

/* remote_port carries network order in the upper half of what the verifier calls 32 bits. */
static __always_inline __be16 sockops_remote_port(const struct bpf_sock_ops *ops)
{
	return bpf_htons((__u16)bpf_ntohl(ops->remote_port));
}

/* Charges a pod for a connection that the relay will hold. */
static __always_inline int charge(struct weft_socket *socket, __u64 cookie)
{
	const struct weft_config *conf = the_config();
	struct weft_budget *budget;
	struct weft_addr payer;

	pay_as_pod(&payer, WEFT_PAYER_OPENS, cookie);
	budget = open_budget(&payer);
	if (!budget || !conf || !has_room_for(budget->steered, conf->steered_max))
		return 0;
	take(&budget->steered);
	socket->flags |= WEFT_SOCKET_CHARGED;
	return 1;
}

static __always_inline void discharge(struct weft_socket *socket, __u64 cookie)
{
	struct weft_budget *budget;
	struct weft_addr payer;

	pay_as_pod(&payer, WEFT_PAYER_OPENS, cookie);
	budget = budget_of(&payer);
	if (budget && (socket->flags & WEFT_SOCKET_CHARGED))
		leave(&budget->steered);
	socket->flags &= ~WEFT_SOCKET_CHARGED;
	socket->role = WEFT_ROLE_NONE;
}

/* The active side, when its port is known: leaves the row by which the other side knows it. */
static __always_inline void on_tcp_connect(struct bpf_sock_ops *ops,
					   struct weft_socket *socket,
					   struct weft_steer_key *key)
{
	struct weft_steer_row row = {};
	long failed = 0;

	if (socket->role == WEFT_ROLE_CLIENT) {
		row.target = socket->target;
		row.target_port = socket->target_port;
		row.dialled = socket->name;
		row.dialled_port = socket->name_port;
		failed = !charge(socket, key->netns_cookie) ||
			 bpf_map_update_elem(&steered, key, &row, BPF_ANY);
	} else if (socket->role == WEFT_ROLE_RELAY_IN) {
		row.target = socket->name;
		row.target_port = socket->name_port;
		failed = bpf_map_update_elem(&clients, key, &row, BPF_ANY);
	} else {
		return;
	}
	if (failed)
		count(WEFT_REASON_MAP_FULL);
	bpf_sock_ops_cb_flags_set(ops, ops->bpf_sock_ops_cb_flags | BPF_SOCK_OPS_STATE_CB_FLAG);
}

SEC("sockops")
int weft_sockops(struct bpf_sock_ops *ops)
{
	struct weft_steer_key key = {};
	struct weft_addr local = {}, remote = {};
	const struct weft_steer_row *client;
	struct weft_socket *socket;
	struct bpf_sock *sk;

	if (ops->op != BPF_SOCK_OPS_TCP_CONNECT_CB &&
	    ops->op != BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB && ops->op != BPF_SOCK_OPS_STATE_CB)
		return 1;
	sk = ops->sk;
	if (!sk)
		return 1;
	sockops_addrs(ops, &local, &remote);

	if (ops->op == BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB) {
		/* The application's end of what the relay opened inside the pod. */
		if (!addr_equal(&local, &remote))
			return 1;
		key.netns_cookie = bpf_get_netns_cookie(ops);
		key.source = remote;
		key.source_port = sockops_remote_port(ops);
		key.target_port = bpf_htons(ops->local_port);
		client = bpf_map_lookup_elem(&clients, &key);
		if (!client)
			return 1;
		socket = bpf_sk_storage_get(&sockets, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
		if (!socket)
			return 1;
		socket->name = client->target;
		socket->name_port = client->target_port;
		socket->role = WEFT_ROLE_ACCEPTED;
		bpf_map_delete_elem(&clients, &key);
		return 1;
	}

	socket = bpf_sk_storage_get(&sockets, sk, NULL, 0);
	if (!socket)
		return 1;
	key.netns_cookie = bpf_get_netns_cookie(ops);
	key.source = local;
	key.source_port = bpf_htons(ops->local_port);
	key.target_port = sockops_remote_port(ops);
	if (ops->op == BPF_SOCK_OPS_TCP_CONNECT_CB) {
		on_tcp_connect(ops, socket, &key);
	} else if (ops->args[1] == BPF_TCP_CLOSE) {
		if (socket->role == WEFT_ROLE_CLIENT) {
			bpf_map_delete_elem(&steered, &key);
			discharge(socket, key.netns_cookie);
		} else if (socket->role == WEFT_ROLE_RELAY_IN) {
			bpf_map_delete_elem(&clients, &key);
		}
	}
	return 1;
}

static __always_inline int assign(struct bpf_sk_lookup *ctx, __u32 slot, __u32 direction,
				  __u32 choice, const struct weft_config *conf)
{
	struct bpf_sock *listener = listener_of(slot, direction, choice, conf);
	long failed;

	if (!listener)
		return 0;
	failed = bpf_sk_assign(ctx, listener, 0);
	bpf_sk_release(listener);
	return !failed;
}

static __always_inline int drop(__u16 reason)
{
	count(reason);
	return SK_DROP;
}

/* A connection from one of the pod's own addresses: steered if it has a row, else the pod's own. */
static __always_inline int lookup_own(struct bpf_sk_lookup *ctx, const struct weft_config *conf,
				      const struct weft_address_row *pod,
				      const struct weft_conn_key *conn)
{
	struct weft_steer_key key = {
		.netns_cookie = pod->netns_cookie,
		.source = conn->remote,
		.source_port = conn->remote_port,
		.target_port = conn->local_port,
	};
	__u32 offset = ctx->local_port - conf->relay_port_first;

	if (offset >= conf->relay_port_count || !bpf_map_lookup_elem(&steered, &key))
		return SK_PASS;
	if (!assign(ctx, pod->slot, 0, offset, conf))
		return drop(WEFT_REASON_AGENT_DOWN);
	count(WEFT_COUNTER_STEERED_OUT);
	return SK_PASS;
}

/* The same number for every packet of a connection. Clients take every other port first: as it is,
 * a port would choose every other worker. */
static __always_inline __u32 spread(const struct weft_conn_key *conn)
{
	return (conn->remote.word[3] ^ conn->remote_port) * 2654435761u >> 16;
}

/* A connection that the guard has seen: goes where its row says. */
static __always_inline int lookup_guarded(struct bpf_sk_lookup *ctx, const struct weft_config *conf,
					  const struct weft_address_row *pod,
					  const struct weft_conn_key *conn)
{
	struct weft_conn_row *row = bpf_map_lookup_elem(&half_open, conn);

	if (!row)
		row = bpf_map_lookup_elem(&connections, conn);
	if (!row)
		return drop(WEFT_REASON_NO_CONNECTION);
	if (row->state == WEFT_STATE_NODE || row->state == WEFT_STATE_DIRECT)
		return SK_PASS;
	if (row->state != WEFT_STATE_PENDING && row->state != WEFT_STATE_STEERED)
		return SK_DROP; /* counted by the guard */
	if (assign(ctx, pod->slot, 1, spread(conn), conf)) {
		if (row->state == WEFT_STATE_PENDING)
			count(WEFT_COUNTER_STEERED_IN);
		row->state = WEFT_STATE_STEERED;
		return SK_PASS;
	}
	if (!(row->flags & WEFT_CONN_FALLBACK))
		return drop(WEFT_REASON_AGENT_DOWN);
	row->state = WEFT_STATE_DIRECT;
	count(WEFT_COUNTER_FALLBACK);
	return SK_PASS;
}

/* Attached only between two agents: what a pod opens waits for the next relay. The kernel sends a
 * SYN that is dropped here again, as if the wire had lost it. */
SEC("cgroup_skb/egress")
int weft_hold(struct __sk_buff *skb)
{
	const struct weft_config *conf = the_config();
	const struct weft_socket *socket;
	struct bpf_sock *sk = skb->sk;

	if (!conf || !sk)
		return 1;
	sk = bpf_sk_fullsock(sk);
	if (!sk || sk->state != BPF_TCP_SYN_SENT)
		return 1;
	socket = bpf_sk_storage_get(&sockets, sk, NULL, 0);
	return !socket || socket->role != WEFT_ROLE_CLIENT || !relay_is_expected(conf);
}

SEC("sk_lookup")
int weft_lookup(struct bpf_sk_lookup *ctx)
{
	const struct weft_config *conf = the_config();
	const struct weft_address_row *local, *remote;
	struct weft_conn_key conn = { .proto = IPPROTO_TCP };

	if (ctx->protocol != IPPROTO_TCP)
		return SK_PASS;
	if (!conf)
		return drop(WEFT_REASON_NO_CONNECTION);
	if (ctx->family == 2 /* AF_INET */) {
		addr_from_v4(&conn.local, ctx->local_ip4);
		addr_from_v4(&conn.remote, ctx->remote_ip4);
	} else {
		READ_ADDR(&conn.local, ctx->local_ip6);
		READ_ADDR(&conn.remote, ctx->remote_ip6);
	}
	conn.local_port = bpf_htons(ctx->local_port);
	conn.remote_port = ctx->remote_port;
	if (addr_is_loopback(&conn.local))
		return SK_PASS;
	local = bpf_map_lookup_elem(&addresses, &conn.local);
	if (!local || !(local->flags & WEFT_ADDRESS_LOCAL)) {
		/* An address of the pod that weft does not know: only the pod itself may use it. */
		return addr_equal(&conn.local, &conn.remote) ? SK_PASS :
							       drop(WEFT_REASON_NO_CONNECTION);
	}
	remote = bpf_map_lookup_elem(&addresses, &conn.remote);
	if (addr_is_loopback(&conn.remote) ||
	    (remote && (remote->flags & WEFT_ADDRESS_LOCAL) &&
	     remote->netns_cookie == local->netns_cookie))
		return lookup_own(ctx, conf, local, &conn);
	return lookup_guarded(ctx, conf, local, &conn);
}
