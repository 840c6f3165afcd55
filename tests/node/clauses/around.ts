/**
 * Attempts to get around: what a pod with every capability, other software on its node, or time
 * could do, and what then holds.
 *
 * @module
 */
import { type Clause, type Mutation, testsOf } from "./clause.ts";

const packets = testsOf("tests/node/around_packets_test.ts", "a pod with every capability");
const way = testsOf("tests/node/around_test.ts", "a way around the mesh");

function inFromPod(find: string, put: string): Mutation {
  return { file: "bpf/from_pod.h", find, put };
}

function inParse(find: string, put: string): Mutation {
  return { file: "bpf/parse.h", find, put };
}

/** Whose address it is does not matter. */
const ANY_ADDRESS = inFromPod("	if (!may_send_as(&p, veth))", "	if (0)");

const RELAY_PORT: Mutation = {
  file: "src/relay/io/door.ts",
  find: "    this.#mark(fd, WeftRole.LISTENER, NOBODY);",
  put: "    this.#mark(fd, WeftRole.NONE, NOBODY);",
};

/** What holds whatever somebody tries. */
export const around: readonly Clause[] = [
  {
    promise: "A pod that sends under another pod's address is not heard",
    test: packets("is not heard under another pod's address"),
    mutation: ANY_ADDRESS,
  },
  {
    promise: "A pod that sends under an address of the node is not heard",
    test: packets("is not heard under an address of the node, which STRICT would serve"),
    mutation: ANY_ADDRESS,
  },
  {
    promise: "A pod that sends under another MAC address is not heard",
    test: packets("is not heard under another's MAC address"),
    mutation: inFromPod("	if (!same_mac(mac, veth->mac))", "	if (0)"),
  },
  {
    promise: "A pod cannot claim another's address by ARP",
    test: packets("cannot say by ARP that it has another's address"),
    mutation: inFromPod("(ip && !is_own(&sender, veth))", "0"),
  },
  {
    promise: "A pod cannot claim another's address by neighbour discovery",
    test: packets("cannot say by neighbour discovery that it has another's address"),
    mutation: inFromPod(
      "	if (!addr_equal(&target, &veth->link_local) && !is_own(&target, veth))",
      "	if (0)",
    ),
  },
  {
    promise: "A pod cannot advertise a router, nor redirect",
    test: packets("cannot play the router"),
    mutation: inFromPod("	if (p->icmp_type == 134 || p->icmp_type == 137)", "	if (0)"),
  },
  {
    promise: "A pod that has the process id of a dead agent is refused like any other",
    test: way("is not the process id of an agent that died"),
    mutation: {
      file: "bpf/connect.h",
      find: "	*reason = WEFT_REASON_AGENT_DOWN;\n",
      put: "	*reason = WEFT_REASON_AGENT_DOWN;\n	return WEFT_VERDICT_DIRECT;\n",
    },
  },
  {
    promise: "Nobody joins the relay's ports by SO_REUSEPORT, or takes those that it steers by",
    test: way("is no place beside the relay on its ports"),
    mutation: {
      file: "ffi/linux/socket.ts",
      find: "    setOption(raw, SocketOption.REUSEADDR, 1);",
      put: "    setOption(raw, [1, 15], 1);",
    },
  },
  {
    promise:
      "Dialling the relay's ports, a pod's own or another's, near or far, is refused at once",
    test: way("is no port of a relay's own, near or far"),
    mutation: RELAY_PORT,
  },
  {
    promise: "From a user and network namespace inside of a plain pod STRICT is refused",
    test: way("is no namespace inside of a pod (mtls-required)"),
    mutation: {
      file: "src/compile/decide.ts",
      find: '      return refuse("mtls-required");',
      put: '      return relayOnly("agent-down");',
    },
  },
  {
    promise: "From a user and network namespace inside of an enrolled pod plaintext is refused",
    test: way("is no namespace inside of a pod (not-tls)"),
    mutation: {
      file: "src/compile/decide.ts",
      find: '      return where === "attest" ? DIRECT : relayOnly("agent-down");',
      put: "      return DIRECT;",
    },
  },
  {
    promise: "A flood of SYNs, of a pod or from outside, takes nothing from others and is bounded",
    test: packets(
      "takes nothing from others by a flood of SYNs, and neither does a host outside",
    ),
    mutation: {
      file: "bpf/budget.h",
      find: "	if (!has_room_for(budget->half_open, max))",
      put: "	if (0)",
    },
  },
  {
    promise: "Fragments do not reach a STRICT pod",
    test: packets("sends no fragments to a STRICT pod"),
    mutation: {
      file: "bpf/to_pod.h",
      find: "	if (parsed == PARSED_FRAGMENT && strict)",
      put: "	if (0)",
    },
  },
  {
    promise: "Packets with VLAN tags reach no pod",
    test: packets("sends no VLAN tags"),
    mutation: inParse("	if (skb->vlan_present)", "	if (0)"),
  },
  {
    promise: "Headers that are overlong, or that nobody needs so many of, reach no pod",
    test: packets("sends no header that is longer than its packet, or than anyone needs"),
    mutation: inParse("if (header_bytes < 20 || header_bytes > p->payload_bytes)", "if (0)"),
  },
  {
    promise: "Other protocols of IP do not reach a STRICT pod",
    test: packets("sends no other protocol of IP to a STRICT pod"),
    mutation: {
      file: "bpf/to_pod.h",
      find: "(p->proto == IPPROTO_UDP || is_echo_reply(p)) && bpf_map_lookup_elem",
      put: "p->proto != IPPROTO_UDP || bpf_map_lookup_elem",
    },
  },
  {
    promise: "A segment of a connection that nobody opened does not reach a STRICT port",
    test: packets("sends nothing into a connection that it has not opened"),
    mutation: {
      file: "bpf/judge.h",
      find: "	return mode == WEFT_MODE_STRICT || mode == WEFT_MODE_UNKNOWN;",
      put: "	return mode == WEFT_MODE_UNKNOWN;",
    },
  },
  {
    promise: "A TCX program that takes the place before the guard loses it again",
    test: way("is no other program on the interface, which wants to be first"),
    mutation: {
      file: "src/load/guard.ts",
      find: '    return info?.kind === "tcx" && info.ifindex === ifindex &&\n' +
        "      queryTcx(ifindex, TCX_TYPES[direction])[0] === info.programId;",
      put: '    return info?.kind === "tcx" && info.ifindex === ifindex;',
    },
  },
  {
    promise: "A TCX program behind the guard brings back nothing that the guard has dropped",
    test: way("is no other program on the interface, which wants to be last"),
    mutation: {
      file: "bpf/judge.h",
      find: "#define SHOT 2 ",
      put: "#define SHOT PASS ",
    },
  },
  {
    promise: "With the sk_lookup link detached no byte passes, and the agent puts it back",
    test: way("is no pod from which the program that hands connections over was taken"),
    mutation: inFromPod(
      "	if (row->state == WEFT_STATE_PENDING)\n		return drop(WEFT_REASON_NOT_STEERED);\n",
      "",
    ),
  },
  {
    promise: "A connection that is older than the policy is cut",
    test: way("is no connection that is older than the policy"),
    mutation: {
      file: "src/load/connections.ts",
      find: "    const ids = doomed.get(pod.key);",
      put: "    const ids = undefined as Set<string> | undefined;",
    },
  },
  {
    promise: "A connection of a pod that is gone is not its heir's, who has its address",
    test: way("is no address that another identity has now, with the connections of the first"),
    mutation: {
      file: "src/relay/shop.ts",
      find: "    for (const one of [...this.live]) one.recheck(rootsRemoved);",
      put: "    void rootsRemoved;",
    },
  },
  {
    promise: "An address that two live pods claim is nobody's",
    test: way("is no address that two live pods claim"),
    mutation: {
      file: "src/compile/decide.ts",
      find: '      return refuse("address-conflict");',
      put: '      return relayOnly("address-conflict");',
    },
  },
];
