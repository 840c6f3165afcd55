/**
 * Regular expressions in RE2's syntax, which is what policies are written in. In: the text. Out: a
 * tree, or the rule that the text breaks.
 *
 * Why not the language's own: its syntax is another one (it accepts lookarounds and
 * back-references, and knows neither `(?i)` nor `\z`), and it backtracks, so that a policy could
 * stall whoever reads it. Groups capture nothing here and lazy is greedy: only whether a whole text
 * matches is asked. Syntax: https://github.com/google/re2/wiki/Syntax
 *
 * @module
 */

import { readClass, readPerlClass, readProperty } from "./char_class.ts";
import { type CharTest, folded, isOneOf, Scanner } from "./scanner.ts";

/** One piece of an expression. */
export type RegexNode =
  | { readonly kind: "empty" }
  | { readonly kind: "char"; readonly test: CharTest }
  | { readonly kind: "assert"; readonly at: Assertion }
  | { readonly kind: "sequence"; readonly nodes: readonly RegexNode[] }
  | { readonly kind: "choice"; readonly nodes: readonly RegexNode[] }
  | RepeatNode;

/** A piece that may come several times. */
export interface RepeatNode {
  readonly kind: "repeat";
  readonly node: RegexNode;
  readonly min: number;
  /** Undefined: without end. */
  readonly max: number | undefined;
}

/** A place between characters. */
export type Assertion = "start" | "end" | "line-start" | "line-end" | "boundary" | "no-boundary";

/** Repetitions that one operator may ask for; RE2's own bound. */
const REPEAT_MAX = 1000;

/** Groups within groups; RE2's own bound. */
const DEPTH_MAX = 1000;

interface Flags {
  readonly ignoreCase: boolean;
  readonly multiLine: boolean;
  readonly dotAll: boolean;
}

/** Reads a whole expression; throws a `RegexFault`. */
export function readRegex(text: string): RegexNode {
  const reader = new Reader(new Scanner(text));
  const node = reader.choice();
  reader.expectEnd();
  return node;
}

class Reader {
  readonly #scanner: Scanner;
  #flags: Flags = { ignoreCase: false, multiLine: false, dotAll: false };
  #depth = 0;

  constructor(scanner: Scanner) {
    this.#scanner = scanner;
  }

  choice(): RegexNode {
    const nodes = [this.#sequence()];
    while (this.#scanner.take("|")) nodes.push(this.#sequence());
    return nodes.length === 1 ? nodes[0] ?? EMPTY : { kind: "choice", nodes };
  }

  expectEnd(): void {
    if (!this.#scanner.isDone()) this.#scanner.fail('has ")" without "("');
  }

  #sequence(): RegexNode {
    const nodes: RegexNode[] = [];
    while (!this.#scanner.isDone() && !"|)".includes(this.#scanner.peek())) {
      const pieces = this.#scanner.take("\\Q") ? this.#quoted() : [this.#atom()];
      const last = pieces.pop();
      nodes.push(...pieces);
      if (last !== undefined) nodes.push(this.#repeated(last));
    }
    return nodes.length === 1 ? nodes[0] ?? EMPTY : { kind: "sequence", nodes };
  }

  #quoted(): RegexNode[] {
    const nodes: RegexNode[] = [];
    while (!this.#scanner.isDone() && !this.#scanner.take("\\E")) {
      nodes.push(this.#literal(this.#scanner.next()));
    }
    return nodes;
  }

  #repeated(node: RegexNode): RegexNode {
    const bounds = this.#bounds();
    if (bounds === undefined) return node;
    this.#scanner.take("?");
    if (this.#bounds() !== undefined) this.#scanner.fail("repeats a repetition");
    return { kind: "repeat", node, ...bounds };
  }

  #bounds(): { min: number; max: number | undefined } | undefined {
    if (this.#scanner.take("*")) return { min: 0, max: undefined };
    if (this.#scanner.take("+")) return { min: 1, max: undefined };
    if (this.#scanner.take("?")) return { min: 0, max: 1 };
    // What is no count is text, as in "{{}}".
    const match = this.#scanner.takeMatch(/^\{(\d+)(,(\d*))?\}/);
    if (match === undefined) return undefined;
    const min = Number(match[1]);
    const max = match[2] === undefined ? min : match[3] === "" ? undefined : Number(match[3]);
    if (Math.max(min, max ?? 0) > REPEAT_MAX || (max !== undefined && max < min)) {
      this.#scanner.fail(`has an invalid repeat count "${match[0]}"`);
    }
    return { min, max };
  }

  #atom(): RegexNode {
    const scanner = this.#scanner;
    const character = scanner.next();
    switch (character) {
      case "(":
        return this.#group();
      case "[":
        return { kind: "char", test: readClass(scanner, this.#flags.ignoreCase) };
      case ".":
        return { kind: "char", test: this.#flags.dotAll ? () => true : isNoNewline };
      case "^":
        return { kind: "assert", at: this.#flags.multiLine ? "line-start" : "start" };
      case "$":
        return { kind: "assert", at: this.#flags.multiLine ? "line-end" : "end" };
      case "*":
      case "+":
      case "?":
        return scanner.fail(`has nothing to repeat before "${character}"`);
      case "\\":
        return this.#escape();
      default:
        return this.#literal(character);
    }
  }

  #escape(): RegexNode {
    const scanner = this.#scanner;
    const assertion = ASSERTIONS.get(scanner.peek());
    if (assertion !== undefined) {
      scanner.next();
      return { kind: "assert", at: assertion };
    }
    const test = readPerlClass(scanner) ?? readProperty(scanner);
    if (test !== undefined) return { kind: "char", test };
    return this.#literal(String.fromCodePoint(scanner.escaped()));
  }

  #group(): RegexNode {
    const before = this.#flags;
    if (++this.#depth > DEPTH_MAX) this.#scanner.fail("is nested too deeply");
    if (this.#scanner.take("?")) {
      const name = this.#scanner.takeMatch(/^P?<\w+>/);
      if (name === undefined && this.#readFlags()) {
        this.#depth--;
        return EMPTY; // "(?i)": for the rest of the group that it stands in
      }
    }
    const node = this.choice();
    if (!this.#scanner.take(")")) this.#scanner.fail('has "(" without ")"');
    this.#flags = before;
    this.#depth--;
    return node;
  }

  /** `i:`, `i-s)`: whether the group ends here. */
  #readFlags(): boolean {
    const match = this.#scanner.takeMatch(/^([imsU]*)(?:-([imsU]+))?([:)])/);
    if (match === undefined) {
      return this.#scanner.fail("has a kind of group that RE2 does not know");
    }
    const [, on = "", off = "", end] = match;
    const isOn = (flag: string, now: boolean) => (now || on.includes(flag)) && !off.includes(flag);
    this.#flags = {
      ignoreCase: isOn("i", this.#flags.ignoreCase),
      multiLine: isOn("m", this.#flags.multiLine),
      dotAll: isOn("s", this.#flags.dotAll),
    };
    return end === ")";
  }

  #literal(character: string): RegexNode {
    const test = isOneOf(character);
    return { kind: "char", test: this.#flags.ignoreCase ? folded(test) : test };
  }
}

const EMPTY: RegexNode = { kind: "empty" };

const ASSERTIONS: ReadonlyMap<string, Assertion> = new Map([
  ["A", "start"],
  ["z", "end"],
  ["b", "boundary"],
  ["B", "no-boundary"],
]);

function isNoNewline(point: number): boolean {
  return point !== 0x0a;
}
