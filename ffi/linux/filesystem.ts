/**
 * File systems: which one a path is on, and mounting the one for BPF pins.
 *
 * @module
 */

import { checkLibc } from "../check.ts";
import { openLibrary, type Symbols } from "../dlopen.ts";
import { Fd } from "../fd.ts";
import { cstring, Struct } from "../memory.ts";

/** What a path is on: the kinds that weft must tell apart. */
export type FilesystemKind = "bpf" | "cgroup2" | "other";

/** The file system that `path` is on. */
export function filesystemKind(path: string): FilesystemKind {
  const status = new Struct(STATFS_SIZE);
  const result = libc().statfs(cstring(path), status.bytes);
  checkLibc("statfs", result, () => `Cannot tell file system of "${path}"`);
  switch (status.u32(0)) {
    case BPF_FS_MAGIC:
      return "bpf";
    case CGROUP2_SUPER_MAGIC:
      return "cgroup2";
    default:
      return "other";
  }
}

/** Mounts a bpffs at `path`, an existing directory, unless one is there; true if it mounted. */
export function mountBpf(path: string): boolean {
  if (filesystemKind(path) === "bpf") return false;
  const type = cstring("bpf");
  const flags = MS_NOSUID | MS_NODEV | MS_NOEXEC;
  const result = libc().mount(type, cstring(path), type, flags, cstring("mode=0700"));
  checkLibc("mount", result, () => `Cannot mount bpffs at "${path}"`);
  return true;
}

/** Unmounts what is mounted at `path`, at the latest when nobody uses it any more. */
export function unmount(path: string): void {
  const result = libc().umount2(cstring(path), MNT_DETACH | UMOUNT_NOFOLLOW);
  checkLibc("umount2", result, () => `Cannot unmount "${path}"`);
}

/** Opens a directory, such as a cgroup to attach to. */
export function openDirectory(path: string): Fd {
  const raw = libc().open(cstring(path), O_DIRECTORY | O_CLOEXEC);
  return Fd.adopt(checkLibc("open", raw, () => `Cannot open directory "${path}"`), path);
}

const BPF_FS_MAGIC = 0xcafe4a11;
const CGROUP2_SUPER_MAGIC = 0x63677270;
const STATFS_SIZE = 120;
const MS_NOSUID = 2;
const MS_NODEV = 4;
const MS_NOEXEC = 8;
const MNT_DETACH = 2;
const UMOUNT_NOFOLLOW = 8;
const O_CLOEXEC = 0o2000000;
/** Differs between architectures, unlike nearly everything else here. */
const O_DIRECTORY = Deno.build.arch === "aarch64" ? 0o40000 : 0o200000;

const LIBC_FILESYSTEM = {
  // int open(const char *path, int flags, ...);
  open: { parameters: ["buffer", "i32"], result: "i32" },
  // int statfs(const char *path, struct statfs *buf);
  statfs: { parameters: ["buffer", "buffer"], result: "i32" },
  // int mount(const char *source, const char *target, const char *type, unsigned long flags,
  //           const void *data);
  mount: { parameters: ["buffer", "buffer", "buffer", "u32", "buffer"], result: "i32" },
  // int umount2(const char *target, int flags);
  umount2: { parameters: ["buffer", "i32"], result: "i32" },
} as const satisfies Deno.ForeignLibraryInterface;

function libc(): Symbols<typeof LIBC_FILESYSTEM> {
  return openLibrary("libc.so.6", LIBC_FILESYSTEM);
}
