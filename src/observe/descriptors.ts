/**
 * How many descriptors this process has, and may have: the relay refuses connections when all but a
 * reserve are taken.
 *
 * @module
 */
import { Resource, resourceLimit } from "../../ffi/linux/process.ts";
import { DESCRIPTORS_RESERVED } from "../limits.ts";

/** Descriptors of the agent. */
export interface DescriptorReport {
  readonly open: number;
  /** of which the last are kept for the agent itself */
  readonly max: number;
  /** connections that were refused for want of one in the last seconds */
  readonly refused: number;
}

/** Counts them now. */
export function descriptorReport(refused: number): DescriptorReport {
  const open = [...Deno.readDirSync("/proc/self/fd")].length;
  return { open, max: Number(resourceLimit(Resource.OPEN_FILES).current), refused };
}

/** What to tell the operator, or undefined while there are enough. */
export function descriptorProblem({ open, max, refused }: DescriptorReport): string | undefined {
  if (refused === 0 && open < max - DESCRIPTORS_RESERVED) return undefined;
  return `out of descriptors: ${open} of ${max} are open, and ${refused} new connections have been ` +
    "refused just now; raise the limit (LimitNOFILE of the unit, `ulimit -n`)";
}
