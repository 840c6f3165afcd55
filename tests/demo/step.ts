/**
 * A step of the walkthrough: it types commands, looks at what happens, and says of each thing that
 * it expects whether it came.
 *
 * Invariant: a step has passed when it went through to its end, checked something, and everything
 * that it checked held. One that could not go on has failed, whatever was checked before.
 *
 * @module
 */
import { errorText } from "./words.ts";
import type { Need, Scene } from "./scene.ts";
import type { Screen } from "./screen.ts";

/** One step. */
export interface Step {
  readonly number: number;
  readonly title: string;
  /** what must be there before; provided quietly when the step is played alone */
  readonly needs: readonly Need[];
  play(scene: Scene, told: Told): Promise<void>;
}

/** What became of a step. */
export interface StepResult {
  readonly checks: readonly Check[];
  /** why it could not go on */
  readonly failure?: string;
  readonly passed: boolean;
}

/** One expectation. */
export interface Check {
  readonly expected: string;
  readonly happened: string;
  readonly passed: boolean;
}

/** The narrator of one step: shows on a screen and keeps what was checked. */
export class Told {
  readonly screen: Screen;
  readonly checks: Check[] = [];
  /** called at the places that a step names; sabotage comes in here */
  readonly at: (place: Moment) => Promise<void>;

  constructor(screen: Screen, at: (place: Moment) => Promise<void> = async () => {}) {
    this.screen = screen;
    this.at = at;
  }

  /** Says what was expected and what happened. */
  check(expected: string, passed: boolean, happened: string): void {
    const line = happened.trim().replace(/\s+/g, " ");
    this.checks.push({ expected, passed, happened: line });
    this.screen.check(passed, expected, line);
  }
}

/** Moments at which a step can be disturbed from outside. */
export type Moment = "agent-killed";

/** Plays one step to its end. */
export async function playStep(
  step: Step,
  scene: Scene,
  screen: Screen,
  at?: (place: Moment) => Promise<void>,
): Promise<StepResult> {
  const told = new Told(screen, at);
  screen.title(step.number, step.title);
  try {
    for (const need of step.needs) {
      // deno-lint-ignore no-await-in-loop -- each builds on the one before
      await scene.provide(need);
    }
    await step.play(scene, told);
  } catch (error) {
    const failure = tellFailure(screen, "the step goes on to its end", error);
    return { checks: told.checks, failure, passed: false };
  }
  const passed = told.checks.length > 0 && told.checks.every((check) => check.passed);
  return { checks: told.checks, passed };
}

/** Says that something could not be done, and why; returns the words. */
export function tellFailure(screen: Screen, expected: string, error: unknown): string {
  const failure = errorText(error);
  const [first = "", ...rest] = failure.split("\n");
  screen.check(false, expected, first);
  for (const line of rest) screen.output(line);
  return failure;
}
