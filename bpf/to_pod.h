/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* Packets to a pod, at the egress of its host-side veth. */
#ifndef WEFT_TO_POD_H
#define WEFT_TO_POD_H

#include "judge.h"
#include "prohibit.h"

/* How far beyond the SYN-ACK a first acknowledgement may be: its payload in TCP Fast Open. */
#define ACK_WINDOW (1u << 20)

/* Charges a SYN to whoever must pay for it, notes who that is, and says whether there will be room
 * for the connection: refusing it now is kinder than later. A pod of this node pays for what its
 * own guard has seen it open, and not for what somebody else sends under its address. What unknown
 * hosts may begin together is theirs alone: a flood of them refuses nobody whom the plan knows. */
static __always_inline int may_begin(const struct packet *p, const struct weft_conn_key *key,
				     const struct weft_veth_row *veth,
				     const struct weft_config *conf, struct weft_conn_row *fresh,
				     int *has_room)
{
	const struct weft_address_row *source = bpf_map_lookup_elem(&addresses, &p->source);
	const struct weft_budget *budget, *received;
	struct weft_addr pod;

	if (source && (source->flags & WEFT_ADDRESS_LOCAL) && opened_by_pod(key)) {
		pay_as_pod(&fresh->payer, WEFT_PAYER_OPENS, source->netns_cookie);
		budget = begin(&fresh->payer, conf->half_open_max);
		*has_room = budget && has_room_for(budget->established, conf->opened_max);
		return budget != NULL;
	}
	pay_as_outsider(&fresh->payer, &p->source, source != NULL);
	budget = begin(&fresh->payer, conf->half_open_max);
	if (!budget)
		return 0;
	pay_as_pod(&pod, WEFT_PAYER_ACCEPTS, veth->netns_cookie);
	if (source) {
		fresh->flags |= WEFT_CONN_KNOWN;
		received = open_budget(&pod);
	} else {
		received = begin(&pod, conf->flood_max);
	}
	*has_room = received && has_room_for(received->established, conf->accepted_max) &&
		    has_room_for(budget->established, conf->net_max);
	return received != NULL;
}

/* The pod's socket to which the packet goes, or a listener of its port; the caller releases it. */
static __always_inline struct bpf_sock *receiver_of(struct __sk_buff *skb, const struct packet *p,
						    __s32 nsid)
{
	struct bpf_sock_tuple tuple = {};

	if (p->v4) {
		tuple.ipv4.saddr = p->source.word[3];
		tuple.ipv4.daddr = p->target.word[3];
		tuple.ipv4.sport = p->source_port;
		tuple.ipv4.dport = p->target_port;
		return bpf_sk_lookup_tcp(skb, &tuple, sizeof(tuple.ipv4), nsid, 0);
	}
	__builtin_memcpy(tuple.ipv6.saddr, &p->source, sizeof(p->source));
	__builtin_memcpy(tuple.ipv6.daddr, &p->target, sizeof(p->target));
	tuple.ipv6.sport = p->source_port;
	tuple.ipv6.dport = p->target_port;
	return bpf_sk_lookup_tcp(skb, &tuple, sizeof(tuple.ipv6), nsid, 0);
}

/* Whether the pod's TCP takes this RST for the end. It wants the very number that it expects next,
 * or the one before when the peer's FIN has come: who cannot see the connection would have to guess
 * it. Without a socket nothing is left that could end. */
static __always_inline int is_end(struct __sk_buff *skb, const struct packet *p, __s32 nsid)
{
	struct bpf_sock *sk = receiver_of(skb, p, nsid);
	struct bpf_tcp_sock *tcp;
	int ends = 0;

	if (!sk)
		return 1;
	tcp = bpf_tcp_sock(sk);
	if (tcp && sk->state == BPF_TCP_SYN_SENT)
		ends = (p->tcp_flags & TCP_ACK) && p->ack == tcp->snd_nxt;
	else if (tcp && sk->state != BPF_TCP_LISTEN)
		ends = p->seq == tcp->rcv_nxt || p->seq + 1 == tcp->rcv_nxt;
	bpf_sk_release(sk);
	return ends;
}

/* Whether an opener has seen the SYN-ACK: one who forges its address cannot know the number. */
static __always_inline int completes(const struct packet *p, const struct weft_conn_row *row)
{
	return (row->flags & WEFT_CONN_ANSWERED) && (p->tcp_flags & TCP_ACK) &&
	       p->ack - row->ack < ACK_WINDOW;
}

