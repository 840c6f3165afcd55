/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* A packet on a pod's veth, as far as the guard judges it. Everything is copied out by
 * bpf_skb_load_bytes(), so it does not matter how the packet lies in memory. */
#ifndef WEFT_PARSE_H
#define WEFT_PARSE_H

#include <bpf/bpf_endian.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include "decide.h"

/* linux/icmp.h drags the C library in. */
#define ICMP_ECHOREPLY 0
#define ICMP_DEST_UNREACH 3
#define ICMP_ECHO 8
#define ICMP_TIME_EXCEEDED 11
#define ICMP_PARAMETERPROB 12
#define ICMPV6_ECHO_REQUEST 128
#define ICMPV6_ECHO_REPLY 129

#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_ACK 0x10

/* Extension headers that are walked before a packet counts as malformed. */
#define IPV6_EXTENSIONS_MAX 4

enum parsed { PARSED, PARSED_FRAGMENT, PARSED_MALFORMED };

struct packet {
	struct weft_addr source;
	struct weft_addr target;
	__u32 l4_offset;
	__u32 payload_bytes; /* TCP: behind the header */
	__u32 seq;           /* TCP, host order */
	__u32 ack;
	__be16 source_port;  /* ICMP echo: the identifier, in both */
	__be16 target_port;
	__u8 proto;
	__u8 tcp_flags;
	__u8 icmp_type;
	__u8 v4;
};

static __always_inline enum parsed parse_ip4(struct __sk_buff *skb, struct packet *p)
{
	struct iphdr ip;
	__u32 header_bytes, total_bytes;

	if (bpf_skb_load_bytes(skb, ETH_HLEN, &ip, sizeof(ip)))
		return PARSED_MALFORMED;
	header_bytes = ip.ihl * 4;
	total_bytes = skb->len - ETH_HLEN;
	if (ip.version != 4 || header_bytes < sizeof(ip) || header_bytes > total_bytes ||
	    (ip.tot_len && bpf_ntohs(ip.tot_len) < header_bytes))
		return PARSED_MALFORMED;
	addr_from_v4(&p->source, ip.saddr);
	addr_from_v4(&p->target, ip.daddr);
	p->proto = ip.protocol;
	p->v4 = 1;
	p->l4_offset = ETH_HLEN + header_bytes;
	/* tot_len is zero in packets longer than 64 KiB that segmentation has yet to cut. */
	p->payload_bytes = ip.tot_len && bpf_ntohs(ip.tot_len) <= total_bytes ?
				   bpf_ntohs(ip.tot_len) - header_bytes : total_bytes - header_bytes;
	if (ip.frag_off & bpf_htons(0x3fff))
		return PARSED_FRAGMENT;
	return PARSED;
}

static __always_inline enum parsed parse_ip6(struct __sk_buff *skb, struct packet *p)
{
	struct ipv6hdr ip;
	__u32 offset = ETH_HLEN + sizeof(ip);
	__u8 next;

	if (bpf_skb_load_bytes(skb, ETH_HLEN, &ip, sizeof(ip)) || ip.version != 6)
		return PARSED_MALFORMED;
	__builtin_memcpy(&p->source, &ip.saddr, sizeof(p->source));
	__builtin_memcpy(&p->target, &ip.daddr, sizeof(p->target));
	/* ::ffff:0:0/96 on the wire would pass for IPv4. */
	if (addr_is_v4(&p->source) || addr_is_v4(&p->target))
		return PARSED_MALFORMED;
	next = ip.nexthdr;
	for (int i = 0; i < IPV6_EXTENSIONS_MAX; i++) {
		struct {
			__u8 next;
			__u8 units;
		} extension;

		if (next == IPPROTO_FRAGMENT)
			return PARSED_FRAGMENT;
		if (next != IPPROTO_HOPOPTS && next != IPPROTO_ROUTING && next != IPPROTO_DSTOPTS)
			break;
		if (bpf_skb_load_bytes(skb, offset, &extension, sizeof(extension)))
			return PARSED_MALFORMED;
		next = extension.next;
		offset += (extension.units + 1) * 8;
	}
	if (next == IPPROTO_HOPOPTS || next == IPPROTO_ROUTING || next == IPPROTO_DSTOPTS ||
	    next == IPPROTO_FRAGMENT || offset > skb->len)
		return PARSED_MALFORMED;
	p->proto = next;
	p->l4_offset = offset;
	p->payload_bytes = skb->len - offset;
	return PARSED;
}

