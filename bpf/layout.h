/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* The contract between the eBPF programs and TypeScript: every structure and constant that both
 * sides read. bpf/layout.gen.ts is generated from the BTF of these types. Addresses are always 16
 * bytes, IPv4 as ::ffff:a.b.c.d, in network order; __be16 is a port in network order. A zeroed row
 * always means "refuse". */
#ifndef WEFT_LAYOUT_H
#define WEFT_LAYOUT_H

#include <linux/types.h>

/* Why something was refused, dropped or counted: one closed list, one cause each. */
enum weft_reason {
	WEFT_REASON_NONE = 0,
	WEFT_REASON_POLICY_DENIED = 1,
	WEFT_REASON_DEFAULT_DENY = 2,
	WEFT_REASON_AUTH_REQUIRED = 3,
	WEFT_REASON_HTTP_DENIED = 4,
	WEFT_REASON_DNS_DENIED = 5,
	WEFT_REASON_SNI_DENIED = 6,
	WEFT_REASON_POLICY_CONFLICT = 7,
	WEFT_REASON_L7_UNAVAILABLE = 8,
	WEFT_REASON_MTLS_REQUIRED = 9,
	WEFT_REASON_NOT_TLS = 10,
	WEFT_REASON_NO_CERTIFICATE = 11,
	WEFT_REASON_CERTIFICATE_UNTRUSTED = 12,
	WEFT_REASON_CERTIFICATE_EXPIRED = 13,
	WEFT_REASON_WRONG_TRUST_DOMAIN = 14,
	WEFT_REASON_WRONG_NODE = 15,
	WEFT_REASON_WRONG_IDENTITY = 16,
	WEFT_REASON_UNKNOWN_IDENTITY = 17,
	WEFT_REASON_ADDRESS_CONFLICT = 18,
	WEFT_REASON_SPOOFED = 19,
	WEFT_REASON_FRAGMENT = 20,
	WEFT_REASON_MALFORMED = 21,
	WEFT_REASON_NO_CONNECTION = 22,
	WEFT_REASON_MAP_FULL = 23,
	WEFT_REASON_PEER_NOT_READY = 24,
	WEFT_REASON_AGENT_DOWN = 25,
	WEFT_REASON_NOT_LISTENING = 26,
	WEFT_REASON_NO_BACKEND = 27,
	WEFT_REASON_CIRCUIT_OPEN = 28,
	WEFT_REASON_NOT_STEERED = 29,      /* payload of a connection that no relay has taken */
	WEFT_REASON_RELAY_PORT = 30,       /* somebody dialled a relay's own listener */
	WEFT_REASON_SYN_BUDGET = 31,       /* the source has too many half-open connections */
	WEFT_REASON_NOT_AUTHENTICATED = 32, /* UDP or ICMP, which mutual TLS cannot carry, to STRICT */
	WEFT_REASON_HANDSHAKE_FAILED = 33, /* TLS broke for a cause that no other code names */
	WEFT_REASON_HANDSHAKE_TIMEOUT = 34,
	WEFT_REASON_CERTIFICATE_INVALID = 35, /* of a trusted issuer, but no SVID by SPIFFE's rules */
	WEFT_REASON_MAX = 64,
};

/* What is decided for a connection. Zero refuses. */
enum weft_verdict {
	WEFT_VERDICT_REFUSE = 0,
	WEFT_VERDICT_DIRECT = 1,
	WEFT_VERDICT_RELAY = 2,
	WEFT_VERDICT_WAIT = 3, /* say nothing for the patience interval, then refuse */
};

/* Where a connection is judged. */
enum weft_stage {
	WEFT_STAGE_OUTBOUND = 0, /* the client's connect() */
	WEFT_STAGE_INBOUND = 1,  /* the SYN at the server's veth */
};

/* Who connects, as far as an address tells. */
enum weft_source {
	WEFT_SOURCE_UNKNOWN = 0,  /* lies in a mesh pod CIDR, but no pod is known there (yet) */
	WEFT_SOURCE_OUTSIDE = 1,  /* no pod, no node */
	WEFT_SOURCE_NODE = 2,     /* another node's own address */
	WEFT_SOURCE_PLAIN = 3,    /* a pod that is not in the mesh */
	WEFT_SOURCE_OWN_CERT = 4, /* a pod that speaks TLS itself */
	WEFT_SOURCE_MESH = 5,     /* an enrolled pod */
	WEFT_SOURCE_CONFLICT = 6, /* two live pods claim the address: it is nobody's */
	WEFT_SOURCE_MAX = 8,
};

