/**
 * What a testbed knows of itself between two commands: one directory, with `state.json` (replaced
 * by rename), `lock` (one changing command at a time) and the folders of nodes, pods and servers.
 *
 * Invariant: `id` is on disk before anything else is made, and the name of everything that is made
 * outside of the directory begins with it. So `down` needs nothing but the id, whatever the state
 * says, and clears up after a command that was killed half-way.
 *
 * @module
 */
import { isGone, type Place, TestbedError } from "./host/process.ts";

/** Everything that later commands need to know. */
export interface TestbedState {
  readonly id: string;
  readonly directory: string;
  /** cgroup2 directory that holds all processes of the testbed */
  readonly cgroup: string;
  readonly podLink: PodLink;
  /** the weft executable; absent when the testbed has no agents */
  readonly weft?: string;
  readonly agentArgs: readonly string[];
  readonly nodes: NodeState[];
  readonly pods: PodState[];
  /** number of the Service that was made last */
  serviceNumber: number;
  dnsPid?: number;
}

/** How pods are connected to their node. */
export type PodLink = "bridge" | "ptp";

/** One node. */
export interface NodeState {
  readonly name: string;
  /** from 1 */
  readonly index: number;
  readonly uid: string;
  readonly addresses: readonly string[];
  readonly netns: string;
  /** root of the node's cgroup tree */
  readonly cgroup: string;
  readonly runDir: string;
  readonly stateDir: string;
  readonly bpffs: string;
  /** the agent's standard error */
  readonly log: string;
  /** number of the pod that was made last; 1 is the node's own end of the pod network */
  podNumber: number;
  agentPid?: number;
}

/** One pod. */
export interface PodState {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  /** "Deployment/namespace/name", or absent for a Pod that was written as such */
  readonly owner?: string;
  readonly node: string;
  readonly addresses: readonly string[];
  readonly hostNetwork: boolean;
  /** host-side name; empty for a pod on its node's network */
  readonly veth: string;
  readonly cgroup: string;
  readonly netns: string;
  /** holds resolv.conf, logs and the servers' files */
  readonly directory: string;
  /** what was asked for: a pod whose spec differs from it is replaced */
  readonly spec: string;
  /** process that holds the pod's namespaces */
  sandboxPid: number;
  containers: ContainerState[];
  /** whether all of its ports listen */
  ready: boolean;
}

/** One process of a pod. */
export interface ContainerState {
  readonly name: string;
  readonly pid: number;
  /** standard output and error */
  readonly log: string;
  /** the hello page's access log, which names the client of each request */
  readonly accessLog?: string;
  readonly ports: readonly { readonly port: number; readonly protocol: "TCP" | "UDP" }[];
}

/** The directory of the testbed that is meant when none is named. */
export function defaultDirectory(): string {
  return Deno.env.get("WEFT_TESTBED") ?? "/run/weft-testbed";
}

/** Makes `directory` and chooses the testbed's id. */
export async function createState(
  directory: string,
  choice: Pick<TestbedState, "podLink" | "agentArgs" | "weft">,
): Promise<TestbedState> {
  const root = cgroup2Mount();
  await Deno.mkdir(directory, { recursive: true, mode: 0o755 });
  const id = crypto.randomUUID().slice(0, 6);
  // "down" removes the directory: it must not hold anything else.
  const entries = await Array.fromAsync(Deno.readDir(directory));
  if (entries.some(({ name }) => name !== "lock")) {
    throw new TestbedError(
      `Cannot make a testbed in "${directory}": it is not empty; if that is a testbed, end it ` +
        `with "down", or name another directory with --state`,
    );
  }
  await Deno.writeTextFile(`${directory}/id`, id, { createNew: true });
  const cgroup = `${root}/${prefixOf(id)}`;
  const state = { id, directory, cgroup, nodes: [], pods: [], serviceNumber: 0, ...choice };
  await saveState(state);
  return state;
}

/** Reads the state of a testbed that is up. */
export async function loadState(directory: string): Promise<TestbedState> {
  try {
    return JSON.parse(await Deno.readTextFile(`${directory}/state.json`));
  } catch (error) {
    if (!isGone(error)) throw error;
    throw new TestbedError(`Cannot find a testbed in "${directory}": bring one up first`);
  }
}

/** Writes the state, whole or not at all. */
export async function saveState(state: TestbedState): Promise<void> {
  const file = `${state.directory}/state.json`;
  await Deno.writeTextFile(`${file}.new`, JSON.stringify(state, undefined, 1));
  await Deno.rename(`${file}.new`, file);
}

/** Waits for the right to change a testbed; dispose to give it back. */
export async function lockState(directory: string): Promise<Disposable> {
  const file = await Deno.open(`${directory}/lock`, { write: true, create: true });
  await file.lock(true);
  return { [Symbol.dispose]: () => file.close() };
}

/** How the names of network namespaces and of the cgroup begin. */
export function prefixOf(id: string): string {
  return `weft-testbed-${id}`;
}

/** Path of a network namespace of the testbed. */
export function netnsPath(state: TestbedState, name: string): string {
  return `/run/netns/${prefixOf(state.id)}-${name}`;
}

/** The place of the testbed's own commands: below its cgroup, outside of every node's. */
export function setupPlace(state: TestbedState, netns?: string): Place {
  return { cgroup: `${state.cgroup}/setup`, ...(netns !== undefined && { netns }) };
}

/** The node of that name. */
export function findNode(state: TestbedState, name: string): NodeState {
  const node = state.nodes.find((node) => node.name === name);
  if (node !== undefined) return node;
  const names = state.nodes.map((node) => `"${node.name}"`).join(", ");
  throw new TestbedError(`Cannot find node "${name}": there are ${names}`);
}

/**
 * The pod "namespace/name", where name is a pod's or that of a Deployment with one pod at least.
 */
export function findPod(state: TestbedState, target: string): PodState {
  const pod = state.pods.find((pod) => `${pod.namespace}/${pod.name}` === target) ??
    state.pods.find((pod) => pod.owner === `Deployment/${target}`);
  if (pod !== undefined) return pod;
  const names = state.pods.map((pod) => `"${pod.namespace}/${pod.name}"`).join(", ");
  throw new TestbedError(`Cannot find pod "${target}": there are ${names || "none"}`);
}

/** Where this machine has the cgroup2 tree (`/sys/fs/cgroup`, or `unified` below it). */
export function cgroup2Mount(): string {
  for (const line of Deno.readTextFileSync("/proc/mounts").split("\n")) {
    const [, path, type] = line.split(" ");
    if (type === "cgroup2" && path !== undefined) return path;
  }
  throw new TestbedError("Cannot find a cgroup2 mount: mount one with 'mount -t cgroup2'");
}
