/**
 * A BPF link: a program on a hook.
 *
 * A link that is pinned stays when this process dies; another dies with its last descriptor. So
 * `[Symbol.dispose]` only lets go of the handle, and `detach()` is what takes the program off the
 * hook at once. When the hook's owner is gone (the namespace, the interface, the cgroup), the link
 * remains as an empty shell and `update` fails with ENOLINK.
 *
 * @module
 */

import { checkNegative } from "../check.ts";
import { Errno } from "../errno.ts";
import { Fd } from "../fd.ts";
import { cstring, Struct } from "../memory.ts";
import { AttachFlag, AttachType, LinkType } from "./constants.ts";
import type { BpfMap } from "./map.ts";
import type { BpfProgram } from "./program.ts";
import { openPin } from "./pin.ts";
import { libbpf } from "./symbols.ts";

/** A program on a hook. */
export class BpfLink implements Disposable {
  readonly #fd: Fd;

  private constructor(fd: Fd) {
    this.#fd = fd;
  }

  /** Attaches to a cgroup and all below it; several links on one hook run as they were attached. */
  static attachCgroup(program: BpfProgram, cgroup: Fd, attachType?: AttachType): BpfLink {
    return create(program, cgroup.raw, attachType ?? wantedType(program), `"${cgroup.label}"`);
  }

  /** Attaches an sk_lookup program to a network namespace. */
  static attachNetns(program: BpfProgram, netns: Fd): BpfLink {
    return create(program, netns.raw, AttachType.SK_LOOKUP, `network namespace "${netns.label}"`);
  }

  /** Attaches to an interface of the current network namespace (TCX, kernel 6.6). */
  static attachTcx(program: BpfProgram, ifindex: number, options: TcxOptions = {}): BpfLink {
    const { attachType = wantedType(program), position } = options;
    const flags = position === "first"
      ? AttachFlag.BEFORE
      : position === "last"
      ? AttachFlag.AFTER
      : 0;
    const opts = new Struct(LINK_CREATE_OPTS_SIZE).setU64(0, LINK_CREATE_OPTS_SIZE);
    opts.setU32(8, flags);
    return create(program, ifindex, attachType, `interface ${ifindex}`, opts);
  }

  /** Attaches an sk_msg program to a sockhash or sockmap (as a link: kernel 6.10). */
  static attachSockmap(program: BpfProgram, map: BpfMap): BpfLink {
    return create(program, map.fd, wantedType(program), `map "${map.name}"`);
  }

  /** Opens a pinned link; undefined when nothing is pinned at `path`. */
  static openPinned(path: string): BpfLink | undefined {
    const fd = openPin(path, "link");
    return fd && new BpfLink(fd);
  }

  /** Takes ownership of the descriptor of a link. */
  static adopt(fd: Fd): BpfLink {
    return new BpfLink(fd);
  }

  /** The descriptor's number. */
  get fd(): number {
    return this.#fd.raw;
  }

