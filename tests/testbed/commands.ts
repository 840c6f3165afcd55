/**
 * What changes a testbed: up, apply, delete, start, down. One at a time: each holds the testbed's
 * lock, reads state and documents from disk, and writes them back.
 *
 * Invariant: `upTestbed` leaves a whole testbed or nothing.
 *
 * @module
 */
import { allocateServices, clusterIps, podKey, writeCluster } from "./control/objects.ts";
import { nodeAddresses, NODES_MAX } from "./control/plan.ts";
import { type Manifest, type ObjectKey, parseObjects, sameKey, Source } from "./control/source.ts";
import {
  agentAlive,
  agentReady,
  findWeft,
  issueNodes,
  launchAgent,
  prepareAgent,
  sourceDirectory,
} from "./host/agent.ts";
import { destroyTestbed } from "./host/clean.ts";
import { startDns } from "./host/dns.ts";
import { createWire } from "./host/network.ts";
import { endedContainers, killCgroup } from "./host/pod.ts";
import { isGone, settle, TestbedError } from "./host/process.ts";
import { reconcilePods, settlePods } from "./pods.ts";
import {
  cgroup2Mount,
  createState,
  findNode,
  loadState,
  lockState,
  netnsPath,
  type NodeState,
  type PodLink,
  saveState,
  type TestbedState,
} from "./state.ts";

/** How a testbed is to be. */
export interface UpOptions {
  /** folder of YAML that is copied; an empty testbed without one */
  readonly source?: string;
  /** @default {1} */
  readonly nodes?: number;
  /** further arguments of `weft run` */
  readonly agentArgs?: readonly string[];
  /** whether nodes have agents @default {true} */
  readonly agents?: boolean;
  /** @default {"bridge"} */
  readonly podLink?: PodLink;
  /** ends it half-way; what was made is removed */
  readonly signal?: AbortSignal;
}

/** An object and what became of it. */
export interface Outcome {
  readonly object: ObjectKey;
  readonly what: "created" | "configured" | "unchanged" | "deleted" | "not found";
}

const POD_READY_TIMEOUT_MS = 30_000;

/** Makes a testbed in `directory` and returns its state when all of it is ready. */
export async function upTestbed(directory: string, options: UpOptions): Promise<TestbedState> {
  const { nodes = 1, agents = true, agentArgs = [], podLink = "bridge" } = options;
  if (!Number.isInteger(nodes) || nodes < 1 || nodes > NODES_MAX) {
    throw new TestbedError(`Cannot make ${nodes} nodes: there can be 1 to ${NODES_MAX}`);
  }
  const choice = { podLink, agentArgs, ...(agents && { weft: findWeft() }) };
  const state = await createState(directory, choice);
  using _lock = await lockState(directory);
  // Without its processes, and with no cgroup to start more in, what is going on fails by itself.
  const interrupt = () => void killCgroup(state.cgroup);
  options.signal?.addEventListener("abort", interrupt, { once: true });
  try {
    await bringUp(state, options.source, nodes);
    options.signal?.throwIfAborted();
    return state;
  } catch (error) {
    await destroyTestbed(directory, cgroup2Mount());
    throw error;
  } finally {
    options.signal?.removeEventListener("abort", interrupt);
  }
}

/** Applies the objects of YAML texts, as `kubectl apply` would. */
export async function applyTexts(
  directory: string,
  texts: readonly NamedText[],
): Promise<Outcome[]> {
  using _lock = await lockTestbed(directory);
  const state = await loadState(directory);
  const source = await Source.read(sourceDirectory(state));
  const objects = texts.flatMap(({ text, name }) => parseObjects(text, name));
  const earlier = new Map(
    source.objects().filter(({ kind }) => kind === "Service")
      .map((service) => [`${service.namespace}/${service.name}`, clusterIps(service)]),
  );
  const before = source.objects();
  for (const { text } of objects) source.put(text);
  allocateServices(state, source, earlier);
  await reconcilePods(state, source);
  await settlePods(state, source, { timeoutMs: POD_READY_TIMEOUT_MS, final: true });
  const after = source.objects();
  return objects.map((object) => ({ object, what: compare(object, before, after) }));
}

/** Deletes the objects that YAML texts name. */
export async function deleteTexts(
  directory: string,
  texts: readonly NamedText[],
): Promise<Outcome[]> {
  using _lock = await lockTestbed(directory);
  const state = await loadState(directory);
  const source = await Source.read(sourceDirectory(state));
  const objects = texts.flatMap(({ text, name }) => parseObjects(text, name));
  const outcomes = objects.map((object): Outcome => ({
    object,
    what: source.get(object) === undefined ? "not found" : "deleted",
  }));
  // A pod's document goes after its processes.
  const isPod = (object: ObjectKey) => state.pods.some((pod) => sameKey(podKey(pod), object));
  for (const object of objects) if (!isPod(object)) source.remove(object);
  await reconcilePods(state, source, objects);
  await settlePods(state, source, { timeoutMs: POD_READY_TIMEOUT_MS, final: true });
  return outcomes;
}

/** A YAML text and what to call it in messages. */
export interface NamedText {
  readonly text: string;
  readonly name: string;
}

