/**
 * Kubernetes label selectors. In: a selector and labels. Out: whether it selects them.
 *
 * `matchLabels` and `matchExpressions` are ANDed; NotIn and DoesNotExist hold where the key is
 * absent; an empty selector selects everything (SEMANTICS B.5). The syntax rules live here too, so
 * that the schema, the CRD and the matcher agree on what a label is.
 *
 * @module
 */

/** Maps, not records: a key like "__proto__" is then a key like any other. */
export type Labels = ReadonlyMap<string, string>;

export const OPERATORS = ["In", "NotIn", "Exists", "DoesNotExist"] as const;
export type Operator = typeof OPERATORS[number];

export interface Selector {
  readonly matchLabels: Labels;
  readonly matchExpressions: readonly Expression[];
}

export interface Expression {
  readonly key: string;
  readonly operator: Operator;
  readonly values: readonly string[];
}

/** Whether the selector selects something with these labels. */
export function selects(selector: Selector, labels: Labels): boolean {
  return includesLabels(selector.matchLabels, labels) &&
    selector.matchExpressions.every((expression) => holds(expression, labels));
}

/** Whether all of `wanted` are among `labels`. */
export function includesLabels(wanted: Labels, labels: Labels): boolean {
  for (const [key, value] of wanted) if (labels.get(key) !== value) return false;
  return true;
}

/** What is wrong with a label key (apimachinery's IsQualifiedName), or undefined. */
export function labelKeyFault(key: string): string | undefined {
  const slash = key.indexOf("/");
  const prefix = slash < 0 ? undefined : key.slice(0, slash);
  const name = key.slice(slash + 1);
  if (prefix !== undefined && (prefix.length > 253 || !DNS_SUBDOMAIN.test(prefix))) {
    return `label key "${key}" must have a lower-case DNS name before its slash`;
  }
  if (name.length > 63 || !QUALIFIED_NAME.test(name)) {
    return `label key "${key}" must be 1 to 63 letters, digits, "-", "_" or ".", and begin and` +
      " end with a letter or digit";
  }
  return undefined;
}

/** What is wrong with a label value, or undefined. */
export function labelValueFault(value: string): string | undefined {
  if (value === "" || (value.length <= 63 && QUALIFIED_NAME.test(value))) return undefined;
  return `label value "${value}" must be empty or 1 to 63 letters, digits, "-", "_" or ".", and` +
    " begin and end with a letter or digit";
}

/** What is wrong with the number of values of an expression, or undefined. */
export function expressionFault(expression: Expression): string | undefined {
  const needsValues = expression.operator === "In" || expression.operator === "NotIn";
  if (needsValues && expression.values.length === 0) {
    return `operator ${expression.operator} must have at least one value`;
  }
  if (!needsValues && expression.values.length > 0) {
    return `operator ${expression.operator} must have no values`;
  }
  return undefined;
}

/** A name of one DNS label: namespaces, Services. */
export const DNS_LABEL = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;

/** A DNS name in lower case: most other objects. */
export const DNS_SUBDOMAIN = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;

const QUALIFIED_NAME = /^[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?$/;

function holds({ key, operator, values }: Expression, labels: Labels): boolean {
  const value = labels.get(key);
  switch (operator) {
    case "In":
      return value !== undefined && values.includes(value);
    case "NotIn":
      return value === undefined || !values.includes(value);
    case "Exists":
      return value !== undefined;
    case "DoesNotExist":
      return value === undefined;
  }
}
