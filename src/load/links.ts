/**
 * Links that are pinned: adopted by update where their hook still lives, else made anew.
 *
 * @module
 */

import { BpfLink } from "../../ffi/bpf/link.ts";
import type { BpfProgram } from "../../ffi/bpf/program.ts";
import { Errno } from "../../ffi/errno.ts";
import { PinKindError, SyscallError } from "../../ffi/errors.ts";

/** What a pinned link must be attached to, and how to make it. */
export interface PinnedHook {
  readonly path: string;
  readonly program: BpfProgram;
  /** Whether the link's target is the one that is wanted, and lives. */
  readonly matches: (link: BpfLink) => boolean;
  readonly attach: () => BpfLink;
}

/** Brings the link at `path` to `program`. An update is atomic: no packet or call goes without. */
export function keepLink({ path, program, matches, attach }: PinnedHook): void {
  {
    using link = BpfLink.openPinned(path);
    if (link) {
      if (matches(link) && updateLink(link, program)) return;
      Deno.removeSync(path);
    }
  }
  using link = attach();
  link.pin(path);
}

/** The link at `path`; undefined where there is none, or something else. */
export function openLink(path: string): BpfLink | undefined {
  try {
    return BpfLink.openPinned(path);
  } catch (error) {
    if (error instanceof PinKindError) return undefined;
    // What the kernel says of a directory, and of any file that is not pinned.
    if (error instanceof SyscallError && error.errno === Errno.EACCES) return undefined;
    throw error;
  }
}

/** False when the hook's owner is gone. */
export function updateLink(link: BpfLink, program: BpfProgram): boolean {
  if (link.info().programId === program.info.id) return true;
  try {
    link.update(program);
    return true;
  } catch (error) {
    if (error instanceof SyscallError && error.errno === Errno.ENOLINK) return false;
    throw error;
  }
}

/** Whether a link's hook is gone: what is left is an empty shell. */
export function isSevered(link: BpfLink): boolean {
  const info = link.info();
  switch (info.kind) {
    case "netns":
      return info.netnsInode === 0;
    case "tcx":
      return info.ifindex === 0;
    case "cgroup":
      return info.cgroupId === 0n;
    default:
      return false;
  }
}

/** Whether a link puts a program on this hook of a cgroup that lives. */
export function isCgroupLink(link: BpfLink, attachType: number): boolean {
  const info = link.info();
  return info.kind === "cgroup" && info.attachType === attachType && info.cgroupId !== 0n;
}