/** Reads files for `applyTexts` and `deleteTexts`. */
export async function readTexts(files: readonly string[]): Promise<NamedText[]> {
  return await Promise.all(files.map(async (name) => {
    try {
      return { name, text: await Deno.readTextFile(name) };
    } catch (error) {
      throw new TestbedError(`Cannot read "${name}"`, { cause: error });
    }
  }));
}

/**
 * Starts a node's agent, with the arguments that the first one had, and waits until it is ready.
 */
export async function startAgent(directory: string, name: string): Promise<void> {
  using _lock = await lockTestbed(directory);
  const state = await loadState(directory);
  const node = findNode(state, name);
  if (agentAlive(node)) throw new TestbedError(`Cannot start the agent of "${name}": it runs`);
  node.agentPid = await launchAgent(state, node);
  await saveState(state);
  await agentReady(state, node);
}

/**
 * Removes a testbed. Returns what had ended before its time, as sentences, and the processes that
 * were killed.
 */
export async function tearDown(
  directory: string,
): Promise<{ readonly remarks: string[]; readonly killed: string[] }> {
  const remarks: string[] = [];
  let killed: string[] = [];
  try {
    using _lock = await lockState(directory);
    const state = await loadState(directory).catch(() => undefined);
    for (const pod of state?.pods ?? []) {
      for (const { name } of endedContainers(pod)) {
        remarks.push(`container "${name}" of pod "${pod.namespace}/${pod.name}" had ended`);
      }
    }
    killed = await destroyTestbed(directory, cgroup2Mount());
  } catch (error) {
    if (!isGone(error)) throw error;
  }
  return { remarks, killed };
}

async function bringUp(
  state: TestbedState,
  from: string | undefined,
  nodes: number,
): Promise<void> {
  for (let index = 1; index <= nodes; index++) state.nodes.push(newNode(state, index));
  await saveState(state);
  makeCgroups(state);
  const agents = state.weft !== undefined;
  const issued = agents && nodes > 1 ? issueNodes(state) : Promise.resolve();
  const [source] = await settle([makeSource(state, from), createWire(state)]);
  const served = startDns(state).then((pid) => state.dnsPid = pid);
  await settle([
    issued,
    served,
    reconcilePods(state, source),
    ...(agents ? state.nodes.map((node) => prepareAgent(state, node)) : []),
  ]);
  // A pod may need the mesh to become ready: the agents do not wait for it.
  await settlePods(state, source, {
    timeoutMs: agents ? 2000 : POD_READY_TIMEOUT_MS,
    final: !agents,
  });
  if (agents) {
    await settle(state.nodes.map(async (node) => {
      node.agentPid = await launchAgent(state, node);
    }));
    await saveState(state);
    await settle(state.nodes.map((node) => agentReady(state, node)));
    await settlePods(state, source, { timeoutMs: POD_READY_TIMEOUT_MS, final: true });
  }
}

async function makeSource(state: TestbedState, from: string | undefined): Promise<Source> {
  const directory = sourceDirectory(state);
  if (from === undefined) await Deno.mkdir(directory);
  else await copyFolder(from, directory);
  const source = await Source.read(directory);
  writeCluster(state, source);
  allocateServices(state, source);
  await source.write();
  return source;
}

async function copyFolder(from: string, to: string): Promise<void> {
  await Deno.mkdir(to);
  for await (const { name, isDirectory, isFile } of Deno.readDir(from)) {
    // Hidden ones hold what agents write, or an editor.
    if (name.startsWith(".")) continue;
    if (isDirectory) await copyFolder(`${from}/${name}`, `${to}/${name}`);
    else if (isFile) await Deno.copyFile(`${from}/${name}`, `${to}/${name}`);
  }
}

function newNode(state: TestbedState, index: number): NodeState {
  const name = `node-${index}`;
  const directory = `${state.directory}/${name}`;
  return {
    name,
    index,
    uid: crypto.randomUUID(),
    addresses: Object.values(nodeAddresses(index)),
    netns: netnsPath(state, name),
    cgroup: `${state.cgroup}/${name}`,
    runDir: `${directory}/run`,
    stateDir: `${directory}/state`,
    bpffs: `${directory}/bpf`,
    log: `${directory}/agent.log`,
    podNumber: 1,
  };
}

function makeCgroups(state: TestbedState): void {
  const nodes = state.nodes.flatMap(({ cgroup }) => [`${cgroup}/host`, `${cgroup}/agent`]);
  const others = ["setup", "dns", "outside", "captures"].map((name) => `${state.cgroup}/${name}`);
  for (const cgroup of [...others, ...nodes]) Deno.mkdirSync(cgroup, { recursive: true });
  for (const { name } of state.nodes) Deno.mkdirSync(`${state.directory}/${name}`);
}

async function lockTestbed(directory: string): Promise<Disposable> {
  // Without one this says how to make it; locking alone would make its directory.
  await loadState(directory);
  return await lockState(directory);
}

function compare(
  object: ObjectKey,
  before: readonly Manifest[],
  after: readonly Manifest[],
): Outcome["what"] {
  const [old] = before.filter((other) => sameKey(other, object));
  if (old === undefined) return "created";
  const [now] = after.filter((other) => sameKey(other, object));
  return JSON.stringify(old.value) === JSON.stringify(now?.value) ? "unchanged" : "configured";
}
