/**
 * Which rules hold for one end of a connection. In: all policies, and a party. Out: its rules by
 * direction, deny and allow apart, and whether what none of them allows is denied. SEMANTICS B.1,
 * B.2, B.6.
 *
 * @module
 */

import {
  type Direction,
  type Enforcement,
  type NetworkPolicyObject,
  type PolicySpec,
  selectsLabels,
} from "../model/network_policy/mod.ts";
import { DirectionRules } from "./direction.ts";
import type { Party } from "./parties.ts";

/** The own rules of a party, by direction. */
export type SubjectRules = Readonly<Record<Direction, DirectionRules>>;

/** Finds the own rules of parties. */
export class Subjects {
  /** In the order of their names, so that the same rule is named whatever the order of files. */
  readonly #specs: readonly PolicyOfSpec[];
  readonly #enforcement: Enforcement;
  /** By what a party is known by. */
  readonly #rules = new Map<unknown, SubjectRules | undefined>();
  /** By the specs: whoever is selected by the same ones has the same rules. */
  readonly #shared = new Map<string, SubjectRules>();

  constructor(policies: readonly NetworkPolicyObject[], enforcement: Enforcement) {
    this.#specs = [...policies].sort((a, b) => textOf(a) < textOf(b) ? -1 : 1)
      .flatMap((policy) => policy.specs.map((spec) => ({ policy, spec })));
    this.#enforcement = enforcement;
  }

  /** The party's own rules; undefined for what has no policy of its own. */
  rulesOf(party: Party): SubjectRules | undefined {
    const key = party.kind === "pod"
      ? party.identity
      : party.kind === "host"
      ? party.nodeLabels
      : undefined;
    if (key === undefined || this.#enforcement === "never") return undefined;
    if (!this.#rules.has(key)) this.#rules.set(key, this.#find(party));
    return this.#rules.get(key);
  }

  #find(party: Party): SubjectRules | undefined {
    const indices = [...this.#specs.keys()].filter((index) => {
      const one = this.#specs[index];
      return one !== undefined && isSubject(one.spec, party);
    });
    // The host is free until a policy of its own selects it; `always` does not change that.
    if (party.kind === "host" && indices.length === 0) return undefined;
    const key = indices.join();
    let rules = this.#shared.get(key);
    if (rules === undefined) {
      rules = this.#collect(indices.flatMap((index) => this.#specs[index] ?? []));
      this.#shared.set(key, rules);
    }
    return rules;
  }

  #collect(selecting: readonly PolicyOfSpec[]): SubjectRules {
    const rules = selecting.flatMap(({ policy, spec }) =>
      spec.rules.map((rule) => ({ policy, rule }))
    );
    const direction = (direction: Direction) =>
      new DirectionRules(
        rules.filter(({ rule }) => rule.direction === direction),
        this.#enforcement === "always" ||
          selecting.some(({ spec }) => spec.defaultDeny[direction]),
      );
    return { ingress: direction("ingress"), egress: direction("egress") };
  }
}

interface PolicyOfSpec {
  readonly policy: NetworkPolicyObject;
  readonly spec: PolicySpec;
}

function isSubject({ subject }: PolicySpec, party: Party): boolean {
  return subject.kind === "node"
    ? party.kind === "host" && selectsLabels(subject.selector, party.nodeLabels)
    : party.kind === "pod" && party.identity.isSelectedBy(subject.selector);
}

function textOf({ kind, namespace, name }: NetworkPolicyObject): string {
  return `${kind} ${namespace}/${name}`;
}
