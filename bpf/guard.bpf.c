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
