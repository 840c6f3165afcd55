/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* Packets from a pod, at the ingress of its host-side veth: it may speak as itself only. */
#ifndef WEFT_FROM_POD_H
#define WEFT_FROM_POD_H

#include "judge.h"

static __always_inline int is_own(const struct weft_addr *addr, const struct weft_veth_row *veth)
{
	const struct weft_address_row *row = bpf_map_lookup_elem(&addresses, addr);

	return row && (row->flags & WEFT_ADDRESS_LOCAL) && row->netns_cookie == veth->netns_cookie;
}

static __always_inline int same_mac(const __u8 *a, const __u8 *b)
{
	for (int i = 0; i < ETH_ALEN; i++)
		if (a[i] != b[i])
			return 0;
	return 1;
}

static __always_inline int arp_from_pod(struct __sk_buff *skb, const struct weft_veth_row *veth)
{
	struct {
		__be16 hardware, protocol;
		__u8 hardware_bytes, protocol_bytes;
		__be16 operation;
		__u8 sender_mac[ETH_ALEN];
		__u8 sender_ip[4];
	} arp;
	struct weft_addr sender;
	__be32 ip;

	if (bpf_skb_load_bytes(skb, ETH_HLEN, &arp, sizeof(arp)))
		return drop(WEFT_REASON_MALFORMED);
	__builtin_memcpy(&ip, arp.sender_ip, sizeof(ip));
	addr_from_v4(&sender, ip);
	if (!same_mac(arp.sender_mac, veth->mac) || (ip && !is_own(&sender, veth)))
		return drop(WEFT_REASON_SPOOFED);
	return PASS;
}

/* Neighbour discovery: no router's or redirecting message, and advertisements of own addresses. */
static __always_inline int discovery_from_pod(struct __sk_buff *skb, const struct packet *p,
					      const struct weft_veth_row *veth)
{
	struct weft_addr target;

	if (p->icmp_type == 134 || p->icmp_type == 137) /* router advertisement, redirect */
		return deny(p, WEFT_HOOK_FROM_POD, WEFT_REASON_SPOOFED);
	if (p->icmp_type != 136) /* neighbour advertisement */
		return PASS;
	if (bpf_skb_load_bytes(skb, p->l4_offset + 8, &target, sizeof(target)))
		return drop(WEFT_REASON_MALFORMED);
	if (!addr_equal(&target, &veth->link_local) && !is_own(&target, veth))
		return deny(p, WEFT_HOOK_FROM_POD, WEFT_REASON_SPOOFED);
	return PASS;
}

static __always_inline int may_send_as(const struct packet *p, const struct weft_veth_row *veth)
{
	if (is_own(&p->source, veth))
		return 1;
	if (is_neighbour_discovery(p)) /* link-local neighbours, duplicate address detection */
		return addr_equal(&p->source, &veth->link_local) || addr_is_unspecified(&p->source);
	/* A DHCP client that has no address yet. */
	return p->v4 && !p->source.word[3] && p->proto == IPPROTO_UDP &&
	       p->source_port == bpf_htons(68) && p->target_port == bpf_htons(67);
}

static __always_inline int syn_from_pod(struct __sk_buff *skb, const struct packet *p,
					const struct weft_conn_key *key,
					const struct weft_veth_row *veth,
					const struct weft_config *conf, __u32 revision)
{
	struct weft_conn_row fresh = { .state = WEFT_STATE_OUTBOUND, .revision = revision };
	const struct weft_conn_row *known = bpf_map_lookup_elem(&connections, key);
	const struct weft_budget *budget;
	const struct weft_conn_row *again;

	if (known && known->state != WEFT_STATE_REFUSE)
		return PASS;
	again = bpf_map_lookup_elem(&half_open, key);
	if (again && again->state != WEFT_STATE_REFUSE)
		return PASS; /* sent again */
	pay_as_pod(&fresh.payer, WEFT_PAYER_OPENS, veth->netns_cookie);
	budget = begin(&fresh.payer, conf->half_open_max);
	if (!budget)
		return deny(p, WEFT_HOOK_FROM_POD, WEFT_REASON_SYN_BUDGET);
	if (!has_room_for(budget->established, conf->opened_max))
		return deny(p, WEFT_HOOK_FROM_POD, WEFT_REASON_MAP_FULL);
	if (sender_cookie(skb) == veth->netns_cookie)
		fresh.flags |= WEFT_CONN_ATTESTED;
	fresh.touched_ns = bpf_ktime_get_ns();
	if (bpf_map_update_elem(&half_open, key, &fresh, BPF_ANY))
		return deny(p, WEFT_HOOK_FROM_POD, WEFT_REASON_MAP_FULL);
	if (known)
		forget(key, known, veth->netns_cookie);
	bpf_map_delete_elem(&closing, key);
	count(WEFT_COUNTER_OUTBOUND);
	return PASS;
}

/* Carries nothing and opens nothing. */
static __always_inline int is_bare_ack(const struct packet *p)
{
	return (p->tcp_flags & (TCP_SYN | TCP_FIN | TCP_RST | TCP_ACK)) == TCP_ACK &&
	       !p->payload_bytes;
}

