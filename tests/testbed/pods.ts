/**
 * Brings the pods of a testbed to what its documents ask for, and the documents to what the pods
 * are.
 *
 * The order is a cluster's: a pod's address is in its document before its processes run, it is
 * ready when its ports listen, and it is marked as going before its processes end. An agent sees
 * nothing here that it would not see there.
 *
 * @module
 */
import { dnsRecords, podKey, writePod } from "./control/objects.ts";
import { podAddresses, PODS_MAX } from "./control/plan.ts";
import type { ObjectKey, Source } from "./control/source.ts";
import { chooseNode, planPods, type PodWish, specText } from "./control/wishes.ts";
import { updateDns } from "./host/dns.ts";
import { plugPods, type PodPort, unplugPod } from "./host/network.ts";
import { createSandbox, endProcesses, podReady, startContainers } from "./host/pod.ts";
import { settle, TestbedError } from "./host/process.ts";
import { findNode, netnsPath, type PodState, saveState, type TestbedState } from "./state.ts";

const GRACE_MS = 5000;

/** Makes and removes pods; those that were made are not waited for. `doomed` objects are going. */
export async function reconcilePods(
  state: TestbedState,
  source: Source,
  doomed: readonly ObjectKey[] = [],
): Promise<void> {
  const plan = planPods(state, source, doomed);
  for (const pod of plan.remove) {
    writePod(source, pod, findNode(state, pod.node), { deleted: true });
  }
  if (plan.remove.length > 0) await source.write();
  await settle(plan.remove.map((pod) => removePod(state, pod)));
  for (const pod of plan.remove) {
    state.pods.splice(state.pods.indexOf(pod), 1);
    const wanted = plan.create.some(({ namespace, name }) =>
      namespace === pod.namespace && name === pod.name
    );
    if (!wanted) source.remove(podKey(pod));
  }
  for (const pod of plan.keep) writePod(source, pod, findNode(state, pod.node));
  await createPods(state, source, plan.create);
  await source.write();
  await saveState(state);
}

/**
 * Waits until pods are ready, says so in their documents, and lets DNS know. Fails when one of them
 * cannot become ready, or, if `timeoutMs` is final, takes longer.
 */
export async function settlePods(
  state: TestbedState,
  source: Source,
  { timeoutMs, final }: { readonly timeoutMs: number; readonly final: boolean },
): Promise<void> {
  const waiting = state.pods.filter(({ ready }) => !ready);
  const results = await Promise.allSettled(waiting.map(async (pod) => {
    await podReady(pod, timeoutMs);
    pod.ready = true;
  }));
  for (const pod of waiting) writePod(source, pod, findNode(state, pod.node));
  await source.write();
  await updateDns(state, dnsRecords(source));
  await saveState(state);
  for (const result of results) {
    if (result.status === "fulfilled") continue;
    const late = String(result.reason).includes("wait any longer");
    if (final || !late) throw result.reason;
  }
}

async function createPods(
  state: TestbedState,
  source: Source,
  wishes: readonly PodWish[],
): Promise<void> {
  const made = wishes.map((wish) => {
    const placed = placePod(state, wish);
    state.pods.push(placed.pod);
    return { ...placed, containers: wish.spec.containers ?? [] };
  });
  // With its name on disk a namespace is found again, should this be the end of this process.
  await saveState(state);
  await plugPods(state, made.flatMap(({ port }) => port ?? []));
  for (const { pod } of made) writePod(source, pod, findNode(state, pod.node));
  await source.write();
  await settle(made.map(async ({ pod, port, containers }) => {
    pod.sandboxPid = await createSandbox(state, pod, port);
    pod.containers = await startContainers(pod, containers);
  }));
}

async function removePod(state: TestbedState, pod: PodState): Promise<void> {
  await endProcesses(pod, GRACE_MS);
  if (!pod.hostNetwork) {
    await unplugPod(state, { node: findNode(state, pod.node), netns: pod.netns, veth: pod.veth });
  }
  await Deno.remove(pod.directory, { recursive: true });
}

function placePod(
  state: TestbedState,
  wish: PodWish,
): { pod: PodState; port: PodPort | undefined } {
  const node = chooseNode(state, wish);
  const hostNetwork = wish.spec.hostNetwork === true;
  if (!hostNetwork && node.podNumber > PODS_MAX) {
    throw new TestbedError(`Cannot place another pod on "${node.name}": its addresses are used up`);
  }
  const number = hostNetwork ? 0 : ++node.podNumber;
  const { v4, v6 } = podAddresses(node.index, number);
  const { namespace, name, owner } = wish;
  const netns = hostNetwork ? node.netns : netnsPath(state, `pod-${namespace}-${name}`);
  const veth = hostNetwork ? "" : `veth${node.index}-${number}`;
  const pod: PodState = {
    namespace,
    name,
    uid: crypto.randomUUID(),
    ...(owner !== undefined && { owner }),
    node: node.name,
    addresses: hostNetwork ? node.addresses : [v4, v6],
    hostNetwork,
    veth,
    cgroup: `${node.cgroup}/${namespace}_${name}`,
    netns,
    directory: `${state.directory}/pods/${namespace}_${name}`,
    spec: specText(wish.spec),
    sandboxPid: 0,
    containers: [],
    ready: false,
  };
  return { pod, port: hostNetwork ? undefined : { node, netns, veth, number } };
}
