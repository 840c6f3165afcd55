/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* The kernel's half of the one decision: classify both ends by their address rows, then read the
 * verdict that compile/decide.ts has put into the table. No rule is written here. */
#ifndef WEFT_DECIDE_H
#define WEFT_DECIDE_H

#include <bpf/bpf_endian.h>
#include "maps.h"

static __always_inline int addr_equal(const struct weft_addr *a, const struct weft_addr *b)
{
	return a->word[0] == b->word[0] && a->word[1] == b->word[1] && a->word[2] == b->word[2] &&
	       a->word[3] == b->word[3];
}

static __always_inline void addr_from_v4(struct weft_addr *addr, __be32 ip)
{
	addr->word[0] = 0;
	addr->word[1] = 0;
	addr->word[2] = bpf_htonl(0xffff);
	addr->word[3] = ip;
}

static __always_inline int addr_is_v4(const struct weft_addr *a)
{
	return a->word[0] == 0 && a->word[1] == 0 && a->word[2] == bpf_htonl(0xffff);
}

static __always_inline int addr_is_loopback(const struct weft_addr *a)
{
	if (addr_is_v4(a)) /* connecting to the unspecified address reaches loopback */
		return (a->word[3] & bpf_htonl(0xff000000)) == bpf_htonl(0x7f000000) ||
		       a->word[3] == 0;
	return a->word[0] == 0 && a->word[1] == 0 && a->word[2] == 0 &&
	       (a->word[3] == bpf_htonl(1) || a->word[3] == 0);
}

static __always_inline int addr_is_unspecified(const struct weft_addr *a)
{
	return a->word[0] == 0 && a->word[1] == 0 && a->word[2] == 0 && a->word[3] == 0;
}

static __always_inline int addr_is_multicast(const struct weft_addr *a)
{
	if (addr_is_v4(a))
		return (a->word[3] & bpf_htonl(0xf0000000)) == bpf_htonl(0xe0000000) ||
		       a->word[3] == bpf_htonl(0xffffffff);
	return (a->word[0] & bpf_htonl(0xff000000)) == bpf_htonl(0xff000000);
}

static __always_inline const struct weft_config *the_config(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&config, &zero);
}

/* Of the plan in force. Read once for a packet, before any row: what is judged by the rows of one
 * plan must not pass for judged by the next. */
static __always_inline __u32 revision_of(const struct weft_config *conf)
{
	return *(const volatile __u32 *)&conf->revision;
}

/* An agent that ends in order leaves the time under the unspecified address: what needs its relay
 * is met with silence from then on, as if the peer were not known yet, and TCP tries again when the
 * next relay is there. A restart refuses nobody; a relay that was killed leaves no such row. */
static __always_inline int relay_is_expected(const struct weft_config *conf)
{
	struct weft_addr nobody = {};
	const __u64 *since = bpf_map_lookup_elem(&unknown_peers, &nobody);

	return since && bpf_ktime_get_ns() - *since < (__u64)conf->patience_ms * 1000000;
}

static __always_inline int in_pod_cidr(const struct weft_addr *addr)
{
	struct weft_cidr_key key = { .prefix_bits = 128, .addr = *addr };

	return bpf_map_lookup_elem(&cidrs, &key) != NULL;
}

struct destination {
	__u8 mode;
	__u8 where;
};

/* Whether an address without a row may be a pod's all the same. When not all rows fit, any may:
 * then an enrolled pod's connection goes to the relay, which knows the whole plan. */
static __always_inline int may_be_pod(const struct weft_addr *addr)
{
	const struct weft_config *conf = the_config();

	return !conf || (conf->flags & WEFT_CONFIG_PARTIAL) || in_pod_cidr(addr);
}

/* Mode and place of one port. Overrides exist for TCP alone. */
static __always_inline struct destination destination_of(const struct weft_address_row *row,
							 const struct weft_addr *addr, __be16 port)
{
	struct destination d = { .mode = WEFT_MODE_NONE, .where = WEFT_WHERE_UNREADY };

	if (!row) {
		if (may_be_pod(addr))
			d.mode = WEFT_MODE_UNKNOWN;
		return d;
	}
	d.mode = row->mode;
	d.where = row->where;
	if (row->flags & WEFT_ADDRESS_PORTS) {
		struct weft_port_key key = { .addr = *addr, .port = port, .proto = 6 };
		const struct weft_port_row *override = bpf_map_lookup_elem(&ports, &key);

		if (override) {
			d.mode = override->mode;
			d.where = override->where;
		}
	}
	return d;
}

/* A source that has no row for want of room is an outsider: it must prove itself to the relay. */
static __always_inline __u8 source_of(const struct weft_address_row *row,
				      const struct weft_addr *addr)
{
	if (row)
		return row->source;
	return in_pod_cidr(addr) ? WEFT_SOURCE_UNKNOWN : WEFT_SOURCE_OUTSIDE;
}

static __always_inline const struct weft_decision *decision_of(__u32 stage, __u8 source,
							       struct destination d)
{
	__u32 index = ((stage * WEFT_SOURCE_MAX + source) * WEFT_MODE_MAX + d.mode) *
			      WEFT_WHERE_MAX + d.where;

	return bpf_map_lookup_elem(&decisions, &index);
}

#endif
