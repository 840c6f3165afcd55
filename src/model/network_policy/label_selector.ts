/**
 * Selectors over labels with sources. In: a selector and the labels of an identity. Out: whether it
 * selects them. All requirements are ANDed; NotIn and DoesNotExist hold where the key is absent; no
 * requirement at all selects everything. SEMANTICS B.5.
 *
 * `matchLabels` is not kept apart: it is `In` of one value, so that two ways of writing one
 * selector are one selector (`selectorText`).
 *
 * @module
 */

import { type Cidr, cidrContains, parseCidr } from "../address.ts";
import type { Operator } from "../selector.ts";
import { ANY, CIDR, type Label } from "./label.ts";

/** What the labels of an identity must fulfil, all of it. */
export interface LabelSelector {
  readonly requirements: readonly Requirement[];
}

/** One condition on one key. */
export interface Requirement {
  /** `any`: every source. */
  readonly source: string;
  readonly key: string;
  readonly operator: Operator;
  /** Empty for Exists and DoesNotExist. */
  readonly values: readonly string[];
}

/** Whether the selector selects an identity with these labels. */
export function selectsLabels(selector: LabelSelector, labels: readonly Label[]): boolean {
  return selector.requirements.every((requirement) => holds(requirement, labels));
}

/** Whether one of the labels is the one that the source and key of a selector name. */
export function hasLabel(
  labels: readonly Label[],
  wanted: { readonly source: string; readonly key: string },
): boolean {
  return labels.some((label) => isNamed(label, wanted));
}

/** One text per meaning, whatever the order in which it was written. */
export function selectorText({ requirements }: LabelSelector): string {
  const parts = requirements.map(({ source, key, operator, values }) =>
    JSON.stringify([source, key, operator, ...[...new Set(values)].sort()])
  );
  return [...new Set(parts)].sort().join(" ");
}

function holds(requirement: Requirement, labels: readonly Label[]): boolean {
  const { operator, values } = requirement;
  switch (operator) {
    case "In":
      return labels.some((label) => isNamed(label, requirement) && values.includes(label.value));
    case "NotIn":
      return !labels.some((label) => isNamed(label, requirement) && values.includes(label.value));
    case "Exists":
      return hasLabel(labels, requirement);
    case "DoesNotExist":
      return !hasLabel(labels, requirement);
  }
}

function isNamed(
  label: Label,
  { source, key }: { readonly source: string; readonly key: string },
): boolean {
  if (source === CIDR && label.source === CIDR) return rangeHolds(key, label.key);
  return label.key === key && (source === ANY || label.source === source);
}

/** The range that a key of source `cidr` names; IPv6 may be written with "-" for ":". */
export function rangeOfKey(key: string): Cidr | undefined {
  return parseCidr(key.replaceAll("-", ":"));
}

/** A label of a range is also one of every wider range. */
function rangeHolds(wider: string, narrower: string): boolean {
  const [outer, inner] = [rangeOfKey(wider), rangeOfKey(narrower)];
  if (outer === undefined || inner === undefined) return wider === narrower;
  return outer.bits <= inner.bits && cidrContains(outer, inner.bytes);
}
