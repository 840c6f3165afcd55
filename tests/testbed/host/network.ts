/**
 * The network of a testbed: a wire (a bridge in a namespace of its own), on it the nodes, the DNS
 * server and one host outside of the mesh; on each node the pods, behind a bridge or, with `ptp`,
 * behind one routed veth each.
 *
 * Invariant: nothing is made in the machine's own network namespace; with its namespaces, all of a
 * testbed's links, addresses and routes are gone.
 *
 * @module
 */
import * as plan from "../control/plan.ts";
import { netnsPath, type NodeState, setupPlace, type TestbedState } from "../state.ts";
import { run, settle } from "./process.ts";

/** A pod's place on its node's network. */
export interface PodPort {
  readonly node: NodeState;
  /** path of the pod's network namespace */
  readonly netns: string;
  readonly veth: string;
  /** number of the pod on its node */
  readonly number: number;
}

const BRIDGE = "cni0";

/**
 * First interface index of the switch-side ends. Where both ends of a veth happen to have the same
 * index (2, in two namespaces), the kernel takes changes of its carrier for not urgent and lets
 * them wait for up to a second (net/core/link_watch.c), in which nothing passes.
 */
const PORT_INDEX = 100;

/** Makes the wire and all hosts on it. */
export async function createWire(state: TestbedState): Promise<void> {
  const wire = netnsPath(state, "wire");
  const others = [
    { netns: netnsPath(state, "outside"), port: "outside", addresses: plan.OUTSIDE },
    { netns: netnsPath(state, "dns"), port: "dns", addresses: plan.DNS },
  ];
  const hosts = [
    ...others,
    ...state.nodes.map((node) => ({
      netns: node.netns,
      port: node.name,
      addresses: plan.nodeAddresses(node.index),
    })),
  ];
  await ip(state, [
    `netns add ${name(wire)}`,
    ...hosts.flatMap(({ netns, port }, index) => [
      `netns add ${name(netns)}`,
      addLink(wire, port, PORT_INDEX + index, netns),
    ]),
  ]);
  const routes = (except?: NodeState) =>
    state.nodes.filter((node) => node !== except).flatMap((node) => routesTo(node));
  await settle([
    configure(state, wire, { ipv6: false }, [
      "link add wire type bridge mcast_snooping 0 forward_delay 0",
      "link set wire up",
      ...hosts.map(({ port }) => `link set ${port} master wire up`),
    ]),
    ...others.map(({ netns, addresses }) =>
      configure(state, netns, {}, [...uplink(addresses), ...routes()])
    ),
    ...state.nodes.map((node) =>
      configure(state, node.netns, { forward: true }, [
        ...uplink(plan.nodeAddresses(node.index)),
        ...(state.podLink === "bridge" ? podBridge(node) : []),
        ...routes(node),
      ])
    ),
  ]);
}

/** Makes the pods' namespaces and their veths, and connects the node's ends. */
export async function plugPods(state: TestbedState, pods: readonly PodPort[]): Promise<void> {
  if (pods.length === 0) return;
  await ip(state, [
    ...pods.flatMap(({ node, netns, veth, number }) => [
      `netns add ${name(netns)}`,
      addLink(node.netns, veth, PORT_INDEX + number, netns),
    ]),
  ]);
  await settle(state.nodes.map((node) => {
    const own = pods.filter((pod) => pod.node === node);
    if (own.length === 0) return;
    return ip(state, own.flatMap((pod) => nodeEnd(state, pod)), node.netns);
  }));
}

/** The shell script that sets up a pod's end; it runs inside the pod's network namespace. */
export function podEndScript(state: TestbedState, { node, number }: PodPort): string {
  const gateway = plan.podAddresses(node.index, 1);
  const own = plan.podAddresses(node.index, number);
  const routed = state.podLink === "ptp";
  return configureScript({}, [
    "link set lo up",
    "link set eth0 up",
    `addr add ${own.v4}/${routed ? 32 : 24} dev eth0`,
    `addr add ${own.v6}/${routed ? 128 : 64} dev eth0 nodad`,
    ...(routed ? [`route add ${gateway.v4} dev eth0`, `route add ${gateway.v6} dev eth0`] : []),
    `route add default via ${gateway.v4} dev eth0`,
    `route add default via ${gateway.v6} dev eth0`,
  ]);
}

