/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* The answer to a denied datagram: ICMP "administratively prohibited", sent back by turning the
 * packet itself around on the pod's veth, so that the sender learns at once and does not retry into
 * silence. The answer speaks as the pod, and passes the guard as the pod's own packet. */
#ifndef WEFT_PROHIBIT_H
#define WEFT_PROHIBIT_H

#include "parse.h"

/* What an ICMP error quotes of the packet: its header and eight bytes. */
#define QUOTED_V4 28
#define QUOTED_V6 48
#define ICMP_HEADER 8

static __always_inline __u16 fold(__u64 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

/* Swaps the addresses of the Ethernet header. */
static __always_inline int turn_around(struct __sk_buff *skb)
{
	struct ethhdr eth;
	__u8 mac[ETH_ALEN];

	if (bpf_skb_load_bytes(skb, 0, &eth, sizeof(eth)))
		return -1;
	__builtin_memcpy(mac, eth.h_dest, ETH_ALEN);
	__builtin_memcpy(eth.h_dest, eth.h_source, ETH_ALEN);
	__builtin_memcpy(eth.h_source, mac, ETH_ALEN);
	return bpf_skb_store_bytes(skb, 0, &eth, sizeof(eth), 0);
}

static __always_inline int prohibit4(struct __sk_buff *skb)
{
	struct {
		struct iphdr ip;
		__u8 type, code;
		__u16 checksum;
		__u32 unused;
		__u8 quoted[QUOTED_V4];
	} answer = {};
	struct iphdr *original = (struct iphdr *)answer.quoted;

	if (bpf_skb_load_bytes(skb, ETH_HLEN, answer.quoted, QUOTED_V4))
		return -1;
	answer.ip.version = 4;
	answer.ip.ihl = 5;
	answer.ip.ttl = 64;
	answer.ip.protocol = IPPROTO_ICMP;
	answer.ip.tot_len = bpf_htons(sizeof(answer));
	answer.ip.saddr = original->daddr;
	answer.ip.daddr = original->saddr;
	answer.ip.check = fold(bpf_csum_diff(NULL, 0, (__be32 *)&answer.ip, sizeof(answer.ip), 0));
	answer.type = ICMP_DEST_UNREACH;
	answer.code = 13; /* communication administratively prohibited */
	answer.checksum = fold(bpf_csum_diff(NULL, 0, (__be32 *)&answer.type,
					     ICMP_HEADER + QUOTED_V4, 0));
	if (bpf_skb_change_tail(skb, ETH_HLEN + sizeof(answer), 0))
		return -1;
	return bpf_skb_store_bytes(skb, ETH_HLEN, &answer, sizeof(answer), BPF_F_INVALIDATE_HASH);
}

static __always_inline int prohibit6(struct __sk_buff *skb)
{
	struct {
		struct ipv6hdr ip;
		__u8 type, code;
		__u16 checksum;
		__u32 unused;
		__u8 quoted[QUOTED_V6];
	} answer = {};
	struct ipv6hdr *original = (struct ipv6hdr *)answer.quoted;
	__be32 pseudo[2] = { bpf_htonl(ICMP_HEADER + QUOTED_V6), bpf_htonl(IPPROTO_ICMPV6) };
	__s64 sum;

	if (bpf_skb_load_bytes(skb, ETH_HLEN, answer.quoted, QUOTED_V6))
		return -1;
	answer.ip.version = 6;
	answer.ip.nexthdr = IPPROTO_ICMPV6;
	answer.ip.hop_limit = 64;
	answer.ip.payload_len = bpf_htons(ICMP_HEADER + QUOTED_V6);
	answer.ip.saddr = original->daddr;
	answer.ip.daddr = original->saddr;
	answer.type = 1; /* destination unreachable */
	answer.code = 1; /* administratively prohibited */
	sum = bpf_csum_diff(NULL, 0, (__be32 *)&answer.ip.saddr, 32, 0);
	sum = bpf_csum_diff(NULL, 0, pseudo, sizeof(pseudo), sum);
	sum = bpf_csum_diff(NULL, 0, (__be32 *)&answer.type, ICMP_HEADER + QUOTED_V6, sum);
	answer.checksum = fold(sum);
	if (bpf_skb_change_tail(skb, ETH_HLEN + sizeof(answer), 0))
		return -1;
	return bpf_skb_store_bytes(skb, ETH_HLEN, &answer, sizeof(answer), BPF_F_INVALIDATE_HASH);
}

/* Sends the answer in place of the packet; drops if it cannot. For UDP that is not multicast. */
static __always_inline int prohibit(struct __sk_buff *skb, const struct packet *p)
{
	if (p->proto != IPPROTO_UDP || addr_is_multicast(&p->target) ||
	    addr_is_multicast(&p->source) || (p->v4 ? prohibit4(skb) : prohibit6(skb)) ||
	    turn_around(skb))
		return 2; /* TCX_DROP */
	return bpf_redirect(skb->ifindex, BPF_F_INGRESS);
}

#endif
