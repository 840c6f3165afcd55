/**
 * A case of policies and flows, read and put to everybody.
 *
 * @module
 */

import assert from "node:assert/strict";
import { parseQuery, type Query } from "@/src/evaluate/mod.ts";
import type { PolicyWorld } from "@/src/model/network_policy/mod.ts";
import { worldOf as worldOfDocuments } from "@/src/watch/policies/mod.ts";
import { agree, type Answers, Engines, wordsOf } from "./policy_engines.ts";
import type { PolicyCase } from "./policy_worlds.ts";

/** Where answers differ. */
export interface Difference extends Answers {
  readonly query: object;
}

/** What a case came to. */
export interface CaseResult {
  readonly differences: readonly Difference[];
  /** How often each answer was given: a generator that only ever denies tests nothing. */
  readonly answers: ReadonlyMap<string, number>;
}

/** Asks everybody about every flow of a case. */
export function runCase({ enforcement, objects, queries }: PolicyCase): CaseResult {
  using engines = new Engines(worldOf(objects), enforcement);
  const differences: Difference[] = [];
  const answers = new Map<string, number>();
  for (const query of queries) {
    const all = engines.ask(queryOf(query));
    if (!agree(all)) differences.push({ query, ...all });
    const words = wordsOf(all.interpreter);
    answers.set(words, (answers.get(words) ?? 0) + 1);
  }
  return { differences, answers };
}

/** The objects of a case in the model. All of them must be valid. */
export function worldOf(objects: readonly object[]): PolicyWorld {
  const documents = objects.map((object) => ({
    file: "case.json",
    value: plain(object),
    lineOf: () => 1,
  }));
  const { world, remarks } = worldOfDocuments(documents);
  assert.deepEqual(remarks.filter(({ severity }) => severity === "error"), []);
  return world;
}

/** A query of a case. */
export function queryOf(query: object): Query {
  const parsed = parseQuery(plain(query));
  if (!parsed.ok) throw new TypeError(`Cannot ask ${JSON.stringify(query)}: ${parsed.error}`);
  return parsed.query;
}

/** As from a file: what is undefined is not there. */
function plain(value: object): unknown {
  return JSON.parse(JSON.stringify(value));
}