  /** What the kernel knows about it now. */
  info(): LinkInfo {
    const info = new Struct(LINK_INFO_SIZE);
    const length = new Struct(4).setU32(0, LINK_INFO_SIZE);
    const result = libbpf().bpf_obj_get_info_by_fd(this.#fd.raw, info.bytes, length.bytes);
    checkNegative("bpf_obj_get_info_by_fd", result, "Cannot read what a link is");
    return { id: info.u32(4), programId: info.u32(8), ...linkTarget(info) };
  }

  /** Puts `program` in place of the present one, atomically. ENOLINK when the hook is gone. */
  update(program: BpfProgram): void {
    const result = libbpf().bpf_link_update(this.#fd.raw, program.fd, null);
    checkNegative(
      "bpf_link_update",
      result,
      () => `Cannot put program "${program.name}" on ${this.#fd.label}`,
    );
  }

  /** Pins the link at `path`, on a bpffs: it outlives this process. */
  pin(path: string): void {
    const result = libbpf().bpf_obj_pin(this.#fd.raw, cstring(path));
    checkNegative("bpf_obj_pin", result, () => `Cannot pin ${this.#fd.label} at "${path}"`);
  }

  /** Takes the program off the hook now, pinned or not. Harmless when the hook is gone. */
  detach(): void {
    const result = libbpf().bpf_link_detach(this.#fd.raw);
    if (result === -Errno.ENOLINK) return;
    checkNegative("bpf_link_detach", result, () => `Cannot detach ${this.#fd.label}`);
  }

  [Symbol.dispose](): void {
    this.#fd.close();
  }
}

/** Where a TCX program goes. */
export interface TcxOptions {
  /** TCX_INGRESS or TCX_EGRESS; by default what the program's section says. */
  readonly attachType?: AttachType;
  /** Before or after all others; by default the kernel appends. */
  readonly position?: "first" | "last";
}

/** What the kernel knows about a link; `attachType` and the target are as it was attached. */
export type LinkInfo = { readonly id: number; readonly programId: number } & LinkTarget;

/** What a link is attached to. An ifindex or inode of 0 means that the target is gone. */
export type LinkTarget =
  | { readonly kind: "cgroup"; readonly attachType: number; readonly cgroupId: bigint }
  | { readonly kind: "netns"; readonly attachType: number; readonly netnsInode: number }
  | { readonly kind: "tcx"; readonly attachType: number; readonly ifindex: number }
  | { readonly kind: "other"; readonly type: number };

/** Ids of the programs on a TCX hook of the current network namespace, in the order they run. */
export function queryTcx(ifindex: number, attachType: AttachType): readonly number[] {
  return queryPrograms(ifindex, attachType, `interface ${ifindex}`);
}

/** Ids of the programs that run at a hook of this cgroup itself, in the order they run. */
export function queryCgroup(cgroup: Fd, attachType: AttachType): readonly number[] {
  return queryPrograms(cgroup.raw, attachType, `"${cgroup.label}"`);
}

/** Up to the `tcx` member of `struct bpf_link_create_opts`. */
const LINK_CREATE_OPTS_SIZE = 48;
/** `struct bpf_link_info` as far as the targets above reach. */
const LINK_INFO_SIZE = 32;
/** `struct bpf_prog_query_opts`. */
const QUERY_OPTS_SIZE = 64;
/** BPF_MPROG_MAX and BPF_CGROUP_MAX_PROGS: no hook holds more. */
const HOOK_PROGRAMS_MAX = 64;

function create(
  program: BpfProgram,
  target: number,
  attachType: AttachType,
  where: string,
  options?: Struct,
): BpfLink {
  const raw = libbpf().bpf_link_create(program.fd, target, attachType, options?.bytes ?? null);
  checkNegative(
    "bpf_link_create",
    raw,
    () => `Cannot attach program "${program.name}" to ${where}`,
  );
  return BpfLink.adopt(Fd.adopt(raw, `link of program "${program.name}" on ${where}`));
}

function wantedType(program: BpfProgram): AttachType {
  if (program.attachType !== undefined) return program.attachType;
  throw new TypeError(`Cannot attach program "${program.name}": its attach type is not known`);
}

function linkTarget(info: Struct): LinkTarget {
  const type = info.u32(0);
  switch (type) {
    case LinkType.CGROUP:
      return { kind: "cgroup", cgroupId: info.u64(16), attachType: info.u32(24) };
    case LinkType.NETNS:
      return { kind: "netns", netnsInode: info.u32(16), attachType: info.u32(20) };
    case LinkType.TCX:
      return { kind: "tcx", ifindex: info.u32(16), attachType: info.u32(20) };
    default:
      return { kind: "other", type };
  }
}

function queryPrograms(target: number, attachType: AttachType, where: string): readonly number[] {
  const ids = new Struct(4 * HOOK_PROGRAMS_MAX);
  const options = new Struct(QUERY_OPTS_SIZE).setU64(0, QUERY_OPTS_SIZE);
  options.setPointer(16, ids.bytes).setU32(24, HOOK_PROGRAMS_MAX);
  const result = libbpf().bpf_prog_query_opts(target, attachType, options.bytes);
  checkNegative("bpf_prog_query_opts", result, () => `Cannot list programs on ${where}`);
  return Array.from({ length: options.u32(24) }, (_, i) => ids.u32(4 * i));
}
