/**
 * Policies become programs and rows: the policy half of a Plan.
 *
 * In: a snapshot. Out: one verdict program for each distinct set of specs that some pod (or node)
 * is subject to, and for each address or range the row of bits of who is there. Programs depend on
 * policies alone (and on the numbers of named ports); a new pod of known labels is one more
 * address.
 *
 * Pure, and the same for the same objects in any order. What is too large is an error beside a
 * program that denies everything, never an exception: one team's policies must not stop another's.
 *
 * @module
 */

import type { Program } from "../../asm/mod.ts";
import { formatPath } from "../../model/mod.ts";
import type { Enforcement, NamedPortMatch } from "../../model/network_policy/mod.ts";
import { emitProgram } from "./emit.ts";
import { QueryDirection } from "./flow/query.ts";
import { Graph, type NodeId } from "./graph/node.ts";
import { directionVerdict, type Entry } from "./graph/verdict.ts";
import { hasOwnEnd, placedIdentities, type PlacedIdentity } from "./identities.ts";
import { POLICY_RULES_MAX, POLICY_SELECTORS_MAX, PolicyLimitError } from "./limits.ts";
import { PeerResolver } from "./peers/resolver.ts";
import { type Bits, type Identity, PeerTable } from "./peers/table.ts";
import { entriesOf, type OrderedRule, type OrderedSpec, orderSpecs } from "./rules.ts";
import type { PolicySnapshot } from "./snapshot.ts";
import { isCalled, type SubjectSet, subjectSets } from "./subjects.ts";

/** What is to be in the kernel for a snapshot. */
export interface PolicyPlan {
  readonly programs: readonly CompiledProgram[];
  /** Index of the program of each end (`podSubject`, `hostSubject`). */
  readonly subjects: ReadonlyMap<string, number>;
  /** Rows of bits, each once; what leads to them counts from 1, for 0 is nobody. */
  readonly rows: readonly Bits[];
  /** Addresses and ranges, and the row that each leads to. */
  readonly places: readonly Place[];
  /** Words of a row. */
  readonly words: number;
  /** Number of distinct peers in all policies. */
  readonly selectors: number;
  /** The row of an identity that has no place of its own. */
  rowOf(identity: Identity): Bits;
}

/** A verdict program. */
export interface CompiledProgram {
  readonly program: Program;
  /** What its answers name, by index. */
  readonly rules: readonly OrderedRule[];
  /** The ends that it judges. */
  readonly members: readonly string[];
  /** Why it denies everything. */
  readonly error: PolicyLimitError | undefined;
}

/** An address or range. */
export interface Place {
  readonly identity: PlacedIdentity;
  /** Index in `rows`, plus 1. */
  readonly row: number;
}

/** Compiles all policies of a snapshot. */
export function compilePolicies(snapshot: PolicySnapshot): PolicyPlan {
  const specs = orderSpecs(snapshot.policies);
  const sets = subjectSets(snapshot, specs);
  const table = new PeerTable();
  const context = {
    table,
    peers: new PeerResolver(snapshot),
    numbers: portNumbers(snapshot, specs),
    enforcement: snapshot.enforcement,
  };
  const programs = sets.map((set) => compileSet(set, context));
  const subjects = sets.flatMap(({ members }, index) =>
    members.map((member) => [member, index] as const)
  );
  return {
    programs,
    subjects: new Map(subjects),
    ...rowsOf(snapshot, table),
    words: table.words,
    selectors: table.size,
    rowOf: (identity) => table.rowsOf([identity])[0] ?? new Uint32Array(table.words),
  };
}

/** The text of a rule: kind, policy and path. */
export function ruleText({ policy, rule }: OrderedRule): string {
  const name = policy.namespace === "" ? policy.name : `${policy.namespace}/${policy.name}`;
  return `${policy.kind} ${name} ${formatPath(rule.path)}`;
}

interface Context {
  readonly table: PeerTable;
  readonly peers: PeerResolver;
  readonly numbers: PortNumbers;
  readonly enforcement: Enforcement;
}

