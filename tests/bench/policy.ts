/**
 * `scripts/bench policy`: what a verdict costs and how it grows, what compiling costs, and nftables
 * with rules of the same meaning beside it.
 *
 * A verdict is one run of the compiled program (BPF_PROG_TEST_RUN, many times over), from the
 * question in its slot to the answer; its question has been looked up before. nftables is timed by
 * what it adds to a datagram over lo, in a namespace of its own. Figures of both are medians.
 *
 * @module
 */

import { compilePolicies, type PolicyPlan } from "@/src/compile/policy/mod.ts";
import { type CompileSample, measureCompile } from "./policy_compile.ts";
import { addressOf, largeWorld, manyRules, portOf } from "./policy_load.ts";
import { NftBench, type NftForm } from "./policy_nft.ts";
import { VerdictTimer } from "./policy_verdict.ts";

/** What is measured, and where figures go. */
export interface PolicyBenchOptions {
  readonly rounds: number;
  readonly print: (text: string) => void;
  readonly progress: (text: string) => void;
}

const RULES = [1, 10, 100, 1000, 10_000] as const;

/** Measures and prints. */
export async function benchPolicy(options: PolicyBenchOptions): Promise<void> {
  const { print } = options;
  const [load] = Deno.loadavg();
  print(`machine: Linux ${Deno.osRelease()}, ${navigator.hardwareConcurrency} processors, `);
  print(`load ${load?.toFixed(2)} at the start; ${options.rounds} rounds, medians\n\n`);
  print("VERDICT: one pod, N rules, each of a peer and a port of its own\n");
  printVerdicts(options);
  print("\nNFTABLES: the same rules on a datagram over lo, nanoseconds more than with no rules\n");
  await printNft(options);
  print("\nCOMPILE: from objects to programs and rows, in a process of its own\n");
  await printCompile(options);
  print("\nCHANGE: rows written for one pod more of known labels\n");
  print(`${writesForOnePod()} (address), programs 0, rows of bits 0\n`);
}

function printVerdicts({ print, rounds }: PolicyBenchOptions): void {
  row(print, ["rules", "slots", "first ns", "last ns", "no peer ns", "no port ns", "compile ms"]);
  for (const rules of RULES) {
    const started = performance.now();
    const plan = compilePolicies(manyRules(rules));
    const compileMs = performance.now() - started;
    const server = plan.subjects.get("pod load/pod-0") ?? 0;
    using timer = new VerdictTimer(plan, server);
    const ns = (pod: number, port: number) =>
      median(rounds, () => timer.run({ row: rowOfPod(plan, pod), port })).toFixed(0);
    row(print, [
      String(rules),
      String(plan.programs[server]?.program.length ?? 0),
      ns(1, portOf(0)),
      ns(2, portOf(rules - 1)),
      ns(0, portOf(rules - 1)),
      ns(2, 1),
      compileMs.toFixed(1),
    ]);
  }
  print("\none port, N peers: a verdict grows with peers / 64, then with the digits of N\n");
  row(print, ["peers", "slots", "first ns", "last ns", "no peer ns"]);
  for (const rules of RULES) {
    const plan = compilePolicies(onOnePort(rules));
    const server = plan.subjects.get("pod load/pod-0") ?? 0;
    using timer = new VerdictTimer(plan, server);
    const ns = (pod: number) =>
      median(rounds, () => timer.run({ row: rowOfPod(plan, pod), port: 80 })).toFixed(0);
    const slots = String(plan.programs[server]?.program.length ?? 0);
    row(print, [String(rules), slots, ns(1), ns(2), ns(0)]);
  }
}

/** The same rules, all of port 80. */
function onOnePort(rules: number): ReturnType<typeof manyRules> {
  const world = manyRules(rules);
  const ports = [{
    path: [],
    ports: [{ transport: "TCP" as const, first: 80, last: 80 }],
    layer7: undefined,
  }];
  const policies = world.policies.map((policy) => ({
    ...policy,
    specs: policy.specs.map((spec) => ({
      ...spec,
      rules: spec.rules.map((rule) => ({ ...rule, ports })),
    })),
  }));
  return { ...world, policies };
}

async function printNft({ print, progress, rounds }: PolicyBenchOptions): Promise<void> {
  using bench = await NftBench.open();
  row(print, ["rules", "chain, first", "chain, last", "set"]);
  for (const rules of RULES) {
    progress(`nftables, ${rules} rules\n`);
    const added = (form: NftForm) => bench.addedNs(form, rules, rounds);
    // One after the other: they share the processors.
    // deno-lint-ignore no-await-in-loop
    const figures = [await added("first"), await added("last"), await added("set")];
    row(print, [String(rules), ...figures.map((ns) => ns.toFixed(0))]);
  }
}

const SIZES = [10, 100, 1000, 10_000].flatMap((policies) =>
  [100, 1000, 10_000].map((pods) => ({ policies, pods }))
);

async function printCompile({ print, progress }: PolicyBenchOptions): Promise<void> {
  row(print, ["policies", "pods", "cold ms", "again ms", "peak MiB", "programs", "rows"]);
  for (const size of SIZES) {
    progress(`compile ${size.policies} policies, ${size.pods} pods\n`);
    // deno-lint-ignore no-await-in-loop -- they share the processors
    const sample: CompileSample = await measureCompile(size);
    row(print, [
      String(size.policies),
      String(size.pods),
      sample.coldMs.toFixed(0),
      sample.againMs.toFixed(0),
      (sample.peakBytes / 2 ** 20).toFixed(0),
      String(sample.programs),
      String(sample.rows),
    ]);
  }
}

function writesForOnePod(): number {
  const world = largeWorld({ policies: 10, pods: 100 });
  const more = world.pods.slice(0, 1).map((pod) => ({
    ...pod,
    name: "new",
    addresses: [addressOf(100)],
  }));
  const places = (pods: typeof world.pods) =>
    compilePolicies({ ...world, pods }).places.map(({ identity, row }) =>
      `${identity.range.text} ${row}`
    );
  const before = new Set(places(world.pods));
  return places([...world.pods, ...more]).filter((place) => !before.has(place)).length;
}

function rowOfPod(plan: PolicyPlan, pod: number): number {
  const place = plan.places.find(({ identity }) => identity.address === addressOf(pod));
  return place?.row ?? 0;
}

function median(rounds: number, measure: () => number): number {
  const values = Array.from({ length: rounds }, measure).sort((a, b) => a - b);
  return values[values.length >> 1] ?? 0;
}

function row(print: (text: string) => void, cells: readonly string[]): void {
  print(`${cells.map((cell) => cell.padStart(14)).join("")}\n`);
}
