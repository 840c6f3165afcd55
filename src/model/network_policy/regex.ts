/**
 * Whether a whole text matches a regular expression. In: an expression in RE2's syntax, which is
 * what policies are written in, and a text. Out: yes or no, in time linear in the text.
 *
 * Why not the language's own: its syntax is another one (it accepts lookarounds and
 * back-references, and knows neither `(?i)` nor `\z`), and it backtracks, so that a policy could
 * stall whoever reads it.
 *
 * @module
 */

import { RE2JS, RE2JSException, RE2JSSyntaxException } from "re2js";
import { REGEX_STEPS_MAX } from "../../limits.ts";

/** What is wrong with an expression, or undefined. */
export function regexFault(text: string): string | undefined {
  try {
    const size = programOf(text).programSize();
    return size <= REGEX_STEPS_MAX ? undefined : `it is too large: ${size} steps`;
  } catch (error) {
    if (error instanceof RE2JSSyntaxException) return error.getDescription();
    if (error instanceof RE2JSException) return error.message;
    throw error;
  }
}

/** Whether the whole text matches; throws where the expression is none. */
export function matchesWhole(expression: string, text: string): boolean {
  return programOf(expression).matches(text);
}

/** Of expressions that were read before; forgotten all at once when they become too many. */
const programs = new Map<string, RE2JS>();
const PROGRAMS_MAX = 4096;

function programOf(text: string): RE2JS {
  let program = programs.get(text);
  if (program === undefined) {
    program = RE2JS.compile(text);
    if (programs.size >= PROGRAMS_MAX) programs.clear();
    programs.set(text, program);
  }
  return program;
}
