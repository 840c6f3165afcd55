/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* Judgement in the guard: of a new connection, and of a live one when the plan has changed. */
#ifndef WEFT_JUDGE_H
#define WEFT_JUDGE_H

#include "conntrack.h"

#define PASS (-1) /* TCX_NEXT: the next program, or the stack */
#define SHOT 2    /* TCX_DROP, TC_ACT_SHOT */

/* Kernels before 6.18 have no netns cookie in tc; user space clears this there. */
const volatile __u8 have_tc_netns_cookie = 1;

/* The namespace whose socket sent the packet; 0 if no socket of this kernel did, or it is unknown.
 * Without a socket the helper would name the initial namespace, so the socket is looked at
 * first. */
static __always_inline __u64 sender_cookie(struct __sk_buff *skb)
{
	if (!skb->sk || !have_tc_netns_cookie)
		return 0;
	return bpf_get_netns_cookie(skb);
}

/* A process of the node itself sent it: not forwarded, by a socket, of the node's namespace. */
static __always_inline int from_node(struct __sk_buff *skb, const struct weft_config *conf)
{
	if (!skb->sk || skb->ingress_ifindex)
		return 0;
	return !have_tc_netns_cookie || sender_cookie(skb) == conf->node_cookie;
}

static __always_inline int drop(__u16 reason)
{
	count(reason);
	return SHOT;
}

/* A veth without a row: the pod's rows are not there yet, or did not fit. */
static __always_inline int drop_unknown_veth(const struct weft_config *conf)
{
	return drop(conf && (conf->flags & WEFT_CONFIG_PODS_FULL) ? WEFT_REASON_MAP_FULL :
								    WEFT_REASON_NO_CONNECTION);
}

/* Drops and tells. */
static __always_inline int deny(const struct packet *p, __u8 hook, __u16 reason)
{
	struct subject s = { &p->source, &p->target, p->source_port, p->target_port, p->proto };

	count(reason);
	tell_refusal(&s, hook, reason, 0, WEFT_TELLING_DROPS, WEFT_DROPS_MAX);
	return SHOT;
}

/* Looks for a listener of the pod, asking as the pod's own address so that sk_lookup passes. */
static __always_inline __u16 listener_fault(struct __sk_buff *skb, const struct packet *p,
					    __s32 nsid)
{
	struct bpf_sock_tuple tuple = {};
	struct weft_socket *known;
	struct bpf_sock *sk;
	__u16 fault = 0;

	if (p->v4) {
		tuple.ipv4.saddr = p->target.word[3];
		tuple.ipv4.daddr = p->target.word[3];
		tuple.ipv4.sport = bpf_htons(1);
		tuple.ipv4.dport = p->target_port;
		sk = bpf_sk_lookup_tcp(skb, &tuple, sizeof(tuple.ipv4), nsid, 0);
	} else {
		__builtin_memcpy(tuple.ipv6.saddr, &p->target, sizeof(p->target));
		__builtin_memcpy(tuple.ipv6.daddr, &p->target, sizeof(p->target));
		tuple.ipv6.sport = bpf_htons(1);
		tuple.ipv6.dport = p->target_port;
		sk = bpf_sk_lookup_tcp(skb, &tuple, sizeof(tuple.ipv6), nsid, 0);
	}
	if (!sk)
		return WEFT_REASON_NOT_LISTENING;
	known = bpf_sk_storage_get(&sockets, sk, NULL, 0);
	if (known && known->role == WEFT_ROLE_LISTENER)
		fault = WEFT_REASON_RELAY_PORT;
	bpf_sk_release(sk);
	return fault;
}

/* True while an address that lies in a pod CIDR but is not known yet is met with silence. */
static __always_inline int still_patient(const struct weft_addr *source,
					 const struct weft_config *conf)
{
	__u64 now = bpf_ktime_get_ns();
	__u64 *first = bpf_map_lookup_elem(&unknown_peers, source);

	if (first)
		return now - *first < (__u64)conf->patience_ms * 1000000;
	bpf_map_update_elem(&unknown_peers, source, &now, BPF_ANY);
	return 1;
}

/* The row of the client's guard, for a connection that the client pod itself has opened. */
static __always_inline const struct weft_conn_row *opened_by_pod(const struct weft_conn_key *key)
{
	struct weft_conn_key mirror = {
		.local = key->remote,
		.remote = key->local,
		.local_port = key->remote_port,
		.remote_port = key->local_port,
		.proto = key->proto,
	};
	const struct weft_conn_row *row = find_row(&mirror);

	return row && row->state == WEFT_STATE_OUTBOUND ? row : NULL;
}

