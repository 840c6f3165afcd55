/**
 * Everything that follows from the objects: workloads, owners of addresses, Services, nodes, and
 * what each policy comes to. In: objects and settings, and the State before for what can be taken
 * over. Out: the derived half of a State.
 *
 * Invariant: the result depends on the objects and the settings alone; the State before only saves
 * work (tests/property/state_test.ts folds in many orders and compares).
 *
 * @module
 */

import type { ObjectTable } from "../change.ts";
import type { MeshConfig } from "../config.ts";
import { deriveNodes, type NodeModel } from "./node.ts";
import type { EndpointSliceObject } from "../object.ts";
import { deriveOwners, type Owner } from "./owner.ts";
import { derivePolicies, mayTarget, type PolicyModel, type StoredPolicy } from "./policy.ts";
import { deriveService, type ServiceInputs, type ServiceModel } from "./service.ts";
import { deriveWarnings, type Warning } from "./warning.ts";
import { deriveWorkload, type Workload, type WorkloadInputs } from "./workload.ts";

/** All maps are sorted by key, except `owners`. */
export interface Derived {
  /** "namespace/name" -> pod. */
  readonly workloads: ReadonlyMap<string, Workload>;
  /** Address -> whose it is. */
  readonly owners: ReadonlyMap<string, Owner>;
  /** "namespace/name" -> Service. */
  readonly services: ReadonlyMap<string, ServiceModel>;
  /** Name -> node. */
  readonly nodes: ReadonlyMap<string, NodeModel>;
  /** "namespace/name" -> what the policy comes to. */
  readonly policies: ReadonlyMap<string, PolicyModel>;
  /** What is accepted but will surprise somebody. */
  readonly warnings: readonly Warning[];
}

interface Base {
  readonly config: MeshConfig;
  readonly objects: ObjectTable;
}

/** Derives; `previous` saves work where its objects are the same. */
export function derive(base: Base, previous?: Base & Derived): Derived {
  const { config, objects } = base;
  const same = (kind: keyof ObjectTable) => previous?.objects[kind] === objects[kind];
  const nodes = previous !== undefined && same("Node") && same("WeftNode")
    ? previous.nodes
    : deriveNodes(objectsOf(objects.Node), weftNodesOf(objects), config.node);
  const workloads = deriveWorkloads(base, previous);
  const owners = previous?.workloads === workloads && previous.nodes === nodes
    ? previous.owners
    : deriveOwners(workloads.values(), nodes);
  const services = previous !== undefined && previous.workloads === workloads &&
      same("Service") && same("EndpointSlice")
    ? previous.services
    : deriveServices(base, workloads, previous?.services);
  const policies = derivePolicies(objects.MeshPolicy, workloads.values());
  const warnings = deriveWarnings({ workloads, owners, services, policies });
  return { workloads, owners, services, nodes, policies, warnings };
}

function* objectsOf<Object>(table: ReadonlyMap<string, { object: Object }>): Generator<Object> {
  for (const { object } of table.values()) yield object;
}

function sortedObjectsOf<Object>(table: ReadonlyMap<string, { object: Object }>): Object[] {
  return [...table].sort(byKey).map(([, { object }]) => object);
}

function weftNodesOf(objects: ObjectTable) {
  return new Map([...objectsOf(objects.WeftNode)].map((object) => [object.name, object]));
}

/** What a workload was derived from, to see whether it can be taken over. */
const INPUTS = new WeakMap<Workload, WorkloadInputs>();

function deriveWorkloads(base: Base, previous?: Base & Derived): ReadonlyMap<string, Workload> {
  const { config, objects } = base;
  const policies = policiesByTarget(base);
  const services = groupByNamespace(sortedObjectsOf(objects.Service));
  let taken = 0;
  const entries = [...objects.Pod].map(([key, pod]): [string, Workload] => {
    const { namespace } = pod.object;
    const inputs: WorkloadInputs = {
      pod,
      namespace: objects.Namespace.get(namespace),
      policies: policies.get(namespace) ?? [],
      services: services.get(namespace) ?? [],
      config,
    };
    const known = previous?.workloads.get(key);
    if (known !== undefined && isSame(INPUTS.get(known), inputs)) {
      taken++;
      return [key, known];
    }
    const workload = deriveWorkload(inputs);
    INPUTS.set(workload, inputs);
    return [key, workload];
  });
  // All taken over and none gone: the map itself can be, too.
  if (previous?.workloads.size === taken && entries.length === taken) return previous.workloads;
  return new Map(entries.sort(byKey));
}

function isSame(known: WorkloadInputs | undefined, inputs: WorkloadInputs): boolean {
  return known !== undefined && known.pod === inputs.pod &&
    known.namespace === inputs.namespace && known.config === inputs.config &&
    sameItems(known.policies, inputs.policies) && sameItems(known.services, inputs.services);
}

function sameItems(a: readonly unknown[], b: readonly unknown[]): boolean {
  return a === b || (a.length === b.length && a.every((item, index) => item === b[index]));
}

/** Policies by the namespace that they target, sorted by key. */
function policiesByTarget({ config, objects }: Base): Map<string, StoredPolicy[]> {
  const groups = new Map<string, StoredPolicy[]>();
  for (const [, policy] of [...objects.MeshPolicy].sort(byKey)) {
    if (!mayTarget(policy.object, config.systemNamespace)) continue;
    const { namespace } = policy.object.target;
    const group = groups.get(namespace);
    if (group === undefined) groups.set(namespace, [policy]);
    else group.push(policy);
  }
  return groups;
}

function groupByNamespace<Item extends { readonly namespace: string }>(
  items: Iterable<Item>,
): Map<string, Item[]> {
  const groups = new Map<string, Item[]>();
  for (const item of items) {
    const group = groups.get(item.namespace);
    if (group === undefined) groups.set(item.namespace, [item]);
    else group.push(item);
  }
  return groups;
}

/** What a Service was derived from, to see whether it can be taken over. */
const SERVICE_INPUTS = new WeakMap<ServiceModel, ServiceInputs>();

function deriveServices(
  { config, objects }: Base,
  workloads: ReadonlyMap<string, Workload>,
  previous: ReadonlyMap<string, ServiceModel> | undefined,
): ReadonlyMap<string, ServiceModel> {
  const slices = new Map<string, EndpointSliceObject[]>();
  for (const object of sortedObjectsOf(objects.EndpointSlice)) {
    if (object.service === "") continue;
    const key = `${object.namespace}/${object.service}`;
    slices.set(key, [...slices.get(key) ?? [], object]);
  }
  const byNamespace = groupByNamespace(workloads.values());
  const entries = [...objects.Service].map(([key, { object: service }]): [string, ServiceModel] => {
    const inputs: ServiceInputs = {
      service,
      slices: slices.get(key) ?? [],
      workloads: byNamespace.get(service.namespace) ?? [],
      localNode: config.node,
    };
    const known = previous?.get(key);
    if (known !== undefined && isSameService(SERVICE_INPUTS.get(known), inputs)) {
      return [key, known];
    }
    const model = deriveService(inputs);
    SERVICE_INPUTS.set(model, inputs);
    return [key, model];
  });
  return new Map(entries.sort(byKey));
}

function isSameService(known: ServiceInputs | undefined, inputs: ServiceInputs): boolean {
  return known !== undefined && known.service === inputs.service &&
    known.localNode === inputs.localNode && sameItems(known.slices, inputs.slices) &&
    sameItems(known.workloads, inputs.workloads);
}

function byKey([a]: readonly [string, unknown], [b]: readonly [string, unknown]): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
