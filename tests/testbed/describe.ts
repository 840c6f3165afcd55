/**
 * What `up` prints: one JSON object that scripts can rely on. Keys are added, never changed.
 *
 * @module
 */
import { OUTSIDE } from "./control/plan.ts";
import { caDirectory, sourceDirectory } from "./host/agent.ts";
import type { TestbedState } from "./state.ts";

/** A testbed, as its users see it. */
export interface Description {
  readonly nodes: readonly NodeDescription[];
  readonly pods: readonly PodDescription[];
  readonly outside: { readonly addresses: readonly string[] };
  /** the directory of the testbed, for --state */
  readonly state: string;
  /** the directory source that the agents read */
  readonly source: string;
  /** where the root is that several nodes share */
  readonly ca?: string;
}

/** One node. */
export interface NodeDescription {
  readonly name: string;
  readonly addresses: readonly string[];
  readonly cgroup: string;
  readonly netns: string;
  readonly runDir: string;
  readonly stateDir: string;
  readonly bpffs: string;
  /** the agent's log */
  readonly log: string;
  readonly agentPid?: number;
}

/** One pod. */
export interface PodDescription {
  readonly namespace: string;
  readonly name: string;
  readonly node: string;
  readonly addresses: readonly string[];
  readonly veth: string;
  readonly cgroup: string;
  readonly netns: string;
  /**
   * the application's own log: for the hello page, a line per request that begins with the client
   */
  readonly log: string;
  readonly containers: readonly { readonly name: string; readonly pid: number }[];
}

/** Describes a testbed. */
export function describeTestbed(state: TestbedState): Description {
  const shared = state.weft !== undefined && state.nodes.length > 1;
  return {
    nodes: state.nodes.map((node) => ({
      name: node.name,
      addresses: node.addresses,
      cgroup: node.cgroup,
      netns: node.netns,
      runDir: node.runDir,
      stateDir: node.stateDir,
      bpffs: node.bpffs,
      log: node.log,
      ...(node.agentPid !== undefined && { agentPid: node.agentPid }),
    })),
    pods: state.pods.map((pod) => ({
      namespace: pod.namespace,
      name: pod.name,
      node: pod.node,
      addresses: pod.addresses,
      veth: pod.veth,
      cgroup: pod.cgroup,
      netns: pod.netns,
      log: pod.containers[0]?.accessLog ?? pod.containers[0]?.log ?? "",
      containers: pod.containers.map(({ name, pid }) => ({ name, pid })),
    })),
    outside: { addresses: Object.values(OUTSIDE) },
    state: state.directory,
    source: sourceDirectory(state),
    ...(shared && { ca: caDirectory(state) }),
  };
}