/* The mode of one port of one pod; NONE: not in the mesh, or DISABLE. */
enum weft_mode {
	WEFT_MODE_UNKNOWN = 0, /* lies in a mesh pod CIDR, but no pod is known there (yet) */
	WEFT_MODE_NONE = 1,
	WEFT_MODE_PERMISSIVE = 2,
	WEFT_MODE_STRICT = 3,
	WEFT_MODE_MAX = 4,
};

/* Where the destination lives, seen from this node. */
enum weft_where {
	WEFT_WHERE_UNREADY = 0, /* its node has not announced itself */
	WEFT_WHERE_REMOTE = 1,  /* another node, announced */
	WEFT_WHERE_ENCRYPT = 2, /* this node; same-node traffic is encrypted */
	WEFT_WHERE_ATTEST = 3,  /* this node; same-node traffic goes directly, attested */
	WEFT_WHERE_MAX = 4,
};

/* Number of rows of `decisions`: stage, source, mode, where. */
#define WEFT_DECISIONS (2 * WEFT_SOURCE_MAX * WEFT_MODE_MAX * WEFT_WHERE_MAX)

/* States of a row in the connection tables. */
enum weft_state {
	WEFT_STATE_REFUSE = 0,   /* answered with RST by sk_lookup; nothing passes */
	WEFT_STATE_NODE = 1,     /* from the node itself: to the application */
	WEFT_STATE_DIRECT = 2,   /* policy allows it as it is */
	WEFT_STATE_PENDING = 3,  /* must be steered; no payload passes */
	WEFT_STATE_STEERED = 4,  /* a relay has it */
	WEFT_STATE_OUTBOUND = 5, /* opened by the pod; answers pass */
};

/* Workers that may listen for one pod and direction. */
#define WEFT_WORKERS_MAX 8

/* weft_conn_row.flags */
#define WEFT_CONN_FIN_LOCAL 0x01    /* the pod has sent FIN */
#define WEFT_CONN_FIN_REMOTE 0x02   /* the peer has sent FIN */
#define WEFT_CONN_ESTABLISHED 0x04  /* the handshake is complete */
#define WEFT_CONN_ATTESTED 0x08     /* sent by the pod's own socket, on this node */
#define WEFT_CONN_FALLBACK 0x10     /* PENDING may go direct when no relay is there */
#define WEFT_CONN_ANSWERED 0x20     /* a SYN-ACK has passed */
#define WEFT_CONN_KNOWN 0x40        /* the opener's address has a row: it is no part of a flood */
#define WEFT_CONN_DOUBTED 0x80      /* a RST has come that the pod did not expect: it may be over */

/* weft_config.flags */
#define WEFT_CONFIG_PARTIAL 0x01      /* an address without a row may be a pod's: maps are full */
#define WEFT_CONFIG_NO_SERVICE 0x02   /* an address without a row may be a Service's */
#define WEFT_CONFIG_PODS_FULL 0x04    /* a veth without a row may be a pod's of the plan */
#define WEFT_CONFIG_LISTENED 0x08     /* somebody wants to know what was allowed, too */

/* weft_address_row.flags */
#define WEFT_ADDRESS_LOCAL 0x01     /* a pod of this node */
#define WEFT_ADDRESS_PORTS 0x02     /* has rows in `ports` */
#define WEFT_ADDRESS_STRICT 0x04    /* some port is STRICT: fragments cannot be judged */
#define WEFT_ADDRESS_HOST 0x08      /* an address of this node itself */

/* weft_veth_row.flags */
#define WEFT_VETH_STRICT 0x01       /* some port of the pod is STRICT */

struct weft_addr {
	__be32 word[4];
};

/* `config`[0] */
struct weft_config {
	__u64 node_cookie;      /* netns cookie of the node */
	__u32 revision;         /* of the plan in force; 0: none yet */
	__u32 workers;          /* relay workers; 0: none */
	__u16 relay_port_first; /* target ports of steered outbound connections, host order */
	__u16 relay_port_count;
	__u32 patience_ms;      /* how long a SYN from an unknown pod is met with silence */
	__u32 flags;            /* WEFT_CONFIG_* */
	__u32 half_open_max;    /* that one payer may open in an epoch and not complete */
	__u32 flood_max;        /* the same, of all unknown hosts to one pod */
	__u32 opened_max;       /* rows of `connections` that one pod may pay for */
	__u32 accepted_max;     /* that outsiders may take of one pod */
	__u32 net_max;          /* that one network, or known address, outside may pay for */
	__u32 steered_max;      /* connections of one pod that a relay may have */
	__u32 silence_ms;       /* a relay worker that is silent for as long is not there */
};

