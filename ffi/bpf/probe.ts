/**
 * What the running kernel can do, asked by trying: libbpf loads a tiny program or makes a tiny map
 * and throws it away. Nothing is attached. In: a kind of program, map or helper. Out: yes, no, or a
 * SyscallError when it could not be tried (without the capabilities, for one).
 *
 * @module
 */

import { openLibrary, type Symbols } from "../dlopen.ts";
import { Errno } from "../errno.ts";
import { SyscallError } from "../errors.ts";
import { readCstring } from "../memory.ts";
import type { MapType, ProgramType } from "./constants.ts";

/** `enum bpf_func_id`: helpers whose presence depends on the kernel. */
export const Helper = {
  SK_LOOKUP_TCP: 84,
  SK_STORAGE_GET: 107,
  GET_NETNS_COOKIE: 122,
  SK_ASSIGN: 124,
  SET_RETVAL: 187,
} as const;
export type Helper = typeof Helper[keyof typeof Helper];

/** Whether programs of a type can be loaded. */
export function hasProgramType(type: ProgramType): boolean {
  return answer(
    "libbpf_probe_bpf_prog_type",
    libbpfProbes().libbpf_probe_bpf_prog_type(type, null),
  );
}

/** Whether maps of a type can be made. */
export function hasMapType(type: MapType): boolean {
  return answer("libbpf_probe_bpf_map_type", libbpfProbes().libbpf_probe_bpf_map_type(type, null));
}

/** Whether programs of a type may call a helper. */
export function hasHelper(type: ProgramType, helper: Helper): boolean {
  const result = libbpfProbes().libbpf_probe_bpf_helper(type, helper, null);
  return answer("libbpf_probe_bpf_helper", result);
}

/** Whether libbpf finds the kernel's types: it needs them for programs that ask for one of them. */
export function hasKernelBtf(): boolean {
  const btf = libbpfProbes().btf__load_vmlinux_btf();
  libbpfProbes().btf__free(btf);
  return btf !== null;
}

/** Version of libbpf, such as "v1.5". */
export function libbpfVersion(): string {
  return readCstring(libbpfProbes().libbpf_version_string());
}

const LIBBPF_PROBES = {
  // const char *libbpf_version_string(void);
  libbpf_version_string: { parameters: [], result: "pointer" },
  // int libbpf_probe_bpf_prog_type(enum bpf_prog_type prog_type, const void *opts);
  libbpf_probe_bpf_prog_type: { parameters: ["u32", "pointer"], result: "i32" },
  // int libbpf_probe_bpf_map_type(enum bpf_map_type map_type, const void *opts);
  libbpf_probe_bpf_map_type: { parameters: ["u32", "pointer"], result: "i32" },
  // int libbpf_probe_bpf_helper(enum bpf_prog_type prog_type, enum bpf_func_id helper_id,
  //                             const void *opts);
  libbpf_probe_bpf_helper: { parameters: ["u32", "u32", "pointer"], result: "i32" },
  // struct btf *btf__load_vmlinux_btf(void);
  btf__load_vmlinux_btf: { parameters: [], result: "pointer" },
  // void btf__free(struct btf *btf);
  btf__free: { parameters: ["pointer"], result: "void" },
  // libbpf_print_fn_t libbpf_set_print(libbpf_print_fn_t fn);
  libbpf_set_print: { parameters: ["pointer"], result: "pointer" },
} as const satisfies Deno.ForeignLibraryInterface;

let symbols: Symbols<typeof LIBBPF_PROBES> | undefined;

function libbpfProbes(): Symbols<typeof LIBBPF_PROBES> {
  if (symbols === undefined) {
    symbols = openLibrary("libbpf.so.1", LIBBPF_PROBES);
    symbols.libbpf_set_print(null);
  }
  return symbols;
}

/** 1, 0, or a negative error number; a kind that libbpf cannot try is not there. */
function answer(call: string, result: number): boolean {
  if (result >= 0) return result > 0;
  if (-result === Errno.EOPNOTSUPP) return false;
  throw new SyscallError(call, -result, "Cannot probe the kernel");
}
