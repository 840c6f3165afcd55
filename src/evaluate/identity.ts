/**
 * A set of labels, and which selectors select it. Asked once for each selector: a query looks at
 * hundreds of rules, and most of them have been asked about these labels before.
 *
 * @module
 */

import { type Label, type LabelSelector, selectsLabels } from "../model/network_policy/mod.ts";

/** Who a party is to policies: its labels. */
export class Identity {
  readonly labels: readonly Label[];
  readonly #recalled = new Map<object, boolean>();

  constructor(labels: readonly Label[]) {
    this.labels = labels;
  }

  isSelectedBy(selector: LabelSelector): boolean {
    return this.recall(selector, () => selectsLabels(selector, this.labels));
  }

  /** The answer to a question about these labels alone, found once. */
  recall(question: object, find: () => boolean): boolean {
    let answer = this.#recalled.get(question);
    if (answer === undefined) {
      answer = find();
      this.#recalled.set(question, answer);
    }
    return answer;
  }
}
