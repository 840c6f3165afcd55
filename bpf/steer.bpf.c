// SPDX-License-Identifier: GPL-2.0 OR Apache-2.0
/* What a socket asks for: Services are translated, and a connect() that must be encrypted is turned
 * to the pod's own address, where lookup.bpf.c hands it to the relay. The applications at both ends
 * keep seeing each other's addresses. */
#include "connect.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

static __always_inline void read_ip6(const struct bpf_sock_addr *ctx, struct weft_addr *addr)
{
	addr->word[0] = ctx->user_ip6[0];
	addr->word[1] = ctx->user_ip6[1];
	addr->word[2] = ctx->user_ip6[2];
	addr->word[3] = ctx->user_ip6[3];
}

static __always_inline void write_ip6(struct bpf_sock_addr *ctx, const struct weft_addr *addr)
{
	ctx->user_ip6[0] = addr->word[0];
	ctx->user_ip6[1] = addr->word[1];
	ctx->user_ip6[2] = addr->word[2];
	ctx->user_ip6[3] = addr->word[3];
}

SEC("cgroup/connect4")
int weft_connect4(struct bpf_sock_addr *ctx)
{
	struct weft_addr to;
	__be16 port = ctx->user_port;
	int result;

	addr_from_v4(&to, ctx->user_ip4);
	result = on_connect(ctx, &to, &port);
	if (result == ALLOW) {
		ctx->user_ip4 = to.word[3];
		ctx->user_port = port;
	}
	return result;
}

SEC("cgroup/connect6")
int weft_connect6(struct bpf_sock_addr *ctx)
{
	struct weft_addr to;
	__be16 port = ctx->user_port;
	int result;

	read_ip6(ctx, &to);
	result = on_connect(ctx, &to, &port);
	if (result == ALLOW) {
		write_ip6(ctx, &to);
		ctx->user_port = port;
	}
	return result;
}

/* UDP without connect(): the same choice on every message of a socket while the backends stay. */
static __always_inline int on_sendmsg(struct bpf_sock_addr *ctx, struct weft_addr *to, __be16 *port)
{
	__u64 cookie = bpf_get_netns_cookie(ctx);
	const struct weft_config *conf = the_config();
	struct weft_addr service = *to;
	__be16 service_port = *port;
	__u32 choice = (__u32)bpf_get_socket_cookie(ctx) * 2654435761u >> 8;
	struct weft_addr self = {};
	struct subject subject = { &self, to, 0, *port, IPPROTO_UDP };
	enum translation translation;

	if (!conf || (cookie != conf->node_cookie && !bpf_map_lookup_elem(&pods, &cookie)))
		return ALLOW;
	translation = translate(to, port, IPPROTO_UDP, choice);
	if (translation == NOT_A_SERVICE)
		return ALLOW;
	if (translation == NO_BACKEND || translation == NO_ROOM)
		return refuse(&subject, WEFT_HOOK_SENDMSG, refusal_of(translation));
	count(WEFT_COUNTER_TRANSLATED);
	if (name_answers(ctx, to, *port, &service, service_port))
		return refuse(&subject, WEFT_HOOK_SENDMSG, WEFT_REASON_MAP_FULL);
	return ALLOW;
}

static __always_inline const struct weft_datagram_name *
datagram_name(struct bpf_sock_addr *ctx, const struct weft_addr *from)
{
	struct weft_datagram_key key = {
		.socket_cookie = bpf_get_socket_cookie(ctx),
		.backend = *from,
		.port = ctx->user_port,
	};

	return bpf_map_lookup_elem(&datagram_names, &key);
}

SEC("cgroup/sendmsg4")
int weft_sendmsg4(struct bpf_sock_addr *ctx)
{
	struct weft_addr to;
	__be16 port = ctx->user_port;
	int result;

	addr_from_v4(&to, ctx->user_ip4);
	result = on_sendmsg(ctx, &to, &port);
	if (result == ALLOW) {
		ctx->user_ip4 = to.word[3];
		ctx->user_port = port;
	}
	return result;
}

SEC("cgroup/sendmsg6")
int weft_sendmsg6(struct bpf_sock_addr *ctx)
{
	struct weft_addr to;
	__be16 port = ctx->user_port;
	int result;

	read_ip6(ctx, &to);
	result = on_sendmsg(ctx, &to, &port);
	if (result == ALLOW) {
		write_ip6(ctx, &to);
		ctx->user_port = port;
	}
	return result;
}

SEC("cgroup/recvmsg4")
int weft_recvmsg4(struct bpf_sock_addr *ctx)
{
	const struct weft_datagram_name *name;
	struct weft_addr from;

	addr_from_v4(&from, ctx->user_ip4);
	name = datagram_name(ctx, &from);
	if (name) {
		ctx->user_ip4 = name->service.word[3];
		ctx->user_port = name->port;
	}
	return ALLOW;
}

SEC("cgroup/recvmsg6")
int weft_recvmsg6(struct bpf_sock_addr *ctx)
{
	const struct weft_datagram_name *name;
	struct weft_addr from;

	read_ip6(ctx, &from);
	name = datagram_name(ctx, &from);
	if (name) {
		write_ip6(ctx, &name->service);
		ctx->user_port = name->port;
	}
	return ALLOW;
}

static __always_inline const struct weft_socket *named_socket(struct bpf_sock_addr *ctx)
{
	const struct weft_socket *socket = socket_of(ctx, 0);

	if (!socket || (socket->role != WEFT_ROLE_TRANSLATED && socket->role != WEFT_ROLE_CLIENT &&
			socket->role != WEFT_ROLE_ACCEPTED))
		return NULL;
	return socket;
}

SEC("cgroup/getpeername4")
int weft_getpeername4(struct bpf_sock_addr *ctx)
{
	const struct weft_socket *socket = named_socket(ctx);

	if (socket) {
		ctx->user_ip4 = socket->name.word[3];
		ctx->user_port = socket->name_port;
	}
	return ALLOW;
}

SEC("cgroup/getpeername6")
int weft_getpeername6(struct bpf_sock_addr *ctx)
{
	const struct weft_socket *socket = named_socket(ctx);

	if (socket) {
		write_ip6(ctx, &socket->name);
		ctx->user_port = socket->name_port;
	}
	return ALLOW;
}
