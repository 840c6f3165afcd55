/**
 * `weft policy listing`: the programs that policies are compiled to, instruction by instruction,
 * with the rule that each comes from. In come objects, out go listings; nothing is loaded.
 *
 * @module
 */

import type { Command } from "@commander-js/extra-typings";
import { NotFoundError } from "../errors.ts";
import type { CompiledProgram, PolicyPlan } from "../compile/policy/mod.ts";
import type { CliEnv } from "./env.ts";
import { ExitStatus } from "./exit.ts";
import { count } from "./text.ts";

const HELP = `
Pods that are subject to the same policies share a program. Registers: r6 is the question, r7 the
peer's row of bits, r8 the port.

Examples:
  weft policy listing --objects ./manifests --pod default/backend
  weft policy listing --objects ./manifests > listings.txt

Exit status: 0 listed, 1 a set of policies is too large to be compiled, 2 a file cannot be read,
4 there is no such pod.
`;

/** Adds `weft policy listing`. */
export function registerPolicyListing(policy: Command, env: CliEnv): void {
  policy.command("listing")
    .description("print the programs that policies are compiled to, with the rule of each part")
    .requiredOption("--objects <path...>", "files or folders with the objects")
    .option("--pod <namespace/name>", "the program of this pod alone")
    .addHelpText("after", HELP)
    .action((options) => listingCommand(options, env));
}

interface ListingCommand {
  readonly objects: readonly string[];
  readonly pod?: string | undefined;
}

async function listingCommand({ objects, pod }: ListingCommand, env: CliEnv): Promise<void> {
  const { readDocuments, worldOf } = await import("../watch/policies/mod.ts");
  const { compilePolicies } = await import("../compile/policy/mod.ts");
  const { world } = worldOf(await readDocuments(objects));
  const plan = compilePolicies({ ...world, enforcement: "default" });
  const { listing } = await import("../asm/mod.ts");
  for (const compiled of programsOf(plan, pod)) {
    if (compiled.error !== undefined) {
      env.err(
        `weft: ${compiled.error.message}; denied everything: ${compiled.members.join(", ")}\n`,
      );
      env.status = ExitStatus.NO;
    }
    env.out(`${headOf(compiled)}\n${listing(compiled.program)}\n`);
  }
}

function programsOf(plan: PolicyPlan, pod: string | undefined): readonly CompiledProgram[] {
  if (pod === undefined) return plan.programs;
  const compiled = plan.programs[plan.subjects.get(`pod ${pod}`) ?? -1];
  if (compiled !== undefined) return [compiled];
  throw new NotFoundError(`Cannot list the program of pod "${pod}": there is no such pod`, {
    object: `pod ${pod}`,
  });
}

function headOf({ members, rules, program }: CompiledProgram): string {
  const size = `${count(rules.length, "rule")}, ${count(program.length, "slot")}`;
  return `# ${members.join(", ")}: ${size}`;
}
