/**
 * Finds what a selector selects without asking everything: things with labels, indexed by label.
 *
 * In: the labels of each thing. Out: for a selector the indexes of what it selects, in order. The
 * rarest of the selector's requirements names the candidates; each candidate is then asked in full,
 * so the index can only save time, never change an answer.
 *
 * @module
 */

import {
  ANY,
  CIDR,
  type Label,
  type LabelSelector,
  type Requirement,
  selectsLabels,
} from "../../../model/network_policy/mod.ts";

/** An index of things with labels. */
export class LabelLookup {
  readonly #things: readonly (readonly Label[])[];
  readonly #byLabel = new Map<string, number[]>();

  constructor(things: readonly (readonly Label[])[]) {
    this.#things = things;
    for (const [index, labels] of things.entries()) {
      for (const { source, key, value } of labels) {
        this.#add(source, key, value, index);
        this.#add(ANY, key, value, index);
      }
    }
  }

  /** Indexes of the things that the selector selects, in ascending order. */
  matching(selector: LabelSelector): number[] {
    const found: number[] = [];
    const candidates = this.#candidates(selector);
    if (candidates === undefined) {
      for (const [index, labels] of this.#things.entries()) {
        if (selectsLabels(selector, labels)) found.push(index);
      }
      return found;
    }
    for (const index of candidates) {
      const labels = this.#things[index];
      if (labels !== undefined && selectsLabels(selector, labels)) found.push(index);
    }
    return found;
  }

  /** The fewest things among which all selected ones are; undefined: no requirement tells. */
  #candidates({ requirements }: LabelSelector): readonly number[] | undefined {
    let best: readonly number[] | undefined;
    for (const requirement of requirements) {
      const found = this.#having(requirement);
      if (found && (best === undefined || found.length < best.length)) best = found;
    }
    return best;
  }

  #having({ source, key, operator, values }: Requirement): readonly number[] | undefined {
    // A label of a range also has every wider range: equality would miss those.
    if (operator !== "In" || source === CIDR) return undefined;
    const [only] = values;
    if (only !== undefined && values.length === 1) {
      return this.#byLabel.get(labelKey(source, key, only)) ?? [];
    }
    const all = values.flatMap((value) => this.#byLabel.get(labelKey(source, key, value)) ?? []);
    return [...new Set(all)].sort((a, b) => a - b);
  }

  #add(source: string, key: string, value: string, index: number): void {
    const id = labelKey(source, key, value);
    const known = this.#byLabel.get(id);
    if (known === undefined) this.#byLabel.set(id, [index]);
    else if (known.at(-1) !== index) known.push(index);
  }
}

function labelKey(source: string, key: string, value: string): string {
  return `${source}\0${key}\0${value}`;
}
