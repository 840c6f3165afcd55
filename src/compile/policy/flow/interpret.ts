/**
 * Asks the programs of a plan without a kernel: by the assembler's interpreter, over the plan's
 * rows as plain objects.
 *
 * In: a plan, and sides of flows. Out: answers. It runs the very instructions that are loaded, so
 * what it says of a flow is what the kernel will do, as far as the interpreter is right about the
 * machine; a test holds both against each other.
 *
 * @module
 */

import { type MachineMap, run } from "../../../asm/mod.ts";
import { cidrContains } from "../../../model/mod.ts";
import type { PolicyPlan } from "../compile.ts";
import { PolicyMap } from "../emit.ts";
import type { FlowSide } from "./flow.ts";
import type { Bits } from "../peers/table.ts";
import { encodeQuestion, type PolicyAnswer, QUERY_SIZE_BYTES, readAnswer } from "./query.ts";

/** Answers what is asked of one end. */
export function interpret(plan: PolicyPlan, { question, identity }: FlowSide): PolicyAnswer {
  const row = identity === undefined
    ? rowAt(plan, question.peer ?? new Uint8Array(16))
    : plan.rowOf(identity);
  const slot = encodeQuestion({ ...question, identity: 1 });
  const compiled = plan.programs[question.program];
  if (compiled === undefined) return readAnswer(new Uint8Array(QUERY_SIZE_BYTES));
  const bits = row && new Uint8Array(row.buffer);
  const maps = new Map<string, MachineMap>([
    [PolicyMap.QUERY, rowsOf(QUERY_SIZE_BYTES, [slot])],
    [PolicyMap.IDENTITIES, rowsOf(plan.words * 4, [undefined, bits])],
  ]);
  run(compiled.program, new Uint8Array(CONTEXT_SIZE_BYTES), { maps });
  return readAnswer(slot);
}

/** `struct __sk_buff`; a verdict program reads nothing of it. */
const CONTEXT_SIZE_BYTES = 192;

/** The row that the narrowest range around an address leads to. */
function rowAt(plan: PolicyPlan, address: Uint8Array): Bits | undefined {
  let best: PolicyPlan["places"][number] | undefined;
  for (const place of plan.places) {
    const { range } = place.identity;
    if (best !== undefined && range.bits <= best.identity.range.bits) continue;
    if (cidrContains(range, address)) best = place;
  }
  return best && plan.rows[best.row - 1];
}

function rowsOf(
  valueSize: number,
  rows: readonly (Uint8Array<ArrayBuffer> | undefined)[],
): MachineMap {
  return {
    keySize: 4,
    valueSize,
    lookup: (key) => rows[new DataView(key.buffer, key.byteOffset).getUint32(0, true)],
  };
}
