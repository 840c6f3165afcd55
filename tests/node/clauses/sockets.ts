/**
 * Sockets of every kind: what holds for each, however it was made.
 *
 * @module
 */
import { type Clause, type Mutation, testsOf } from "./clause.ts";

const AS_ANY = "is carried in the mesh, and refused outside of it";

const shownBy = testsOf("tests/node/sockets_test.ts", "a socket");

/** Turns connections to the pod's loopback, which only a socket without a device can reach. */
const TO_LOOPBACK: Mutation = {
  file: "bpf/connect.h",
  find: "	*to = self;",
  put: "	addr_from_v4(to, bpf_htonl(0x7f000001));",
};

/** Goes by the namespace that a task is in, not by the socket's. */
const BY_TASK: Mutation = {
  file: "bpf/connect.h",
  find: "	__u64 cookie = bpf_get_netns_cookie(ctx);",
  put: "	__u64 cookie = bpf_get_netns_cookie(NULL);",
};

/** Lets a pod outside of the mesh try. */
const PLAIN_TRIES: Mutation = {
  file: "src/compile/decide.ts",
  find: 'return mode === "strict" ? refuse("mtls-required") : DIRECT;',
  put: "return DIRECT;",
};

/** Looks for listeners of the pod's loopback. */
const LOOKS_AT_LOOPBACK_4: Mutation = {
  file: "bpf/judge.h",
  find: "tuple.ipv4.daddr = p->target.word[3];",
  put: "tuple.ipv4.daddr = bpf_htonl(0x7f000001);",
};
const LOOKS_AT_LOOPBACK_6: Mutation = {
  file: "bpf/judge.h",
  find: "__builtin_memcpy(tuple.ipv6.daddr, &p->target, sizeof(p->target));",
  put: "tuple.ipv6.daddr[3] = bpf_htonl(1);",
};

/** Hands a connection to the relay whether somebody listens or not. */
const LISTENING_OR_NOT: Mutation = {
  file: "bpf/judge.h",
  find: "		return WEFT_REASON_NOT_LISTENING;",
  put: "		return 0;",
};