/* The first packet of a connection. It passes even when refused: sk_lookup answers with a RST. */
static __always_inline int syn_to_pod(struct __sk_buff *skb, const struct packet *p,
				      const struct weft_conn_key *key,
				      const struct weft_veth_row *veth,
				      const struct weft_address_row *target,
				      const struct weft_config *conf, __u32 revision)
{
	struct weft_conn_row fresh = { .revision = revision };
	struct subject subject = { &p->source, &p->target, p->source_port, p->target_port, p->proto };
	struct weft_conn_row *known = bpf_map_lookup_elem(&connections, key);
	const struct weft_conn_row *again;
	int node = from_node(skb, conf), has_room = 0;
	__u8 verdict;

	/* A live connection's business: TCP answers with a challenge. One that the plan no longer
	 * allows is judged anew. */
	if (known && known->state == WEFT_STATE_NODE && !node)
		return deny(p, WEFT_HOOK_TO_POD, WEFT_REASON_SPOOFED);
	if (known && known->state != WEFT_STATE_REFUSE && still_allowed(known, key, revision))
		return PASS;
	again = bpf_map_lookup_elem(&half_open, key);
	if (again && again->state != WEFT_STATE_REFUSE && again->revision == revision &&
	    (again->state != WEFT_STATE_NODE || node))
		return PASS; /* sent again */

	if (node) {
		fresh.state = WEFT_STATE_NODE;
		verdict = WEFT_VERDICT_DIRECT;
		count(WEFT_COUNTER_NODE);
	} else {
		if (!may_begin(p, key, veth, conf, &fresh, &has_room))
			return deny(p, WEFT_HOOK_TO_POD, WEFT_REASON_SYN_BUDGET);
		verdict = WEFT_VERDICT_REFUSE;
		fresh.reason = WEFT_REASON_MAP_FULL;
		if (has_room)
			verdict = judge_inbound(skb, p, key, veth, target, conf, &fresh);
		if (verdict == WEFT_VERDICT_WAIT)
			return drop(fresh.reason);
		if (verdict == WEFT_VERDICT_DIRECT)
			count(WEFT_COUNTER_DIRECT);
		else if (verdict == WEFT_VERDICT_REFUSE)
			count(fresh.reason);
	}
	if (verdict != WEFT_VERDICT_REFUSE)
		fresh.reason = WEFT_REASON_NONE;
	fresh.touched_ns = bpf_ktime_get_ns();
	if (bpf_map_update_elem(&half_open, key, &fresh, BPF_ANY))
		return deny(p, WEFT_HOOK_TO_POD, WEFT_REASON_MAP_FULL);
	if (known)
		forget(key, known, veth->netns_cookie);
	bpf_map_delete_elem(&closing, key);
	if (verdict == WEFT_VERDICT_REFUSE)
		tell_refusal(&subject, WEFT_HOOK_TO_POD, fresh.reason, fresh.state,
			     WEFT_TELLING_REFUSED, WEFT_REFUSED_MAX);
	else if (may_tell(conf))
		tell(&subject, WEFT_HOOK_TO_POD, verdict, fresh.reason, fresh.state);
	return PASS;
}

static __always_inline int tcp_to_pod(struct __sk_buff *skb, const struct packet *p,
				      const struct weft_conn_key *key,
				      const struct weft_veth_row *veth,
				      const struct weft_address_row *target,
				      const struct weft_config *conf, __u32 revision)
{
	struct weft_conn_row *row;

	if (begins(p))
		return syn_to_pod(skb, p, key, veth, target, conf, revision);
	row = find_row(key);
	if (!row)
		return needs_row(target, &p->target, p->target_port) ?
			       drop(WEFT_REASON_NO_CONNECTION) : PASS;
	if (!still_allowed(row, key, revision))
		return deny(p, WEFT_HOOK_TO_POD, row->reason);
	/* Ends what the pod remembers of an earlier connection: then the SYN is answered. */
	if ((p->tcp_flags & TCP_RST) && !p->payload_bytes && is_undecided(row))
		return PASS;
	if (row->state == WEFT_STATE_PENDING)
		return drop(WEFT_REASON_NOT_STEERED);
	/* Refused after its handshake: what closes it passes, payload does not. */
	if (row->state == WEFT_STATE_REFUSE &&
	    (!(row->flags & WEFT_CONN_ESTABLISHED) || p->payload_bytes))
		return drop(row->reason);
	if (row->state == WEFT_STATE_OUTBOUND) {
		if (p->tcp_flags & TCP_SYN)
			row->flags |= WEFT_CONN_ANSWERED;
	} else if (!(row->flags & WEFT_CONN_ESTABLISHED) && !(p->tcp_flags & TCP_RST) &&
		   completes(p, row)) {
		row = establish(key, row, veth->netns_cookie, conf);
		if (!row)
			return deny(p, WEFT_HOOK_TO_POD, WEFT_REASON_MAP_FULL);
	}
	remember_check(row, skb, revision);
	follow(key, row, p, WEFT_CONN_FIN_REMOTE, veth->netns_cookie,
	       (p->tcp_flags & TCP_RST) && is_end(skb, p, veth->nsid));
	return PASS;
}