static __always_inline int is_attested(const struct weft_conn_key *key)
{
	const struct weft_conn_row *row = opened_by_pod(key);

	return row && (row->flags & WEFT_CONN_ATTESTED);
}

/* The verdict on a SYN to a pod. Fills state, reason and flags of the row; returns the verdict. */
static __always_inline __u8 judge_inbound(struct __sk_buff *skb, const struct packet *p,
					  const struct weft_conn_key *key,
					  const struct weft_veth_row *veth,
					  const struct weft_address_row *target,
					  const struct weft_config *conf, struct weft_conn_row *row)
{
	const struct weft_address_row *source = bpf_map_lookup_elem(&addresses, &p->source);
	struct destination d = destination_of(target, &p->target, p->target_port);
	__u8 class = source_of(source, &p->source);
	const struct weft_decision *decision;
	int attested;

	row->state = WEFT_STATE_REFUSE;
	row->reason = WEFT_REASON_MAP_FULL;
	if (d.where == WEFT_WHERE_ATTEST && !(source && (source->flags & WEFT_ADDRESS_LOCAL)))
		d.where = WEFT_WHERE_ENCRYPT;
	attested = d.where == WEFT_WHERE_ATTEST && is_attested(key);
	if (attested)
		row->flags |= WEFT_CONN_ATTESTED;
	decision = decision_of(WEFT_STAGE_INBOUND, class, d);
	if (!decision)
		return WEFT_VERDICT_REFUSE;
	row->reason = decision->reason;
	if (decision->verdict == WEFT_VERDICT_DIRECT) {
		if (d.mode == WEFT_MODE_STRICT && !attested) {
			row->reason = WEFT_REASON_SPOOFED;
			return WEFT_VERDICT_REFUSE;
		}
		row->state = WEFT_STATE_DIRECT;
		return WEFT_VERDICT_DIRECT;
	}
	if (decision->verdict == WEFT_VERDICT_WAIT)
		return still_patient(&p->source, conf) ? WEFT_VERDICT_WAIT : WEFT_VERDICT_REFUSE;
	if (decision->verdict == WEFT_VERDICT_RELAY) {
		__u16 fault = listener_fault(skb, p, veth->nsid);

		if (fault) {
			row->reason = fault;
			return WEFT_VERDICT_REFUSE;
		}
		if (decision->fallback != WEFT_VERDICT_DIRECT && relay_is_expected(conf)) {
			row->reason = WEFT_REASON_AGENT_DOWN;
			return WEFT_VERDICT_WAIT;
		}
		row->state = WEFT_STATE_PENDING;
		if (decision->fallback == WEFT_VERDICT_DIRECT)
			row->flags |= WEFT_CONN_FALLBACK;
	}
	return decision->verdict;
}

/* Judges a direct connection again after the plan has changed. Only STRICT can take it back. */
static __always_inline int still_allowed(struct weft_conn_row *row, const struct weft_conn_key *key,
					 __u32 revision)
{
	const struct weft_address_row *local, *remote;
	struct destination d;

	if (row->state != WEFT_STATE_DIRECT || row->revision == revision)
		return 1;
	local = bpf_map_lookup_elem(&addresses, &key->local);
	d = destination_of(local, &key->local, key->local_port);
	remote = bpf_map_lookup_elem(&addresses, &key->remote);
	if (d.mode == WEFT_MODE_UNKNOWN ||
	    (d.mode == WEFT_MODE_STRICT &&
	     !(d.where == WEFT_WHERE_ATTEST && remote && (remote->flags & WEFT_ADDRESS_LOCAL) &&
	       remote->source == WEFT_SOURCE_MESH && (row->flags & WEFT_CONN_ATTESTED)))) {
		row->state = WEFT_STATE_REFUSE;
		row->reason = WEFT_REASON_MTLS_REQUIRED;
		return 0;
	}
	row->revision = revision;
	return 1;
}

/* No handshake came of it: its SYN waits for a relay, or is refused. */
static __always_inline int is_undecided(const struct weft_conn_row *row)
{
	return (row->state == WEFT_STATE_PENDING || row->state == WEFT_STATE_REFUSE) &&
	       !(row->flags & WEFT_CONN_ESTABLISHED);
}

/* A packet of a connection without a row: older than the guard, or nobody's. */
static __always_inline int needs_row(const struct weft_address_row *local,
				     const struct weft_addr *addr, __be16 port)
{
	__u8 mode = destination_of(local, addr, port).mode;

	return mode == WEFT_MODE_STRICT || mode == WEFT_MODE_UNKNOWN;
}

#endif
