/**
 * Who answers the queries of `weft policy eval`: the reference evaluator, the compiled programs in
 * the kernel, or both, compared. In: the objects. Out: an answerer, or why the kernel cannot be
 * used.
 *
 * Invariant: with both, the answer is the reference's; where the kernel says something else, that
 * is told and counted. That the kernel cannot read payloads (`l7-unavailable`) is no difference.
 *
 * @module
 */

import { SyscallError } from "../../ffi/errors.ts";
import { Errno } from "../../ffi/errno.ts";
import { formatError } from "../errors.ts";
import type { Answer, Engine, Query } from "../evaluate/mod.ts";
import type { KernelEngine } from "../load/policy/mod.ts";
import type { Enforcement, PolicyWorld } from "../model/network_policy/mod.ts";
import type { CliEnv } from "./env.ts";
import { ExitStatus } from "./exit.ts";

/** Whom `--engine` can name. */
export const ENGINES = ["reference", "kernel", "both"] as const;
export type EngineName = typeof ENGINES[number];

/** Answers queries. */
export interface Answerer extends Disposable {
  /** `text` is the query as it was asked. */
  answer(query: Query, text: unknown): Answer;
}

/** Opens the engines that are asked for, or says why the kernel cannot be used. */
export async function openAnswerer(
  { engine, enforcement }: { readonly engine: EngineName; readonly enforcement: Enforcement },
  world: PolicyWorld,
  env: CliEnv,
): Promise<Answerer | { readonly unusable: string }> {
  const { ReferenceEngine } = await import("../evaluate/mod.ts");
  const reference = new ReferenceEngine(world, { enforcement });
  if (engine === "reference") return answererOf(reference);
  const kernel = await openKernel(world, enforcement);
  if ("unusable" in kernel) return kernel;
  for (const { error, members } of kernel.faults) {
    env.err(`weft: ${error.message}; denied everything: ${members.join(", ")}\n`);
  }
  return engine === "kernel" ? answererOf(kernel) : new Comparison(reference, kernel, env);
}

async function openKernel(
  world: PolicyWorld,
  enforcement: Enforcement,
): Promise<KernelEngine | { readonly unusable: string }> {
  const { KernelEngine } = await import("../load/policy/mod.ts");
  try {
    return new KernelEngine({ ...world, enforcement });
  } catch (error) {
    const needsRoot = error instanceof SyscallError && error.errno === Errno.EPERM;
    const hint = needsRoot ? "; it needs root (CAP_BPF, CAP_NET_ADMIN)" : "";
    return { unusable: `${formatError(error)}${hint}` };
  }
}

function answererOf(engine: Engine & Partial<Disposable>): Answerer {
  return {
    answer: (query) => engine.decide(query),
    [Symbol.dispose]: () => engine[Symbol.dispose]?.(),
  };
}

/** The reference's answers, each held against the kernel's. */
export class Comparison implements Answerer {
  readonly #reference: Engine;
  readonly #kernel: Engine & Disposable;
  readonly #env: CliEnv;

  constructor(reference: Engine, kernel: Engine & Disposable, env: CliEnv) {
    this.#reference = reference;
    this.#kernel = kernel;
    this.#env = env;
  }

  answer(query: Query, text: unknown): Answer {
    const reference = this.#reference.decide(query);
    const kernel = this.#kernel.decide(query);
    if (differ(reference, kernel)) {
      this.#env.err(`${JSON.stringify({ query: text, reference, kernel })}\n`);
      this.#env.status = ExitStatus.NO;
    }
    return reference;
  }

  [Symbol.dispose](): void {
    this.#kernel[Symbol.dispose]();
  }
}

function differ(reference: Answer, kernel: Answer): boolean {
  if ("verdict" in kernel && kernel.verdict === "deny" && kernel.reason === "l7-unavailable") {
    return "error" in reference;
  }
  return verdictOf(reference) !== verdictOf(kernel);
}

function verdictOf(answer: Answer): string {
  if ("error" in answer) return "error";
  return answer.verdict === "allow" ? "allow" : `deny ${answer.reason}`;
}