/* `decisions`[((stage * SOURCES + source) * MODES + mode) * WHERES + where] */
struct weft_decision {
	__u8 verdict;  /* enum weft_verdict */
	__u8 fallback; /* the verdict when no relay is there */
	__u16 reason;  /* of the refusal; for RELAY and WAIT the reason if it comes to nothing */
};

/* `addresses`: everything known about one address */
struct weft_address_row {
	__u64 netns_cookie; /* of a local pod, else 0 */
	__u32 slot;         /* of a local pod, else 0 */
	__u8 source;        /* enum weft_source */
	__u8 mode;          /* enum weft_mode of ports without a row in `ports` */
	__u8 where;         /* enum weft_where */
	__u8 flags;         /* WEFT_ADDRESS_* */
};

struct weft_port_key {
	struct weft_addr addr;
	__be16 port;
	__u8 proto;
	__u8 pad;
};

struct weft_port_row {
	__u8 mode;  /* enum weft_mode */
	__u8 where; /* enum weft_where */
	__u8 pad[2];
};

/* `pods`: netns cookie -> local pod, for the socket hooks */
struct weft_pod_row {
	struct weft_addr ip4; /* zero if it has none of the family */
	struct weft_addr ip6;
	__u32 slot;   /* of its listeners; from 1 */
	__u8 source;  /* enum weft_source */
	__u8 pad[3];
};

/* `veths`: ifindex of the host side -> local pod, for the guard */
struct weft_veth_row {
	__u64 netns_cookie;
	__u32 slot;
	__s32 nsid; /* of the pod's namespace, seen from the node's */
	__u8 mac[6];
	__u8 flags; /* WEFT_VETH_* */
	__u8 pad;
	struct weft_addr link_local; /* the one that the pod may announce */
};

/* `cidrs`, a longest-prefix trie */
struct weft_cidr_key {
	__u32 prefix_bits; /* of 128 */
	struct weft_addr addr;
};

/* `connections`, `half_open`, `closing`, `datagrams`: seen from the local pod. ICMP echo: the
 * identifier stands in both ports. */
struct weft_conn_key {
	struct weft_addr local;
	struct weft_addr remote;
	__be16 local_port;
	__be16 remote_port;
	__u8 proto;
	__u8 pad[3];
};

struct weft_conn_row {
	__u64 touched_ns; /* CLOCK_MONOTONIC of the last packet that changed the row */
	__u32 revision;   /* of the plan that judged it last */
	__u16 reason;
	__u8 state; /* enum weft_state */
	__u8 flags; /* WEFT_CONN_* */
	struct weft_addr payer; /* whose budget the row is in; zero: nobody's */
	__u32 ack;     /* the least that acknowledges the SYN-ACK; host order */
	__u32 ifindex; /* of the veth on which the addresses were checked; 0: none yet */
};

/* What the sweep gives to weft_forget: a row, as it has seen it last. */
struct weft_seen_row {
	struct weft_conn_key key;
	__u64 touched_ns; /* by now another: the ports have a new connection */
};

/* `services`: cluster address and port -> backends */
struct weft_service_row {
	__u32 id;    /* in `backends`; 0: they did not fit, refuse, map-full */
	__u32 count; /* ready backends; 0: refuse, no-backend */
};

struct weft_backend_key {
	__u32 service;
	__u32 index; /* 0 .. count-1 */
};

struct weft_backend_row {
	struct weft_addr addr;
	__be16 port;
	__u8 pad[2];
};

/* `sockets`, socket storage: what weft knows of one socket */
enum weft_role {
	WEFT_ROLE_NONE = 0,
	WEFT_ROLE_TRANSLATED = 1, /* dialled a Service, goes direct */
	WEFT_ROLE_CLIENT = 2,     /* dialled something, was steered to the relay */
	WEFT_ROLE_RELAY_OUT = 3,  /* the relay's own socket towards a peer */
	WEFT_ROLE_RELAY_IN = 4,   /* the relay's own socket towards a local application */
	WEFT_ROLE_ACCEPTED = 5,   /* the application's end of RELAY_IN */
	WEFT_ROLE_LISTENER = 6,   /* a relay's listener: nobody may dial it */
};

struct weft_socket {
	struct weft_addr name;   /* what getpeername() reports; RELAY_IN: the real client */
	struct weft_addr target; /* CLIENT: the backend that was chosen */
	__be16 name_port;
	__be16 target_port;
	__u8 role;  /* enum weft_role */
	__u8 flags; /* WEFT_SOCKET_* */
	__u8 pad[2];
};

