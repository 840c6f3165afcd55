// SPDX-License-Identifier: GPL-2.0 OR Apache-2.0
/* The guard: every packet to or from a pod passes it, on the host's end of the pod's veth. It holds
 * the pod to its own addresses, decides on the first packet of a connection before the SYN-ACK, and
 * lets payload of what must be authenticated pass only with proof that a relay has it. It does not
 * look at payload: a check of the first bytes is evaded by sending them one by one. */
#include "from_pod.h"
#include "to_pod.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Two copies of each, so that one can take the head of the chain while the other still stands. */
SEC("tc")
int weft_to_pod(struct __sk_buff *skb)
{
	return to_pod(skb);
}

SEC("tc")
int weft_to_pod_b(struct __sk_buff *skb)
{
	return to_pod(skb);
}

SEC("tc")
int weft_from_pod(struct __sk_buff *skb)
{
	return from_pod(skb);
}

SEC("tc")
int weft_from_pod_b(struct __sk_buff *skb)
{
	return from_pod(skb);
}

/* What the sweep runs on the row of a connection that ended without a word: only here can a row and
 * its place in a budget go together. */
SEC("syscall")
int weft_forget(struct weft_seen_row *seen)
{
	struct weft_conn_key dead = seen->key;
	const struct weft_conn_row *row = bpf_map_lookup_elem(&connections, &dead);
	const struct weft_address_row *local = bpf_map_lookup_elem(&addresses, &dead.local);

	if (!row || row->touched_ns != seen->touched_ns)
		return 0;
	forget(&dead, row, local ? local->netns_cookie : 0);
	return 1;
}
