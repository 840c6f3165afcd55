/**
 * What was measured, and how two paths compare.
 *
 * Invariant: a ratio is taken between two samples of the same round, a few seconds apart, and only
 * then summarised; medians of different minutes on a shared machine say little about each other.
 *
 * @module
 */

/** Figures of one path under one load in one round. */
export interface Sample {
  readonly round: number;
  readonly load: string;
  readonly path: string;
  readonly figures: Readonly<Record<string, number>>;
}

/** A median with what lies around it. */
export interface Summary {
  readonly median: number;
  readonly lowest: number;
  readonly highest: number;
}

/** Summary of one figure of one path. */
export function summarize(
  samples: readonly Sample[],
  load: string,
  path: string,
  figure: string,
): Summary | undefined {
  return summaryOf([...figuresOf(samples, load, path, figure).values()]);
}

/** Summary of the ratio of `path` to `base`, round by round. */
export function compare(
  samples: readonly Sample[],
  load: string,
  figure: string,
  { path, base }: { readonly path: string; readonly base: string },
): Summary | undefined {
  const bases = figuresOf(samples, load, base, figure);
  const ratios: number[] = [];
  for (const [round, value] of figuresOf(samples, load, path, figure)) {
    const other = bases.get(round);
    if (other !== undefined && other > 0) ratios.push(value / other);
  }
  return summaryOf(ratios);
}

function figuresOf(
  samples: readonly Sample[],
  load: string,
  path: string,
  figure: string,
): Map<number, number> {
  return new Map(
    samples.filter((sample) => sample.load === load && sample.path === path)
      .flatMap(({ round, figures }) => {
        const value = figures[figure];
        return value === undefined ? [] : [[round, value] as const];
      }),
  );
}

function summaryOf(values: readonly number[]): Summary | undefined {
  const sorted = values.toSorted((a, b) => a - b);
  const [lowest, highest] = [sorted.at(0), sorted.at(-1)];
  const [low, high] = [sorted.at((sorted.length - 1) >> 1), sorted.at(sorted.length >> 1)];
  if ([lowest, highest, low, high].includes(undefined)) return undefined;
  return { median: ((low ?? 0) + (high ?? 0)) / 2, lowest: lowest ?? 0, highest: highest ?? 0 };
}