function compileSet(set: SubjectSet, context: Context): CompiledProgram {
  const rules = set.specs.flatMap((spec) => spec.rules);
  const known = context.table.size;
  try {
    if (rules.length > POLICY_RULES_MAX) {
      throw new PolicyLimitError("rules", { current: rules.length, max: POLICY_RULES_MAX });
    }
    const graph = new Graph();
    const root = graphOf(graph, set, rules, context);
    const { size } = context.table;
    if (size > POLICY_SELECTORS_MAX) {
      throw new PolicyLimitError("selectors", { current: size, max: POLICY_SELECTORS_MAX });
    }
    const names = { rule: (index: number) => textOf(rules, index) };
    const program = emitProgram(graph.nodes, root, names);
    return { program, rules, members: set.members, error: undefined };
  } catch (error) {
    if (!(error instanceof PolicyLimitError)) throw error;
    context.table.forget(known); // the bits are for sets that fit
    return denyAll(set.members, error);
  }
}

function graphOf(
  graph: Graph,
  set: SubjectSet,
  rules: readonly OrderedRule[],
  context: Context,
): NodeId {
  const names = {
    ofSubject: (wanted: NamedPortMatch) =>
      distinct(
        set.ports.filter((port) => isCalled(port, wanted)).map(({ port }) => port),
      ),
    ofAnyone: (wanted: NamedPortMatch) => context.numbers.of(wanted),
  };
  const entries = { ingress: [] as Entry[], egress: [] as Entry[] };
  for (const [index, rule] of rules.entries()) {
    const list = entries[rule.rule.direction];
    for (const entry of entriesOf(rule, index, { ...context, names })) {
      // Who stands for nobody allows nobody, but its parser still asks for the port.
      const isEmpty = entry.bits !== "any" && entry.bits.length === 0;
      if (!isEmpty || entry.parser !== undefined) list.push({ ...entry, order: list.length });
    }
  }
  const node = (direction: "ingress" | "egress"): NodeId => {
    const { isEnforced, denies } = stateOf(set, direction, context.enforcement);
    if (!isEnforced) return graph.verdict("none");
    return directionVerdict(
      graph,
      entries[direction],
      graph.verdict(denies ? "default-deny" : "none"),
    );
  };
  return graph.equal("direction", QueryDirection.ingress, node("ingress"), node("egress"));
}

/** Whether an end is held to its policies, and whether what they do not speak of is denied. */
function stateOf(
  { kind, specs }: SubjectSet,
  direction: "ingress" | "egress",
  enforcement: Enforcement,
): { isEnforced: boolean; denies: boolean } {
  if (enforcement === "never") return { isEnforced: false, denies: false };
  // A host has policies only where some select it.
  const isAlways = enforcement === "always" && (kind === "pod" || specs.length > 0);
  const denies = isAlways || specs.some(({ spec }) => spec.defaultDeny[direction]);
  return { isEnforced: true, denies };
}

function denyAll(members: readonly string[], error: PolicyLimitError): CompiledProgram {
  const graph = new Graph();
  const program = emitProgram(graph.nodes, graph.verdict("default-deny"), { rule: () => "" });
  return { program, rules: [], members, error };
}

/** Numbers of named ports over all pods. */
interface PortNumbers {
  of(port: NamedPortMatch): readonly number[];
}

function portNumbers(snapshot: PolicySnapshot, specs: readonly OrderedSpec[]): PortNumbers {
  const asked = specs.some(({ namedEgressPorts }) => namedEgressPorts.length > 0);
  const ports = asked ? snapshot.pods.filter(hasOwnEnd).flatMap(({ ports }) => ports) : [];
  const known = new Map<string, readonly number[]>();
  return {
    of(wanted) {
      const key = `${wanted.transport} ${wanted.name}`;
      const numbers = known.get(key) ??
        distinct(ports.filter((port) => isCalled(port, wanted)).map(({ port }) => port));
      known.set(key, numbers);
      return numbers;
    },
  };
}

function rowsOf(
  snapshot: PolicySnapshot,
  table: PeerTable,
): Pick<PolicyPlan, "rows" | "places"> {
  const identities = placedIdentities(snapshot, table.bounds());
  const rows: Bits[] = [];
  const known = new Map<string, number>();
  const places = table.rowsOf(identities).map((bits, index): Place[] => {
    const identity = identities[index];
    if (identity === undefined) return [];
    const key = bits.join();
    const row = known.get(key) ?? rows.push(bits);
    known.set(key, row);
    return [{ identity, row }];
  });
  return { rows, places: places.flat() };
}

function textOf(rules: readonly OrderedRule[], index: number): string {
  const rule = rules[index];
  return rule === undefined ? "no rule" : ruleText(rule);
}

function distinct(numbers: readonly number[]): number[] {
  return [...new Set(numbers)].sort((a, b) => a - b);
}