/* An ICMP error must speak of a packet that the pod itself has sent. */
static __always_inline int error_is_related(struct __sk_buff *skb, const struct packet *p)
{
	struct weft_addr inner;

	if (p->v4) {
		__be32 source;

		if (bpf_skb_load_bytes(skb, p->l4_offset + 8 + 12, &source, sizeof(source)))
			return 0;
		addr_from_v4(&inner, source);
	} else if (bpf_skb_load_bytes(skb, p->l4_offset + 8 + 8, &inner, sizeof(inner))) {
		return 0;
	}
	return addr_equal(&inner, &p->target);
}

/* What mutual TLS cannot carry: under STRICT only answers, errors and the node's own pass. */
static __always_inline int other_to_pod(struct __sk_buff *skb, const struct packet *p,
					const struct weft_conn_key *key,
					const struct weft_address_row *target,
					const struct weft_config *conf)
{
	if (is_icmp_error(p))
		return error_is_related(skb, p) ? PASS : drop(WEFT_REASON_MALFORMED);
	if (target->mode != WEFT_MODE_STRICT && target->mode != WEFT_MODE_UNKNOWN)
		return PASS;
	if (from_node(skb, conf))
		return PASS;
	if ((p->proto == IPPROTO_UDP || is_echo_reply(p)) && bpf_map_lookup_elem(&datagrams, key))
		return PASS;
	deny(p, WEFT_HOOK_TO_POD, WEFT_REASON_NOT_AUTHENTICATED);
	return prohibit(skb, p);
}

static __always_inline void key_to_pod(const struct packet *p, struct weft_conn_key *key)
{
	__builtin_memset(key, 0, sizeof(*key));
	key->local = p->target;
	key->remote = p->source;
	key->local_port = p->target_port;
	key->remote_port = p->source_port;
	key->proto = p->proto;
}

static __always_inline int to_pod(struct __sk_buff *skb)
{
	__u32 ifindex = skb->ifindex;
	const struct weft_config *conf = the_config();
	const struct weft_address_row *target;
	const struct weft_veth_row *veth;
	struct weft_conn_row *row;
	struct weft_conn_key key;
	struct packet p = {};
	enum parsed parsed;
	__u32 revision;
	int strict;

	revision = conf ? revision_of(conf) : 0;
	parsed = parse(skb, &p);
	key_to_pod(&p, &key);
	if (conf && parsed == PARSED && p.proto == IPPROTO_TCP && !begins(&p)) {
		row = checked_row(&key, skb, revision);
		if (row && !(p.tcp_flags & (TCP_FIN | TCP_RST))) {
			touch(row);
			return PASS;
		}
	}
	veth = bpf_map_lookup_elem(&veths, &ifindex);
	if (!veth || !conf)
		return drop_unknown_veth(conf);
	if (skb->protocol == bpf_htons(ETH_P_ARP) && !skb->vlan_present)
		return PASS;
	strict = veth->flags & WEFT_VETH_STRICT;
	if (parsed == PARSED_MALFORMED)
		return drop(WEFT_REASON_MALFORMED);
	if (parsed == PARSED_FRAGMENT && strict)
		return drop(WEFT_REASON_FRAGMENT);
	if (is_neighbour_discovery(&p) && parsed == PARSED)
		return PASS;
	target = bpf_map_lookup_elem(&addresses, &p.target);
	if (!target || !(target->flags & WEFT_ADDRESS_LOCAL) ||
	    target->netns_cookie != veth->netns_cookie) {
		if (addr_is_multicast(&p.target) && !strict && p.proto != IPPROTO_TCP)
			return PASS;
		return drop(WEFT_REASON_UNKNOWN_IDENTITY);
	}
	/* The pod's own addresses and loopback never come from outside it. */
	if (addr_equal(&p.source, &p.target) || addr_is_loopback(&p.source))
		return deny(&p, WEFT_HOOK_TO_POD, WEFT_REASON_SPOOFED);
	if (parsed == PARSED_FRAGMENT)
		return PASS;
	if (p.proto == IPPROTO_TCP)
		return tcp_to_pod(skb, &p, &key, veth, target, conf, revision);
	return other_to_pod(skb, &p, &key, target, conf);
}

#endif
