/**
 * The text of a regular expression, read from left to right, and tests of single characters.
 *
 * @module
 */

/** Whether a code point is one of a set. */
export type CharTest = (point: number) => boolean;

/** What is wrong with an expression: a sentence without its subject. */
export class RegexFault extends Error {
  override readonly name = "RegexFault";
}

/** A text and a place in it. */
export class Scanner {
  #rest: string;

  constructor(text: string) {
    this.#rest = text;
  }

  isDone(): boolean {
    return this.#rest === "";
  }

  /** The next character; empty at the end. */
  peek(): string {
    const point = this.#rest.codePointAt(0);
    return point === undefined ? "" : String.fromCodePoint(point);
  }

  next(): string {
    const character = this.peek();
    if (character === "") this.fail("ends too early");
    this.#rest = this.#rest.slice(character.length);
    return character;
  }

  take(text: string): boolean {
    if (!this.#rest.startsWith(text)) return false;
    this.#rest = this.#rest.slice(text.length);
    return true;
  }

  /** `pattern` must begin with `^`. */
  takeMatch(pattern: RegExp): RegExpExecArray | undefined {
    const match = pattern.exec(this.#rest);
    if (match === null) return undefined;
    this.#rest = this.#rest.slice(match[0].length);
    return match;
  }

  /** What stands behind a backslash, where it is one character. */
  escaped(): number {
    const octal = this.takeMatch(/^(0[0-7]{0,2}|[1-7][0-7]{1,2})/);
    if (octal !== undefined) return parseInt(octal[0], 8);
    const hex = this.takeMatch(/^x(?:([0-9a-fA-F]{2})|\{([0-9a-fA-F]{1,6})\})/);
    if (hex !== undefined) {
      const point = parseInt(hex[1] ?? hex[2] ?? "", 16);
      return point <= 0x10ffff ? point : this.fail(`has an invalid escape "\\${hex[0]}"`);
    }
    const character = this.next();
    const control = CONTROLS.get(character);
    if (control !== undefined) return control;
    if (!/^[!-/:-@[-`{-~ ]$/.test(character)) this.fail(`has an invalid escape "\\${character}"`);
    return character.codePointAt(0) ?? 0;
  }

  fail(fault: string): never {
    throw new RegexFault(fault);
  }
}

/** A test for the characters of a text. */
export function isOneOf(text: string): CharTest {
  const points = new Set([...text].map((character) => character.codePointAt(0)));
  return (point) => points.has(point);
}

/** The same, without regard to case. */
export function folded(test: CharTest): CharTest {
  return (point) => {
    if (test(point)) return true;
    const character = String.fromCodePoint(point);
    return [character.toLowerCase(), character.toUpperCase()].some((other) =>
      [...other].length === 1 && test(other.codePointAt(0) ?? 0)
    );
  };
}

const CONTROLS: ReadonlyMap<string, number> = new Map([
  ["a", 0x07],
  ["f", 0x0c],
  ["t", 0x09],
  ["n", 0x0a],
  ["r", 0x0d],
  ["v", 0x0b],
]);
