/**
 * Programs on an interface through the `clsact` qdisc, for kernels before TCX (6.6).
 *
 * Unlike a link, such an attachment belongs to the interface: it outlives this process without a
 * pin, and whoever may configure the interface can remove it. Acts in the current network
 * namespace.
 *
 * @module
 */

import { checkNegative } from "../check.ts";
import { Errno } from "../errno.ts";
import { Struct } from "../memory.ts";
import type { BpfProgram } from "./program.ts";
import { libbpf } from "./symbols.ts";

/** Direction, seen from the interface. */
export const ClsactPoint = { INGRESS: 1, EGRESS: 2 } as const;
export type ClsactPoint = typeof ClsactPoint[keyof typeof ClsactPoint];

/** One place in the list of filters; lower priorities run first, and 0 is not a place. */
export interface ClsactPlace {
  readonly ifindex: number;
  readonly point: ClsactPoint;
  readonly priority: number;
  readonly handle: number;
}

/** Puts `program` at a place, instead of what is there; makes the qdisc if needed. */
export function attachClsact(program: BpfProgram, place: ClsactPlace): void {
  const hook = hookStruct(place);
  const made = libbpf().bpf_tc_hook_create(hook);
  const action = () => `Cannot attach program "${program.name}" to interface ${place.ifindex}`;
  if (made !== -Errno.EEXIST) checkNegative("bpf_tc_hook_create", made, action);
  const options = placeStruct(place).setU32(8, program.fd).setU32(12, BPF_TC_F_REPLACE);
  checkNegative("bpf_tc_attach", libbpf().bpf_tc_attach(hook, options.bytes), action);
}

/** Id of the program at a place; undefined when there is none. */
export function queryClsact(place: ClsactPlace): number | undefined {
  const options = placeStruct(place);
  const result = libbpf().bpf_tc_query(hookStruct(place), options.bytes);
  if (isAbsent(result)) return undefined;
  checkNegative("bpf_tc_query", result, `Cannot list filters of interface ${place.ifindex}`);
  return options.u32(16);
}

/** Removes what is at a place; false when nothing is. */
export function detachClsact(place: ClsactPlace): boolean {
  const result = libbpf().bpf_tc_detach(hookStruct(place), placeStruct(place).bytes);
  if (isAbsent(result)) return false;
  checkNegative("bpf_tc_detach", result, `Cannot remove filter of interface ${place.ifindex}`);
  return true;
}

const BPF_TC_F_REPLACE = 1;
const HOOK_SIZE = 24;
const OPTS_SIZE = 32;

function hookStruct(place: ClsactPlace): Uint8Array<ArrayBuffer> {
  const hook = new Struct(HOOK_SIZE).setU64(0, HOOK_SIZE);
  return hook.setU32(8, place.ifindex).setU32(12, place.point).bytes;
}

function placeStruct(place: ClsactPlace): Struct {
  const options = new Struct(OPTS_SIZE).setU64(0, OPTS_SIZE);
  return options.setU32(20, place.handle).setU32(24, place.priority);
}

/** Without the qdisc the kernel says EINVAL, without the filter ENOENT. */
function isAbsent(result: number): boolean {
  return result === -Errno.ENOENT || result === -Errno.EINVAL;
}