static __always_inline enum parsed parse_l4(struct __sk_buff *skb, struct packet *p)
{
	if (p->proto == IPPROTO_TCP) {
		struct {
			__be16 source, target;
			__be32 seq, ack;
			__u8 data_offset, flags;
		} tcp;
		__u32 header_bytes;

		if (bpf_skb_load_bytes(skb, p->l4_offset, &tcp, 14))
			return PARSED_MALFORMED;
		header_bytes = (tcp.data_offset >> 4) * 4;
		if (header_bytes < 20 || header_bytes > p->payload_bytes)
			return PARSED_MALFORMED;
		p->source_port = tcp.source;
		p->target_port = tcp.target;
		p->tcp_flags = tcp.flags;
		p->seq = bpf_ntohl(tcp.seq);
		p->ack = bpf_ntohl(tcp.ack);
		p->payload_bytes -= header_bytes;
	} else if (p->proto == IPPROTO_UDP) {
		struct udphdr udp;

		if (bpf_skb_load_bytes(skb, p->l4_offset, &udp, sizeof(udp)))
			return PARSED_MALFORMED;
		p->source_port = udp.source;
		p->target_port = udp.dest;
	} else if (p->proto == (p->v4 ? IPPROTO_ICMP : IPPROTO_ICMPV6)) {
		struct {
			__u8 type, code;
			__be16 checksum, id, sequence;
		} icmp;

		if (bpf_skb_load_bytes(skb, p->l4_offset, &icmp, sizeof(icmp)))
			return PARSED_MALFORMED;
		p->icmp_type = icmp.type;
		p->source_port = icmp.id;
		p->target_port = icmp.id;
	}
	return PARSED;
}

/* Fills `p`; the source and target of a fragment are filled too. */
static __always_inline enum parsed parse(struct __sk_buff *skb, struct packet *p)
{
	enum parsed result;

	if (skb->vlan_present)
		return PARSED_MALFORMED;
	if (skb->protocol == bpf_htons(ETH_P_IP))
		result = parse_ip4(skb, p);
	else if (skb->protocol == bpf_htons(ETH_P_IPV6))
		result = parse_ip6(skb, p);
	else
		return PARSED_MALFORMED;
	return result == PARSED ? parse_l4(skb, p) : result;
}

static __always_inline int is_icmp(const struct packet *p)
{
	return p->proto == (p->v4 ? IPPROTO_ICMP : IPPROTO_ICMPV6);
}

/* Neighbour discovery and multicast listener reports, without which IPv6 does not work. */
static __always_inline int is_neighbour_discovery(const struct packet *p)
{
	return !p->v4 && p->proto == IPPROTO_ICMPV6 &&
	       ((p->icmp_type >= 130 && p->icmp_type <= 137) || p->icmp_type == 143);
}

static __always_inline int is_icmp_error(const struct packet *p)
{
	if (!is_icmp(p))
		return 0;
	return p->v4 ? p->icmp_type == ICMP_DEST_UNREACH || p->icmp_type == ICMP_TIME_EXCEEDED ||
			       p->icmp_type == ICMP_PARAMETERPROB :
		       p->icmp_type < 128;
}

static __always_inline int is_echo_request(const struct packet *p)
{
	return is_icmp(p) && p->icmp_type == (p->v4 ? ICMP_ECHO : ICMPV6_ECHO_REQUEST);
}

static __always_inline int is_echo_reply(const struct packet *p)
{
	return is_icmp(p) && p->icmp_type == (p->v4 ? ICMP_ECHOREPLY : ICMPV6_ECHO_REPLY);
}

#endif
