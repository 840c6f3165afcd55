/**
 * Decides flows by the compiled programs, in the kernel (BPF_PROG_TEST_RUN).
 *
 * In: a snapshot of objects, once, and flows. Out: the verdict on each. Nothing is attached, and
 * nothing is pinned: the programs are gone with the engine.
 *
 * @module
 */

import {
  compilePolicies,
  FlowReader,
  type FlowVerdict,
  flowVerdict,
  type Identity,
  type PolicyFlow,
  type PolicyLimitError,
  type PolicyPlan,
  type PolicyQuestion,
  type PolicySnapshot,
} from "../../compile/policy/mod.ts";
import { PolicyBatch } from "./batch.ts";

/** The compiled policies of a snapshot, loaded. */
export class KernelEngine implements Disposable {
  readonly name = "kernel";
  readonly #plan: PolicyPlan;
  readonly #reader: FlowReader;
  readonly #batch: PolicyBatch;
  readonly #rows = new Map<string, number>();

  constructor(snapshot: PolicySnapshot) {
    this.#plan = compilePolicies(snapshot);
    this.#reader = new FlowReader(snapshot, this.#plan);
    this.#batch = new PolicyBatch(this.#plan);
  }

  /** What could not be compiled, and for whom: those ends are denied everything. */
  get faults(): readonly CompileFault[] {
    return this.#plan.programs.flatMap(({ error, members }) =>
      error === undefined ? [] : [{ error, members }]
    );
  }

  /** Decides one flow. */
  decide(flow: PolicyFlow): FlowVerdict {
    const found = this.#reader.questionsOf(flow);
    if ("error" in found) return found;
    const questions: PolicyQuestion[] = [];
    for (const { question, identity } of found.sides) {
      const index = identity === undefined ? 0 : this.#indexOf(identity);
      if (index === undefined) return { error: "too many identities without an address" };
      questions.push({ ...question, identity: index });
    }
    return flowVerdict(this.#plan, found.sides, this.#batch.ask(questions));
  }

  [Symbol.dispose](): void {
    this.#batch[Symbol.dispose]();
  }

  /** Index of the row of an identity that no address leads to; undefined: there is no room. */
  #indexOf(identity: Identity): number | undefined {
    const { labels, address, ports, name } = identity;
    const key = JSON.stringify([labels, address, ports, name]);
    const known = this.#rows.get(key);
    if (known !== undefined) return known;
    const index = this.#batch.addRow(this.#plan.rowOf(identity));
    if (index !== undefined) this.#rows.set(key, index);
    return index;
  }
}

/** A set of policies that could not be compiled. */
export interface CompileFault {
  readonly error: PolicyLimitError;
  /** `pod NAMESPACE/NAME`, `host NODE` */
  readonly members: readonly string[];
}