/** What holds for every socket. */
export const sockets: readonly Clause[] = [
  {
    promise: "A socket that is bound to an address first goes through mutual TLS, of both families",
    test: shownBy(`that is bound to its address ${AS_ANY}`),
    mutation: {
      file: "bpf/connect.h",
      find: "self = addr_is_v4(to) ? pod->ip4 : pod->ip6;",
      put: "self = pod->ip4;",
    },
  },
  {
    promise: "A socket that is bound to a port first goes through mutual TLS and keeps the port",
    test: shownBy(`that is bound to a port ${AS_ANY}`),
    mutation: {
      file: "bpf/lookup.bpf.c",
      find: "	key.source_port = bpf_htons(ops->local_port);",
      put: "	key.source_port = 0;",
    },
  },
  {
    promise: "A socket that is bound to a device first goes through mutual TLS",
    test: shownBy(`that is bound to a device ${AS_ANY}`),
    mutation: TO_LOOPBACK,
  },
  {
    promise: "A connect() that does not block goes through mutual TLS",
    test: shownBy(`that does not block ${AS_ANY}`),
    mutation: {
      file: "bpf/lookup.bpf.c",
      find: "	if (ops->op == BPF_SOCK_OPS_TCP_CONNECT_CB) {",
      put: "	if (ops->op == BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB) {",
    },
  },
  {
    promise: "Data that TCP Fast Open sends with the SYN is not on the wire, nor a refused SYN",
    test: shownBy(`that sends with its SYN ${AS_ANY}`),
    mutation: PLAIN_TRIES,
  },
  {
    promise: "An IPv6 socket that dials ::ffff:0:0/96 goes through mutual TLS as IPv4",
    test: shownBy(`of IPv6 that dials IPv4 ${AS_ANY}`),
    mutation: {
      file: "bpf/connect.h",
      find: "self = addr_is_v4(to) ? pod->ip4 : pod->ip6;",
      put: "self = ctx->user_family == 2 ? pod->ip4 : pod->ip6;",
    },
  },
  {
    promise: "A connection that io_uring opens goes through mutual TLS",
    test: shownBy(`that a ring connects ${AS_ANY}`),
    mutation: {
      file: "src/load/pins.ts",
      find: "  weft_connect4: AttachType.CGROUP_INET4_CONNECT,\n",
      put: "",
    },
  },
  {
    promise: "A connection that a polling thread of io_uring opens goes through mutual TLS",
    test: shownBy(`that a polled ring connects ${AS_ANY}`),
    mutation: BY_TASK,
  },
  {
    promise: "A connected UDP socket learns that STRICT does not take it, and nothing arrives",
    test: shownBy("of UDP that is connected is told that STRICT does not take it"),
    mutation: { file: "bpf/to_pod.h", find: "	return prohibit(skb, p);", put: "	return PASS;" },
  },
  {
    promise: "A socket that was made outside of the pod's cgroup is judged like the pod's others",
    test: shownBy("that was made before its process came into the pod's cgroup is no exception"),
    mutation: {
      file: "src/load/datapath.ts",
      find: "openDirectory(this.#options.cgroup)",
      put: "openDirectory(`${this.#options.cgroup}/agent`)",
    },
  },
  {
    promise: "A socket belongs to the namespace in which it was made, wherever its process goes",
    test: shownBy("is the namespace's in which it was made, wherever its process went"),
    mutation: BY_TASK,
  },
  {
    promise: "A socket of an enrolled pod that another pod is given stays the enrolled pod's",
    test: shownBy("that default/client gives to default/plain remains what it was"),
    mutation: BY_TASK,
  },
  {
    promise: "A socket of a plain pod that an enrolled pod is given stays refused",
    test: shownBy("that default/plain gives to default/client remains what it was"),
    mutation: PLAIN_TRIES,
  },
  {
    promise: "MPTCP, where the kernel has it, goes through mutual TLS and knows its peer's name",
    test: shownBy(`of MPTCP ${AS_ANY}`),
    mutation: {
      file: "bpf/connect.h",
      find: "whole = whole_of(ctx, BPF_SK_STORAGE_GET_F_CREATE);",
      put: "whole = NULL;",
    },
  },
  {
    promise: "A pod reaches itself by a Service, whose name the socket keeps",
    test: shownBy("leads a pod to itself, by Service"),
    mutation: {
      file: "bpf/connect.h",
      find: "!remember(ctx, WEFT_ROLE_TRANSLATED, &dialled, dialled_port)",
      put: "!remember(ctx, WEFT_ROLE_TRANSLATED, to, *port)",
    },
  },
  {
    promise: "A pod reaches itself by its address",
    test: shownBy("leads a pod to itself, by address"),
    mutation: {
      file: "bpf/connect.h",
      find: "		return WEFT_VERDICT_DIRECT; /* the pod's own address */",
      put: "		return WEFT_VERDICT_REFUSE;",
    },
  },
  {
    promise: "What an application binds to localhost (IPv4) only is not there for others",
    test: shownBy("of an application that binds only localhost (IPv4) is reached exactly there"),
    mutation: LOOKS_AT_LOOPBACK_4,
  },
  {
    promise: "What an application binds to localhost (IPv6) only is not there for others",
    test: shownBy("of an application that binds only localhost (IPv6) is reached exactly there"),
    mutation: LOOKS_AT_LOOPBACK_6,
  },
  {
    promise: "What an application binds to its address (IPv4) only is reached by that address",
    test: shownBy("of an application that binds only its address (IPv4) is reached exactly there"),
    mutation: LOOKS_AT_LOOPBACK_4,
  },
  {
    promise: "What an application binds to its address (IPv6) only is reached by that address",
    test: shownBy("of an application that binds only its address (IPv6) is reached exactly there"),
    mutation: LOOKS_AT_LOOPBACK_6,
  },
  {
    promise: "What an application binds to IPv4 only is refused by IPv6",
    test: shownBy("of an application that binds only IPv4 is reached exactly there"),
    mutation: LISTENING_OR_NOT,
  },
  {
    promise: "What an application binds to IPv6 only is refused by IPv4",
    test: shownBy("of an application that binds only IPv6 is reached exactly there"),
    mutation: LISTENING_OR_NOT,
  },
];
