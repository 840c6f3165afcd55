/**
 * Throws what it can at weft's inputs: `deno task fuzz`. In: how many cases, of which inputs, from
 * which seed. Out: a line per fuzzer, or the seed and the case at which one failed; the same seed
 * makes the same cases again.
 *
 *     deno task fuzz [--cases N] [--seed S] [--only yaml|cli|tls|packets|policies]
 *
 * @module
 */
import { parseArgs } from "node:util";
import { say } from "@/scripts/lib/terminal.ts";
import type { FuzzOptions } from "./random.ts";

interface Fuzzer {
  readonly what: string;
  readonly needsRoot: boolean;
  /** Cases where none are asked for: about half a minute. */
  readonly cases: number;
  readonly load: () => Promise<(options: FuzzOptions) => Promise<void>>;
}

const FUZZERS: Readonly<Record<string, Fuzzer>> = {
  yaml: {
    what: "documents of the source folder",
    needsRoot: false,
    cases: 10_000,
    load: async () => (await import("./yaml.ts")).fuzzYaml,
  },
  cli: {
    what: "requests to the agent's socket",
    needsRoot: false,
    cases: 3000,
    load: async () => (await import("./cli.ts")).fuzzCli,
  },
  tls: {
    what: "bytes to the relay",
    needsRoot: true,
    cases: 3000,
    load: async () => (await import("./tls.ts")).fuzzTls,
  },
  packets: {
    what: "packets to the guard",
    needsRoot: true,
    cases: 40_000,
    load: async () => (await import("./packets.ts")).fuzzPackets,
  },
  policies: {
    what: "policies and flows, compiled and evaluated",
    needsRoot: true,
    cases: 2000,
    load: async () => (await import("./policies.ts")).fuzzPolicies,
  },
};

async function main(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      cases: { type: "string" },
      seed: { type: "string" },
      only: { type: "string", multiple: true },
    },
  });
  const names = values.only ?? Object.keys(FUZZERS);
  const seed = numberOf("--seed", values.seed) ?? crypto.getRandomValues(new Uint32Array(1))[0] ??
    0;
  const cases = numberOf("--cases", values.cases);
  let failed = 0;
  for (const name of names) {
    const fuzzer = FUZZERS[name];
    if (fuzzer === undefined) {
      throw new TypeError(`Unknown fuzzer "${name}": there are ${Object.keys(FUZZERS).join(", ")}`);
    }
    // deno-lint-ignore no-await-in-loop -- they share the machine
    if (!await run(name, fuzzer, { seed, cases: cases ?? fuzzer.cases })) failed++;
  }
  return failed > 0 ? 1 : 0;
}

async function run(name: string, fuzzer: Fuzzer, options: FuzzOptions): Promise<boolean> {
  const label = `${name}: ${options.cases} cases of ${fuzzer.what}, seed ${options.seed}`;
  if (fuzzer.needsRoot && Deno.uid() !== 0) {
    say(`skipped  ${label}: needs root`);
    return true;
  }
  const start = performance.now();
  try {
    await (await fuzzer.load())(options);
    say(`ok       ${label}, in ${((performance.now() - start) / 1000).toFixed(1)} s`);
    return true;
  } catch (error) {
    say(`FAILED   ${label}\n${error instanceof Error ? error.stack : error}`);
    return false;
  }
}

function numberOf(name: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const number = Number(text);
  if (Number.isSafeInteger(number) && number >= 0) return number;
  throw new TypeError(`Cannot use ${name}: want a whole number, current value is "${text}"`);
}

if (import.meta.main) Deno.exit(await main(Deno.args));
