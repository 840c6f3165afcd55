/**
 * Patterns of DNS names and TLS server names. In: a pattern as policies write it, and a name. Out:
 * whether it matches. `*` stands for any characters of one label; `**.` in front for one label or
 * more; `*` or `**` alone for every name. SEMANTICS B.12.
 *
 * Invariant: linear in the length of the name for patterns without `*`, and bounded by the 255
 * characters of a name for those with it.
 *
 * @module
 */

/** A pattern, normalised: lower case, dot at the end unless it is all stars. */
export interface NamePattern {
  readonly text: string;
  /** `exact`: `text` is the name itself. */
  readonly kind: "exact" | "pattern";
}

/** `matchName` */
export function exactName(text: string): NamePattern {
  return { kind: "exact", text: absoluteName(text) };
}

/** `matchPattern` */
export function namePattern(text: string): NamePattern {
  if (!text.includes("*")) return exactName(text);
  const lower = text.trim().toLowerCase();
  const isEveryName = /^\*+$/.test(lower);
  return { kind: "pattern", text: isEveryName ? lower : absoluteName(lower) };
}

/** In lower case, with a dot at the end; empty stays empty: it is no name. */
export function absoluteName(name: string): string {
  const lower = name.trim().toLowerCase();
  return lower === "" || lower.endsWith(".") ? lower : `${lower}.`;
}

/** Whether a name, made absolute, matches. */
export function matchesName({ kind, text }: NamePattern, name: string): boolean {
  return kind === "exact" ? text === name : expressionOf(text).test(name);
}

const LABEL_CHARACTER = "[-a-z0-9_]";
const LABELS = `(?:${LABEL_CHARACTER}+[.])+`;

/** Of patterns that were read before; forgotten all at once when they become too many. */
const expressions = new Map<string, RegExp>();
const EXPRESSIONS_MAX = 4096;

function expressionOf(text: string): RegExp {
  let expression = expressions.get(text);
  if (expression === undefined) {
    expression = new RegExp(`^(?:${sourceOf(text)})$`);
    if (expressions.size >= EXPRESSIONS_MAX) expressions.clear();
    expressions.set(text, expression);
  }
  return expression;
}

function sourceOf(text: string): string {
  if (/^\*+$/.test(text)) return `${LABELS}|[.]`;
  const leading = /^\*\*+\./.exec(text)?.[0] ?? "";
  const rest = text.slice(leading.length).replaceAll(".", "[.]")
    .replaceAll(/\*+/g, `${LABEL_CHARACTER}*`);
  return (leading === "" ? "" : LABELS) + rest;
}