/** Removes a pod's namespace, and its veth with it, at once. */
export async function unplugPod(
  state: TestbedState,
  pod: Omit<PodPort, "number">,
): Promise<void> {
  // The link goes by name first: a namespace lives on as long as anyone holds a descriptor of it.
  await ip(state, [`link del ${pod.veth}`], pod.node.netns);
  await ip(state, [`netns del ${name(pod.netns)}`]);
}

/** Runs `ip -batch`, inside `netns` where one is given. */
async function ip(state: TestbedState, lines: readonly string[], netns?: string): Promise<void> {
  await run(setupPlace(state, netns), ["ip", "-batch", "-"], { stdin: `${lines.join("\n")}\n` });
}

function addLink(netns: string, port: string, index: number, peerNetns: string): string {
  return `link add name ${port} index ${index} netns ${name(netns)} ` +
    `type veth peer name eth0 netns ${name(peerNetns)}`;
}

async function configure(
  state: TestbedState,
  netns: string,
  options: HostOptions,
  lines: readonly string[],
): Promise<void> {
  const script = configureScript(options, ["link set lo up", ...lines]);
  await run(setupPlace(state, netns), ["sh", "-e", "-s"], { stdin: script });
}

interface HostOptions {
  readonly forward?: boolean;
  readonly ipv6?: boolean;
}

/** Kernel settings first (links take theirs from "default" when they are made), then `ip`. */
function configureScript(options: HostOptions, lines: readonly string[]): string {
  return `cd /proc/sys/net
for link in all default eth0; do
  [ -d ipv4/conf/$link ] || continue
  echo 0 >ipv4/conf/$link/rp_filter
  echo 0 >ipv4/conf/$link/send_redirects
  echo ${options.ipv6 === false ? 1 : 0} >ipv6/conf/$link/disable_ipv6
  echo 0 >ipv6/conf/$link/accept_dad
  echo 0 >ipv6/conf/$link/accept_ra
done
${options.forward ? "echo 1 >ipv4/ip_forward; echo 1 >ipv6/conf/all/forwarding" : ""}
ip -batch - <<'END'
${lines.join("\n")}
END
cd /
`;
}

function uplink({ v4, v6 }: plan.AddressPair): string[] {
  return [
    "link set eth0 up",
    `addr add ${v4}/${plan.WIRE_PREFIX.v4} dev eth0`,
    `addr add ${v6}/${plan.WIRE_PREFIX.v6} dev eth0 nodad`,
  ];
}

function routesTo(node: NodeState): string[] {
  const via = plan.nodeAddresses(node.index);
  const cidrs = plan.podCidrs(node.index);
  return [
    `route add ${cidrs.v4} via ${via.v4} dev eth0`,
    `route add ${cidrs.v6} via ${via.v6} dev eth0`,
  ];
}

function podBridge(node: NodeState): string[] {
  const gateway = plan.podAddresses(node.index, 1);
  // Without an address of its own a bridge changes it with every port: neighbours would go stale.
  const mac = `0a:58:0a:f4:${node.index.toString(16).padStart(2, "0")}:01`;
  return [
    `link add ${BRIDGE} address ${mac} type bridge mcast_snooping 0 forward_delay 0`,
    `link set ${BRIDGE} up`,
    `addr add ${gateway.v4}/24 dev ${BRIDGE}`,
    `addr add ${gateway.v6}/64 dev ${BRIDGE} nodad`,
  ];
}

function nodeEnd(state: TestbedState, { node, veth, number }: PodPort): string[] {
  if (state.podLink === "bridge") return [`link set ${veth} master ${BRIDGE} up`];
  const gateway = plan.podAddresses(node.index, 1);
  const pod = plan.podAddresses(node.index, number);
  return [
    `link set ${veth} up`,
    `addr add ${gateway.v4}/32 dev ${veth}`,
    `addr add ${gateway.v6}/128 dev ${veth} nodad`,
    `route add ${pod.v4}/32 dev ${veth}`,
    `route add ${pod.v6}/128 dev ${veth}`,
  ];
}

function name(netns: string): string {
  return netns.slice(netns.lastIndexOf("/") + 1);
}
