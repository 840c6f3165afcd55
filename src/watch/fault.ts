/**
 * What is wrong with a document, in words that its author can act on. In: an error of zod. Out: one
 * fault per field: its path, what it is, what it should be.
 *
 * @module
 */

import type { z } from "zod";
import type { FieldPath } from "../model/mod.ts";

/** What is wrong with one field. */
export interface Fault {
  readonly path: FieldPath;
  /** A sentence without its subject and period: `must be one of "TCP"`. */
  readonly reason: string;
}

/** The faults that zod found; `prefix` is the path of what it looked at. */
export function faultsOf(error: z.ZodError, prefix: FieldPath): Fault[] {
  return error.issues.flatMap((issue) => faultsOfIssue(issue, prefix));
}

function faultsOfIssue(issue: z.core.$ZodIssue, prefix: FieldPath): Fault[] {
  const path = [...prefix, ...issue.path.map((part) => typeof part === "symbol" ? "?" : part)];
  if (issue.code === "unrecognized_keys") {
    return issue.keys.map((key) => ({ path: [...path, key], reason: `unknown field "${key}"` }));
  }
  return [{ path, reason: reasonOf(issue) }];
}

function reasonOf(issue: z.core.$ZodIssue): string {
  switch (issue.code) {
    case "invalid_type":
      return issue.message.endsWith("received undefined") ? "is required" : typeReason(issue);
    case "invalid_value":
      return `must be one of ${issue.values.map((value) => JSON.stringify(value)).join(", ")}`;
    case "too_small":
      return `must be at least ${issue.minimum}${unitOf(issue.origin)}`;
    case "too_big":
      return `must be at most ${issue.maximum}${unitOf(issue.origin)}`;
    case "invalid_union":
      return unionReason(issue);
    default:
      return issue.message;
  }
}

function typeReason(issue: { expected: string; message: string }): string {
  const wanted = issue.expected === "record" ? "object" : issue.expected;
  const received = /received (\w+)$/.exec(issue.message)?.[1];
  const hint = wanted === "string" && (received === "boolean" || received === "number")
    ? ": write it in quotes"
    : "";
  return `must be ${article(wanted)}${received === undefined ? "" : `, not ${article(received)}`}` +
    hint;
}

function article(type: string): string {
  if (type === "null" || type === "undefined") return type;
  if (type === "int") return "a whole number";
  return `${/^[aeiou]/.test(type) ? "an" : "a"} ${type}`;
}

function unitOf(origin: string): string {
  return origin === "string" ? " characters" : origin === "array" ? " items" : "";
}

/** Of alternatives such as "empty or an address" the last one says what is wanted. */
function unionReason(issue: z.core.$ZodIssue & { code: "invalid_union" }): string {
  const last = issue.errors.at(-1)?.[0];
  return last === undefined ? issue.message : reasonOf(last);
}