/* weft_socket.flags */
#define WEFT_SOCKET_CHARGED 0x01 /* CLIENT: its pod has paid for it */

/* `steered`: outbound connections handed to the relay, until it has taken them; `clients`: inbound
 * ones handed to the application, until it has accepted them */
struct weft_steer_key {
	__u64 netns_cookie;
	struct weft_addr source; /* of the connection over the pod's lo */
	__be16 source_port;
	__be16 target_port;
	__u8 pad[4];
};

struct weft_steer_row {
	struct weft_addr target;  /* steered: the backend; clients: the real client */
	struct weft_addr dialled; /* steered: what the application asked for */
	__be16 target_port;
	__be16 dialled_port;
	__u8 pad[4];
};

/* Who pays for rows: WEFT_PAYER_POD in word[0], a role in word[1] and the netns cookie of a local
 * pod; or, outside, an address that is known, else its network (/24 or /64). */
#define WEFT_PAYER_POD 0xffffffff
#define WEFT_PAYER_OPENS 0     /* what the pod opens */
#define WEFT_PAYER_ACCEPTS 1   /* what outsiders open to it */
#define WEFT_PAYER_DATAGRAMS 2 /* what it sends and wants answered */

/* `pod_budgets`, `budgets`: what a payer has taken */
struct weft_budget {
	__u64 epoch;       /* in which half_open was counted */
	__u32 half_open;   /* connections begun in this epoch and not complete */
	__u32 established; /* rows in `connections` */
	__u32 steered;     /* a local pod's connections that were turned to the relay and live */
	__u32 pad;
};

/* Events a second and CPU; what is beyond counts as lost. */
#define WEFT_UNHEARD_MAX 32  /* of what was allowed, while nobody listens: none is lost, then */
#define WEFT_DROPS_MAX 256   /* of what was dropped: a flood of it must not drown the rest */
#define WEFT_REFUSED_MAX 2048 /* of what was refused, and knows it */

/* `quotas`, per CPU: by what they are for */
enum weft_telling {
	WEFT_TELLING_UNHEARD = 0,
	WEFT_TELLING_DROPS = 1,
	WEFT_TELLING_REFUSED = 2,
	WEFT_TELLING_MAX = 4,
};

struct weft_quota {
	__u64 second;
	__u32 told;
	__u32 pad;
};

/* `datagram_names`: the Service that a UDP socket sent to, by the backend that answers */
struct weft_datagram_key {
	__u64 socket_cookie;
	struct weft_addr backend;
	__be16 port;
	__u8 pad[6];
};

struct weft_datagram_name {
	struct weft_addr service;
	__be16 port;
	__u8 pad[2];
};

/* Where an event was written. */
enum weft_hook {
	WEFT_HOOK_CONNECT = 1,
	WEFT_HOOK_SENDMSG = 2,
	WEFT_HOOK_LOOKUP = 3,
	WEFT_HOOK_TO_POD = 4,
	WEFT_HOOK_FROM_POD = 5,
	WEFT_HOOK_RELAY = 6, /* written by user space */
};

/* One record of the ring `events`. source and target are those of the connection. */
struct weft_event {
	__u64 time_ns; /* CLOCK_MONOTONIC */
	struct weft_addr source;
	struct weft_addr target;
	__be16 source_port;
	__be16 target_port;
	__u16 reason;  /* enum weft_reason */
	__u8 verdict;  /* enum weft_verdict */
	__u8 hook;     /* enum weft_hook */
	__u8 proto;
	__u8 state;    /* enum weft_state */
	__u8 pad[6];
};

/* `counters`, per CPU: [reason] for refusals and drops, then these. EVENTS_LOST is the sum of
 * those at LOST. */
enum weft_counter {
	WEFT_COUNTER_DIRECT = 64,
	WEFT_COUNTER_STEERED_IN = 65,
	WEFT_COUNTER_STEERED_OUT = 66,
	WEFT_COUNTER_NODE = 67,
	WEFT_COUNTER_OUTBOUND = 68,
	WEFT_COUNTER_TRANSLATED = 69,
	WEFT_COUNTER_PLAINTEXT_FROM_MESH = 70,
	WEFT_COUNTER_EVENTS_LOST = 71,
	WEFT_COUNTER_FALLBACK = 72,
	WEFT_COUNTER_LOST = 80, /* + [reason]: events for which there was no room, by reason */
	WEFT_COUNTER_MAX = 144,
};

#endif
