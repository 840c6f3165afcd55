/**
 * Selectors of Cilium's policies become selectors with sources, scoped. In: a selector as it is
 * written, and whose it is. Out: the model's, with the namespace and the cluster that it does not
 * spell out. SEMANTICS B.5, B.6.
 *
 * @module
 */

import {
  expressionFault,
  type FieldPath,
  labelKeyFault,
  labelValueFault,
} from "../../../model/mod.ts";
import {
  ANY,
  CLUSTER_KEY,
  K8S,
  type LabelSelector,
  LOCAL_CLUSTER,
  NAMESPACE_KEY,
  NAMESPACE_LABELS_PREFIX,
  parseLabelKey,
  type Requirement,
  RESERVED,
} from "../../../model/network_policy/mod.ts";
import type { PolicyContext } from "./context.ts";
import type { SelectorShape } from "./shapes.ts";

/** A selector without any scope: of nodes, Services and CIDR groups. */
export function plainSelector(
  shape: SelectorShape,
  path: FieldPath,
  context: PolicyContext,
): LabelSelector {
  const requirements: Requirement[] = [];
  for (const [text, value] of Object.entries(shape.matchLabels ?? {})) {
    const at = [...path, "matchLabels", text];
    check([labelValueFault(value)], at, context);
    requirements.push({ ...keyOf(text, at, context), operator: "In", values: [value] });
  }
  for (const [index, expression] of (shape.matchExpressions ?? []).entries()) {
    const at = [...path, "matchExpressions", index];
    const values = expression.values ?? [];
    const { operator } = expression;
    check(values.map(labelValueFault), [...at, "values"], context);
    check([expressionFault({ key: "", operator, values })], [...at, "values"], context);
    requirements.push({ ...keyOf(expression.key, [...at, "key"], context), operator, values });
  }
  return { requirements };
}

/** `endpointSelector`: of a CNP always in the policy's own namespace (B.6.1). */
export function subjectSelector(
  shape: SelectorShape,
  path: FieldPath,
  context: PolicyContext,
): LabelSelector {
  if (context.namespace === "") return plainSelector(shape, path, context);
  const own = `${K8S}:${NAMESPACE_KEY}`;
  const { [own]: written, ...matchLabels } = shape.matchLabels ?? {};
  if (written !== undefined && written !== context.namespace) {
    const reason = `is taken for "${context.namespace}", the policy's own: "${written}" is another`;
    context.warnings.push({ path: [...path, "matchLabels", own], reason });
  }
  const { requirements } = plainSelector({ ...shape, matchLabels }, path, context);
  return { requirements: [...requirements, isIn(NAMESPACE_KEY, context.namespace)] };
}

/** `fromEndpoints`, `toEndpoints` (B.6.2 to 4). */
export function peerSelector(
  shape: SelectorShape,
  path: FieldPath,
  context: PolicyContext & { readonly selectsInit: boolean },
): LabelSelector {
  const { requirements } = plainSelector(shape, path, context);
  if (requirements.some(({ source }) => source === RESERVED)) return { requirements };
  const scoped = [...requirements];
  const isScoped = speaksOf(requirements, (key) => key === NAMESPACE_KEY);
  const isScopedByLabels = speaksOf(requirements, (key) => key.startsWith(NAMESPACE_LABELS_PREFIX));
  if (context.namespace === "") {
    if (!isScoped && !context.selectsInit) {
      scoped.push({ source: K8S, key: NAMESPACE_KEY, operator: "Exists", values: [] });
    }
  } else if (!isScoped && !isScopedByLabels) scoped.push(isIn(NAMESPACE_KEY, context.namespace));
  return { requirements: inLocalCluster(scoped) };
}

/** `fromNodes`, `toNodes` (B.6.5). */
export function nodeSelector(
  shape: SelectorShape,
  path: FieldPath,
  context: PolicyContext,
): LabelSelector {
  const { requirements } = plainSelector(shape, path, context);
  const isNode: Requirement = {
    source: RESERVED,
    key: "remote-node",
    operator: "Exists",
    values: [],
  };
  return { requirements: inLocalCluster([...requirements, isNode]) };
}

/** Whether the subject of a CCNP is what has no identity yet. */
export function selectsInit(selector: LabelSelector): boolean {
  return selector.requirements.some(({ source, key }) => source === RESERVED && key === "init");
}

function inLocalCluster(requirements: readonly Requirement[]): readonly Requirement[] {
  if (speaksOf(requirements, (key) => key === CLUSTER_KEY)) return requirements;
  return [...requirements, isIn(CLUSTER_KEY, LOCAL_CLUSTER)];
}

function speaksOf(
  requirements: readonly Requirement[],
  test: (key: string) => boolean,
): boolean {
  return requirements.some(({ source, key }) => (source === K8S || source === ANY) && test(key));
}

function isIn(key: string, value: string): Requirement {
  return { source: K8S, key, operator: "In", values: [value] };
}

function keyOf(
  text: string,
  path: FieldPath,
  context: PolicyContext,
): { source: string; key: string } {
  const parsed = parseLabelKey(text);
  check([labelKeyFault(parsed.key)], path, context);
  return parsed;
}

function check(
  reasons: readonly (string | undefined)[],
  path: FieldPath,
  context: PolicyContext,
): void {
  for (const reason of reasons) if (reason !== undefined) context.faults.push({ path, reason });
}