static __always_inline int tcp_from_pod(struct __sk_buff *skb, const struct packet *p,
					const struct weft_conn_key *key,
					const struct weft_veth_row *veth,
					const struct weft_config *conf, __u32 revision)
{
	const struct weft_address_row *local;
	struct weft_conn_row *row;

	if (begins(p))
		return syn_from_pod(skb, p, key, veth, conf, revision);
	row = find_row(key);
	if (!row) {
		if (p->tcp_flags & TCP_RST)
			return PASS; /* tells the peer that there is nothing: harmless and useful */
		local = bpf_map_lookup_elem(&addresses, &p->source);
		return needs_row(local, &p->source, p->source_port) ?
			       drop(WEFT_REASON_NO_CONNECTION) : PASS;
	}
	if (p->tcp_flags & TCP_RST) {
		follow(key, row, p, WEFT_CONN_FIN_LOCAL, veth->netns_cookie, 1);
		return PASS;
	}
	if (!still_allowed(row, key, revision))
		return deny(p, WEFT_HOOK_FROM_POD, row->reason);
	/* The kernel's own word for an earlier connection of these ports: the client resets that. */
	if (is_bare_ack(p) && is_undecided(row))
		return PASS;
	/* Nothing of an application may leave before a relay has the connection. */
	if (row->state == WEFT_STATE_PENDING)
		return drop(WEFT_REASON_NOT_STEERED);
	if (row->state == WEFT_STATE_REFUSE && !(row->flags & WEFT_CONN_ESTABLISHED))
		return drop(row->reason);
	if (row->state != WEFT_STATE_OUTBOUND) {
		if (p->tcp_flags & TCP_SYN) {
			row->ack = p->seq + 1;
			row->flags |= WEFT_CONN_ANSWERED;
		}
	} else if ((row->flags & (WEFT_CONN_ESTABLISHED | WEFT_CONN_ANSWERED)) ==
		   WEFT_CONN_ANSWERED) {
		row = establish(key, row, veth->netns_cookie, conf);
		if (!row)
			return deny(p, WEFT_HOOK_FROM_POD, WEFT_REASON_MAP_FULL);
	}
	remember_check(row, skb, revision);
	follow(key, row, p, WEFT_CONN_FIN_LOCAL, veth->netns_cookie, 1);
	return PASS;
}

static __always_inline void key_from_pod(const struct packet *p, struct weft_conn_key *key)
{
	__builtin_memset(key, 0, sizeof(*key));
	key->local = p->source;
	key->remote = p->target;
	key->local_port = p->source_port;
	key->remote_port = p->target_port;
	key->proto = p->proto;
}

static __always_inline int from_pod(struct __sk_buff *skb)
{
	__u32 ifindex = skb->ifindex;
	const struct weft_veth_row *veth = bpf_map_lookup_elem(&veths, &ifindex);
	const struct weft_config *conf = the_config();
	struct weft_conn_row *row;
	struct weft_conn_key key;
	struct packet p = {};
	enum parsed parsed;
	__u8 mac[ETH_ALEN];
	__u32 revision;

	if (!veth || !conf)
		return drop_unknown_veth(conf);
	revision = revision_of(conf);
	if (bpf_skb_load_bytes(skb, ETH_ALEN, mac, sizeof(mac)))
		return drop(WEFT_REASON_MALFORMED);
	if (!same_mac(mac, veth->mac))
		return drop(WEFT_REASON_SPOOFED);
	if (skb->protocol == bpf_htons(ETH_P_ARP) && !skb->vlan_present)
		return arp_from_pod(skb, veth);
	parsed = parse(skb, &p);
	if (parsed == PARSED_MALFORMED)
		return drop(WEFT_REASON_MALFORMED);
	key_from_pod(&p, &key);
	if (parsed == PARSED && p.proto == IPPROTO_TCP && !begins(&p)) {
		row = checked_row(&key, skb, revision);
		if (row) {
			follow(&key, row, &p, WEFT_CONN_FIN_LOCAL, veth->netns_cookie, 1);
			return PASS;
		}
	}
	if (!may_send_as(&p, veth))
		return deny(&p, WEFT_HOOK_FROM_POD, WEFT_REASON_SPOOFED);
	if (parsed == PARSED_FRAGMENT)
		return veth->flags & WEFT_VETH_STRICT ? drop(WEFT_REASON_FRAGMENT) : PASS;
	if (is_neighbour_discovery(&p))
		return discovery_from_pod(skb, &p, veth);
	if (p.proto == IPPROTO_UDP &&
	    (p.source_port == bpf_htons(p.v4 ? 67 : 547))) /* an offer of a DHCP server */
		return deny(&p, WEFT_HOOK_FROM_POD, WEFT_REASON_SPOOFED);
	if (p.proto == IPPROTO_TCP)
		return tcp_from_pod(skb, &p, &key, veth, conf, revision);
	/* Elsewhere answers need no row. */
	if ((veth->flags & WEFT_VETH_STRICT) && (p.proto == IPPROTO_UDP || is_echo_request(&p)) &&
	    !expect_answer(&key, veth->netns_cookie, conf))
		return deny(&p, WEFT_HOOK_FROM_POD, WEFT_REASON_MAP_FULL);
	return PASS;
}

#endif
