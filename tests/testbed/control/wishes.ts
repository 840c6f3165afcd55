/**
 * Which pods there should be: one per Pod document, and as many as each Deployment asks for.
 * Compares with the pods that there are. A pod whose spec is another than that with which it was
 * made is replaced; labels and annotations are changed in place (a cluster would roll all pods of a
 * Deployment; that a label of a live pod may change is what is looked at here).
 *
 * Invariant: pure; which node a pod goes to depends on the pods that there are and on the order of
 * the documents, so that the same folder is always placed alike.
 *
 * @module
 */
import type { ContainerSpec } from "../host/pod.ts";
import { TestbedError } from "../host/process.ts";
import type { NodeState, PodState, TestbedState } from "../state.ts";
import { nodeLabels, podKey } from "./objects.ts";
import type { Manifest, ObjectKey, Source } from "./source.ts";
import { sameKey } from "./source.ts";

/** A pod that is to be made. */
export interface PodWish {
  readonly namespace: string;
  readonly name: string;
  readonly owner?: string;
  readonly spec: PodSpec;
}

/** What is to be done. */
export interface PodPlan {
  readonly remove: PodState[];
  readonly keep: PodState[];
  readonly create: PodWish[];
}

/** As far as a Pod's spec is read here. */
export interface PodSpec {
  readonly nodeName?: string;
  readonly nodeSelector?: Readonly<Record<string, string>>;
  readonly hostNetwork?: boolean;
  readonly containers?: readonly ContainerSpec[];
}

/** Compares the documents with the pods; `doomed` objects count as gone. */
export function planPods(
  state: TestbedState,
  source: Source,
  doomed: readonly ObjectKey[] = [],
): PodPlan {
  const objects = source.objects().filter((object) => !doomed.some((key) => sameKey(key, object)));
  const keep: PodState[] = [];
  const create: PodWish[] = [];
  for (const object of objects) {
    if (object.kind === "Deployment") {
      const { kept, wishes } = planDeployment(state, object);
      keep.push(...kept);
      create.push(...wishes);
    } else if (object.kind === "Pod" && !isOwned(state, object)) {
      const { namespace, name, value } = object;
      const existing = state.pods.find((pod) => sameKey(podKey(pod), object));
      if (existing !== undefined && fits(existing, value.spec)) keep.push(existing);
      else create.push(checkWish({ namespace, name, spec: value.spec }));
    }
  }
  return { keep, create, remove: state.pods.filter((pod) => !keep.includes(pod)) };
}

/** The node for a pod: the one it names, or of those it may run on the one with the fewest pods. */
export function chooseNode(state: TestbedState, wish: PodWish): NodeState {
  const { nodeName, nodeSelector } = wish.spec;
  const count = (node: NodeState) => state.pods.filter((pod) => pod.node === node.name).length;
  const [chosen] = state.nodes.filter((node) => {
    const labels = nodeLabels(node);
    const selected = Object.entries(nodeSelector ?? {})
      .every(([label, value]) => labels[label] === value);
    return selected && (nodeName === undefined || nodeName === node.name);
  }).toSorted((a, b) => count(a) - count(b) || a.index - b.index);
  if (chosen !== undefined) return chosen;
  throw new TestbedError(
    `Cannot place pod "${wish.namespace}/${wish.name}": no node is what its nodeName or ` +
      `nodeSelector wants`,
  );
}

/** The text of a spec without the node: the same for a pod that was placed and one that was not. */
export function specText(spec: PodSpec): string {
  return JSON.stringify({ ...spec, nodeName: undefined });
}

function planDeployment(
  state: TestbedState,
  { kind, namespace, name, value }: Manifest,
): { kept: PodState[]; wishes: PodWish[] } {
  const owner = `${kind}/${namespace}/${name}`;
  const spec: PodSpec = value.spec?.template?.spec;
  const replicas: number = value.spec?.replicas ?? 1;
  const kept = state.pods.filter((pod) => pod.owner === owner && fits(pod, spec))
    .slice(0, replicas);
  const wishes = Array.from(
    { length: replicas - kept.length },
    () => checkWish({ namespace, name: `${name}-${randomSuffix()}`, owner, spec }),
  );
  return { kept, wishes };
}

function isOwned(state: TestbedState, object: ObjectKey): boolean {
  return state.pods.some((pod) => pod.owner !== undefined && sameKey(podKey(pod), object));
}

function fits(pod: PodState, spec: PodSpec): boolean {
  return pod.spec === specText(spec) && [undefined, pod.node].includes(spec?.nodeName);
}

/** Names become parts of paths and of shell scripts. */
function checkWish(wish: PodWish): PodWish {
  const { containers = [] } = wish.spec ?? {};
  const names = [wish.namespace, wish.name, ...containers.map(({ name }) => name)];
  for (const name of names) {
    if (/^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/.test(name)) continue;
    throw new TestbedError(`Cannot make pod "${wish.name}": "${name}" is not a DNS name`);
  }
  if (containers.length > 0) return wish;
  throw new TestbedError(`Cannot make pod "${wish.namespace}/${wish.name}": it has no containers`);
}

/** Five letters that spell nothing, as a cluster would choose them. */
function randomSuffix(): string {
  const letters = "bcdfghjklmnpqrstvwxz2456789";
  return Array.from(crypto.getRandomValues(new Uint8Array(5)), (byte) => letters[byte % 27])
    .join("");
}
