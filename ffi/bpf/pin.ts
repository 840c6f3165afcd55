/**
 * What is pinned at a path: opened, and believed only if it is of the kind that was wanted.
 *
 * bpf(2) opens any object by its path and fills in whichever information it has, so that a program
 * would be read as a map with absurd sizes. The kernel tells the kind in the name of the file
 * behind the descriptor.
 *
 * @module
 */

import { checkNegative } from "../check.ts";
import { Errno } from "../errno.ts";
import { PinKindError } from "../errors.ts";
import { Fd } from "../fd.ts";
import { cstring } from "../memory.ts";
import { libbpf } from "./symbols.ts";

/** Opens what is pinned at `path`; undefined when nothing is. */
export function openPin(path: string, wanted: PinKind): Fd | undefined {
  const raw = libbpf().bpf_obj_get(cstring(path));
  if (raw === -Errno.ENOENT) return undefined;
  checkNegative("bpf_obj_get", raw, () => `Cannot open ${wanted} pinned at "${path}"`);
  const fd = Fd.adopt(raw, `${wanted} ${path}`);
  const file = Deno.readLinkSync(`/proc/thread-self/fd/${raw}`);
  if (FILES[wanted].includes(file)) return fd;
  fd.close();
  const current = KINDS.find((kind) => FILES[kind].includes(file)) ?? file;
  throw new PinKindError(path, current, wanted);
}

export type PinKind = "map" | "program" | "link";

const KINDS: readonly PinKind[] = ["map", "program", "link"];

/** Names that the kernel gives (kernel/bpf/syscall.c); of links also that of newer kernels. */
const FILES: Readonly<Record<PinKind, readonly string[]>> = {
  map: ["anon_inode:bpf-map"],
  program: ["anon_inode:bpf-prog"],
  link: ["anon_inode:bpf_link", "anon_inode:bpf-link"],
};
