/**
 * Whether a whole text matches a regular expression. In: an expression in RE2's syntax, and a text.
 * Out: yes or no, in time linear in the text.
 *
 * The expression becomes a program of single steps, and all places that the program can be in are
 * walked through the text at once: nothing is ever tried again.
 *
 * @module
 */

import { REGEX_STEPS_MAX } from "../../../limits.ts";
import { type CharTest, RegexFault } from "./scanner.ts";
import { type Assertion, readRegex, type RegexNode, type RepeatNode } from "./syntax.ts";

/** What is wrong with an expression, or undefined. */
export function regexFault(text: string): string | undefined {
  try {
    programOf(text);
    return undefined;
  } catch (error) {
    if (error instanceof RegexFault) return error.message;
    throw error;
  }
}

/** Whether the whole text matches; throws a `RegexFault` where `regexFault` finds one. */
export function matchesWhole(expression: string, text: string): boolean {
  const program = programOf(expression);
  const points = Array.from(text, (character) => character.codePointAt(0) ?? 0);
  let places = new Places(program, points, 0).add(0);
  for (const [index, point] of points.entries()) {
    const next = new Places(program, points, index + 1);
    for (const place of places.list) {
      const step = program[place];
      if (step?.kind === "char" && step.test(point)) next.add(place + 1);
    }
    places = next;
    if (places.list.length === 0) return false;
  }
  return places.list.includes(program.length - 1);
}

/** Unless it says otherwise, a step leads to the one behind it. The last one is `match`. */
type Step =
  | { readonly kind: "char"; readonly test: CharTest }
  | { readonly kind: "assert"; readonly at: Assertion }
  | { readonly kind: "fork"; readonly targets: readonly number[] }
  | { readonly kind: "match" };

/** Of expressions that were read before; forgotten all at once when they become too many. */
const programs = new Map<string, readonly Step[]>();
const PROGRAMS_MAX = 4096;

function programOf(text: string): readonly Step[] {
  let program = programs.get(text);
  if (program === undefined) {
    const steps: Step[] = [];
    emit(readRegex(text), steps);
    steps.push({ kind: "match" });
    program = steps;
    if (programs.size >= PROGRAMS_MAX) programs.clear();
    programs.set(text, program);
  }
  return program;
}

function emit(node: RegexNode, steps: Step[]): void {
  if (steps.length > REGEX_STEPS_MAX) throw new RegexFault("is too large");
  switch (node.kind) {
    case "empty":
      return;
    case "char":
      steps.push({ kind: "char", test: node.test });
      return;
    case "assert":
      steps.push({ kind: "assert", at: node.at });
      return;
    case "sequence":
      for (const part of node.nodes) emit(part, steps);
      return;
    case "choice":
      return emitChoice(node.nodes, steps);
    case "repeat":
      return emitRepeat(node, steps);
  }
}

/** fork a, b; a…; go end; b…; end: */
function emitChoice(nodes: readonly RegexNode[], steps: Step[]): void {
  const targets: number[] = [];
  const ends: number[][] = [];
  steps.push({ kind: "fork", targets });
  for (const node of nodes) {
    targets.push(steps.length);
    emit(node, steps);
    const end: number[] = [];
    ends.push(end);
    steps.push({ kind: "fork", targets: end });
  }
  for (const end of ends) end.push(steps.length);
}

function emitRepeat({ node, min, max }: RepeatNode, steps: Step[]): void {
  for (let count = 0; count < min; count++) emit(node, steps);
  if (max === undefined) {
    // again: fork body, end; body…; go again; end:
    const again = steps.length;
    const targets = [again + 1];
    steps.push({ kind: "fork", targets });
    emit(node, steps);
    steps.push({ kind: "fork", targets: [again] });
    targets.push(steps.length);
    return;
  }
  const ends: number[][] = [];
  for (let count = min; count < max; count++) {
    const targets = [steps.length + 1];
    ends.push(targets);
    steps.push({ kind: "fork", targets });
    emit(node, steps);
  }
  for (const targets of ends) targets.push(steps.length);
}

/** The steps that the program can stand at, at one place of the text. */
class Places {
  /** Of kind char or match, without repetition. */
  readonly list: number[] = [];
  readonly #program: readonly Step[];
  readonly #points: readonly number[];
  readonly #index: number;
  readonly #seen = new Set<number>();

  constructor(program: readonly Step[], points: readonly number[], index: number) {
    this.#program = program;
    this.#points = points;
    this.#index = index;
  }

  add(start: number): this {
    const pending = [start];
    for (let place = pending.pop(); place !== undefined; place = pending.pop()) {
      if (this.#seen.has(place)) continue;
      this.#seen.add(place);
      const step = this.#program[place];
      if (step?.kind === "fork") pending.push(...step.targets);
      else if (step?.kind === "assert") {
        if (this.#holds(step.at)) pending.push(place + 1);
      } else this.list.push(place);
    }
    return this;
  }

  #holds(at: Assertion): boolean {
    const [before, after] = [this.#points[this.#index - 1], this.#points[this.#index]];
    switch (at) {
      case "start":
        return before === undefined;
      case "end":
        return after === undefined;
      case "line-start":
        return before === undefined || before === 0x0a;
      case "line-end":
        return after === undefined || after === 0x0a;
      case "boundary":
        return isWord(before) !== isWord(after);
      case "no-boundary":
        return isWord(before) === isWord(after);
    }
  }
}

function isWord(point: number | undefined): boolean {
  return point !== undefined && point < 0x80 && /\w/.test(String.fromCharCode(point));
}
