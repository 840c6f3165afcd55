/**
 * Compiles a large world in a process of its own, so that memory is that of this world alone.
 *
 * @module
 */

import { compilePolicies } from "@/src/compile/policy/mod.ts";
import { checked } from "./command.ts";
import { largeWorld, type LoadSize } from "./policy_load.ts";

/** What one compilation took. */
export interface CompileSample {
  /** The first one of the process. */
  readonly coldMs: number;
  /** The second: what a change costs, for everything is compiled again. */
  readonly againMs: number;
  /** Most memory that the process had. */
  readonly peakBytes: number;
  readonly programs: number;
  readonly rows: number;
}

/** Measures in a child. */
export async function measureCompile({ policies, pods }: LoadSize): Promise<CompileSample> {
  const self = new URL(import.meta.url).pathname;
  const args = ["run", "-A", "--no-check", self, String(policies), String(pods)];
  return JSON.parse(await checked([Deno.execPath(), ...args]));
}

function compileOnce(size: LoadSize): CompileSample {
  const world = largeWorld(size);
  const timed = () => {
    const started = performance.now();
    const plan = compilePolicies(world);
    return { plan, ms: performance.now() - started };
  };
  const [cold, again] = [timed(), timed()];
  const status = Deno.readTextFileSync("/proc/self/status");
  const peakKib = Number(/^VmHWM:\s*(\d+) kB$/m.exec(status)?.[1] ?? 0);
  return {
    coldMs: cold.ms,
    againMs: again.ms,
    peakBytes: peakKib * 1024,
    programs: cold.plan.programs.length,
    rows: cold.plan.rows.length,
  };
}

if (import.meta.main) {
  const [policies = 0, pods = 0] = Deno.args.map(Number);
  const text = JSON.stringify(compileOnce({ policies, pods }));
  await Deno.stdout.write(new TextEncoder().encode(text));
}
