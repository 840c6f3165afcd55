/**
 * Classes of characters: `[a-z]`, `\d`, `[[:alpha:]]`, `\p{Greek}`. In: a scanner behind the
 * opening character. Out: a test.
 *
 * @module
 */

import { type CharTest, folded, isOneOf, type Scanner } from "./scanner.ts";

/** Reads the rest of a class in brackets. */
export function readClass(scanner: Scanner, ignoreCase: boolean): CharTest {
  const isNegated = scanner.take("^");
  const tests: CharTest[] = [];
  // A closing bracket that comes first is text.
  if (scanner.take("]")) tests.push(isOneOf("]"));
  while (!scanner.take("]")) {
    if (scanner.isDone()) scanner.fail('has "[" without "]"');
    tests.push(readItem(scanner));
  }
  const any: CharTest = (point) => tests.some((test) => test(point));
  const test = ignoreCase ? folded(any) : any;
  return isNegated ? (point) => !test(point) : test;
}

/** Reads `d`, `W` and the like behind a backslash, if one stands there. */
export function readPerlClass(scanner: Scanner): CharTest | undefined {
  const letter = scanner.peek();
  const test = PERL.get(letter.toLowerCase());
  if (test === undefined) return undefined;
  scanner.next();
  return letter === letter.toLowerCase() ? test : (point) => !test(point);
}

/** Reads `pL`, `p{Greek}`, `P{^Lu}` behind a backslash, if one stands there. */
export function readProperty(scanner: Scanner): CharTest | undefined {
  const match = scanner.takeMatch(/^([pP])(?:([A-Z])|\{(\^?)(\w+)\})/);
  if (match === undefined) return undefined;
  const [, letter, short, caret, long] = match;
  const name = short ?? long ?? "";
  const expression = propertyOf(name);
  if (expression === undefined) return scanner.fail(`has an unknown class "\\p{${name}}"`);
  const isNegated = (letter === "P") !== (caret === "^");
  return (point) => expression.test(String.fromCodePoint(point)) !== isNegated;
}

function readItem(scanner: Scanner): CharTest {
  const posix = scanner.takeMatch(/^\[:(\^?)(\w+):\]/);
  if (posix !== undefined) {
    const test = POSIX.get(posix[2] ?? "");
    if (test === undefined) return scanner.fail(`has an unknown class "${posix[0]}"`);
    return posix[1] === "^" ? (point) => !test(point) : test;
  }
  if (scanner.take("\\")) {
    const test = readPerlClass(scanner) ?? readProperty(scanner);
    return test ?? readRange(scanner, scanner.escaped());
  }
  return readRange(scanner, scanner.next().codePointAt(0) ?? 0);
}

function readRange(scanner: Scanner, first: number): CharTest {
  // A hyphen before the closing bracket is text.
  if (scanner.takeMatch(/^-(?!\])/) === undefined) return (point) => point === first;
  const isEscaped = scanner.take("\\");
  const last = isEscaped ? scanner.escaped() : scanner.next().codePointAt(0) ?? 0;
  if (last < first) scanner.fail("has a range of characters from high to low");
  return (point) => point >= first && point <= last;
}

/** RE2's names are those of the Unicode standard: categories and scripts. */
function propertyOf(name: string): RegExp | undefined {
  if (name === "Any") return /^[\s\S]*$/u;
  for (const property of [name, `Script=${name}`]) {
    try {
      return new RegExp(`^\\p{${property}}$`, "u");
    } catch {
      // Not a name of this kind.
    }
  }
  return undefined;
}

function ascii(pattern: RegExp): CharTest {
  return (point) => point < 0x80 && pattern.test(String.fromCharCode(point));
}

const PERL: ReadonlyMap<string, CharTest> = new Map([
  ["d", ascii(/[0-9]/)],
  ["s", ascii(/[\t\n\f\r ]/)],
  ["w", ascii(/[0-9A-Za-z_]/)],
]);

const POSIX: ReadonlyMap<string, CharTest> = new Map([
  ["alnum", ascii(/[0-9A-Za-z]/)],
  ["alpha", ascii(/[A-Za-z]/)],
  ["ascii", (point) => point < 0x80],
  ["blank", ascii(/[\t ]/)],
  ["cntrl", (point) => point < 0x20 || point === 0x7f],
  ["digit", ascii(/[0-9]/)],
  ["graph", ascii(/[!-~]/)],
  ["lower", ascii(/[a-z]/)],
  ["print", ascii(/[ -~]/)],
  ["punct", ascii(/[!-/:-@[-`{-~]/)],
  ["space", ascii(/[\t\n\v\f\r ]/)],
  ["upper", ascii(/[A-Z]/)],
  ["word", ascii(/[0-9A-Za-z_]/)],
  ["xdigit", ascii(/[0-9A-Fa-f]/)],
]);
