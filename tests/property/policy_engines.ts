/**
 * All who can answer a query, side by side: the reference evaluator, the compiled programs in the
 * interpreter, and, where this process may, the same programs in the kernel.
 *
 * @module
 */

import assert from "node:assert/strict";
import {
  compilePolicies,
  FlowReader,
  flowVerdict,
  interpret,
  type PolicySnapshot,
} from "@/src/compile/policy/mod.ts";
import { type Answer, type Engine, type Query, ReferenceEngine } from "@/src/evaluate/mod.ts";
import { KernelEngine } from "@/src/load/policy/mod.ts";
import type { Enforcement, PolicyWorld } from "@/src/model/network_policy/mod.ts";

/** What each of them says. */
export interface Answers {
  readonly reference: Answer;
  readonly interpreter: Answer;
  /** Undefined: not asked. */
  readonly kernel: Answer | undefined;
}

/** Whether programs can be loaded: by root alone. */
export const HAS_KERNEL = Deno.uid() === 0;

/** Everybody, about one world. */
export class Engines implements Disposable {
  readonly #reference: Engine;
  readonly #interpreter: (query: Query) => Answer;
  readonly #kernel: KernelEngine | undefined;

  constructor(world: PolicyWorld, enforcement: Enforcement, hasKernel = HAS_KERNEL) {
    const snapshot = { ...world, enforcement };
    this.#reference = new ReferenceEngine(world, { enforcement });
    this.#interpreter = interpreterOf(snapshot);
    this.#kernel = hasKernel ? new KernelEngine(snapshot) : undefined;
  }

  ask(query: Query): Answers {
    return {
      reference: this.#reference.decide(query),
      interpreter: this.#interpreter(query),
      kernel: this.#kernel?.decide(query),
    };
  }

  [Symbol.dispose](): void {
    this.#kernel?.[Symbol.dispose]();
  }
}

/** The reference's answers, each of which the others must agree with. */
export class CheckedEngine implements Engine {
  readonly name = "reference";
  readonly #world: PolicyWorld;
  readonly #enforcement: Enforcement;

  constructor(world: PolicyWorld, enforcement: Enforcement) {
    this.#world = world;
    this.#enforcement = enforcement;
  }

  decide(query: Query): Answer {
    const answers = this.#open().ask(query);
    assert(agree(answers), `they differ: ${JSON.stringify({ query, ...answers })}`);
    return answers.reference;
  }

  /** Programs of one world at a time are loaded: a table has hundreds of worlds. */
  #open(): Engines {
    if (opened?.owner === this) return opened.engines;
    opened?.engines[Symbol.dispose]();
    opened = undefined;
    const engines = new Engines(this.#world, this.#enforcement);
    opened = { owner: this, engines };
    return engines;
  }
}

let opened: { readonly owner: CheckedEngine; readonly engines: Engines } | undefined;

/**
 * Whether they agree: kernel and interpreter to the last rule, the reference on verdict, direction
 * and reason, except that it can read a payload and they cannot.
 */
export function agree({ reference, interpreter, kernel }: Answers): boolean {
  if (kernel !== undefined && JSON.stringify(interpreter) !== JSON.stringify(kernel)) return false;
  if ("error" in reference || "error" in interpreter) {
    return "error" in reference && "error" in interpreter;
  }
  if (interpreter.verdict === "deny" && interpreter.reason === "l7-unavailable") return true;
  return wordsOf(reference) === wordsOf(interpreter);
}

/** An answer without its rule. */
export function wordsOf(answer: Answer): string {
  if ("error" in answer) return "error";
  return answer.verdict === "allow" ? "allow" : `${answer.direction} ${answer.reason}`;
}

function interpreterOf(snapshot: PolicySnapshot): (query: Query) => Answer {
  const plan = compilePolicies(snapshot);
  const reader = new FlowReader(snapshot, plan);
  return (query) => {
    const found = reader.questionsOf(query);
    if ("error" in found) return found;
    return flowVerdict(plan, found.sides, found.sides.map((side) => interpret(plan, side)));
  };
}
