/**
 * Times one verdict program in the kernel: maps of its own, a question in the slot of every
 * processor, and so many runs of it. There is no next stage, so a run ends where it would go on.
 *
 * @module
 */

import { MapType, ProgramType } from "@/ffi/bpf/constants.ts";
import { BpfMap, possibleCpus } from "@/ffi/bpf/map.ts";
import { BpfProgram } from "@/ffi/bpf/program.ts";
import { u32Bytes } from "@/ffi/memory.ts";
import { encode } from "@/src/asm/mod.ts";
import {
  encodeQuestion,
  PolicyMap,
  type PolicyPlan,
  QUERY_SIZE_BYTES,
} from "@/src/compile/policy/mod.ts";

/** Runs of one measurement. */
const REPEAT = 200_000;

/** A verdict program that can be timed. */
export class VerdictTimer implements Disposable {
  readonly #stack = new DisposableStack();
  readonly #query: BpfMap;
  readonly #program: BpfProgram;

  /** Loads the program of this number. */
  constructor(plan: PolicyPlan, index: number) {
    const compiled = plan.programs[index];
    if (compiled === undefined) throw new RangeError(`Cannot time program ${index}: there is none`);
    const make = (type: MapType, name: string, valueSize: number, maxEntries: number) =>
      this.#stack.use(BpfMap.create({ type, name, keySize: 4, valueSize, maxEntries }));
    this.#query = make(MapType.PERCPU_ARRAY, PolicyMap.QUERY, QUERY_SIZE_BYTES, 1);
    const bits = make(
      MapType.ARRAY,
      PolicyMap.IDENTITIES,
      plan.words * 4,
      plan.rows.length + 1,
    );
    for (const [row, value] of plan.rows.entries()) {
      bits.update(u32Bytes(row + 1), new Uint8Array(value.buffer));
    }
    const maps = new Map([
      [PolicyMap.QUERY as string, this.#query],
      [PolicyMap.IDENTITIES, bits],
      [PolicyMap.STAGES, make(MapType.PROG_ARRAY, PolicyMap.STAGES, 4, 1)],
    ]);
    this.#program = this.#stack.use(BpfProgram.load({
      type: ProgramType.SCHED_CLS,
      name: "timed",
      license: "Dual BSD/GPL",
      instructions: encode(compiled.program, (map) => maps.get(map)?.fd ?? -1),
    }));
  }

  /** Nanoseconds of one verdict on a TCP connection from the identity with this row. */
  run({ row, port }: { readonly row: number; readonly port: number }): number {
    const stride = (QUERY_SIZE_BYTES + 7) & ~7;
    const slots = new Uint8Array(stride * possibleCpus());
    const question = {
      identity: row,
      program: 0,
      port,
      protocol: 6,
      direction: "ingress" as const,
      authenticated: false,
    };
    for (let offset = 0; offset < slots.length; offset += stride) {
      encodeQuestion(question, slots, offset);
    }
    this.#query.update(u32Bytes(0), slots);
    return this.#program.testRun({ dataIn: new Uint8Array(64), repeat: REPEAT }).durationNs;
  }

  [Symbol.dispose](): void {
    this.#stack.dispose();
  }
}
