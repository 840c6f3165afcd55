/**
 * Where weft's maps and links are pinned: one directory of a bpffs per agent.
 *
 * `layout` (a map of one row) holds a number that changes with `bpf/layout.h`: pins of another
 * layout are never reused, and the error says what to do. Everything here is named after what it
 * is, so that `bpftool` and a person at night can find it.
 *
 * @module
 */

import { AttachType } from "../../ffi/bpf/constants.ts";
import { filesystemKind, mountBpf } from "../../ffi/linux/filesystem.ts";
import { MAPS } from "../../bpf/layout.gen.ts";
import { DatapathError } from "../errors.ts";

/** Paths below the directory of pins. */
export class Pins {
  readonly root: string;

  constructor(root: string) {
    this.root = root;
  }

  /** Makes the directory, on a bpffs; mounts the machine's own where nobody has. */
  static open(root: string): Pins {
    const pins = new Pins(root);
    const parent = root.slice(0, root.lastIndexOf("/")) || "/";
    if (!isBpffs(root) && parent === STANDARD_MOUNT && !isBpffs(parent)) mountBpf(parent);
    for (const directory of [root, pins.#maps, pins.#links]) {
      try {
        Deno.mkdirSync(directory, { mode: 0o700 });
      } catch (error) {
        if (!(error instanceof Deno.errors.AlreadyExists)) throw notBpffs(root, error);
      }
    }
    if (!isBpffs(root)) throw notBpffs(root);
    return pins;
  }

  get #maps(): string {
    return `${this.root}/maps`;
  }

  get #links(): string {
    return `${this.root}/links`;
  }

  /** Where a map is pinned. */
  map(name: keyof typeof MAPS): string {
    return `${this.#maps}/${name}`;
  }

  /** Pin of every map, by name, as `BpfObject.open` wants them. */
  allMaps(): Record<string, string> {
    const names = Object.keys(MAPS).filter((name) =>
      !name.startsWith(".")
    ) as (keyof typeof MAPS)[];
    return Object.fromEntries(names.map((name) => [name, this.map(name)]));
  }

  /** Where the link of a cgroup hook is pinned. */
  cgroupLink(program: string): string {
    return `${this.#links}/${program}`;
  }

  /** Where a link of a pod is pinned. */
  podLink(slot: number, hook: PodHook): string {
    return `${this.#links}/pod-${slot}-${hook}`;
  }

  /** Slots that have a link pinned. */
  linkedSlots(): ReadonlySet<number> {
    const slots = new Set<number>();
    for (const { name } of Deno.readDirSync(this.#links)) {
      const match = /^pod-(\d+)-/.exec(name);
      if (match) slots.add(Number(match[1]));
    }
    return slots;
  }

  /** Removes everything; true if there was anything. What is attached comes off with its pin. */
  remove(): boolean {
    try {
      Deno.lstatSync(this.root);
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return false;
      throw error;
    }
    // Links first: a program that is still attached must never miss its maps' rows.
    for (const directory of [this.#links, this.#maps]) removeTree(directory);
    removeIfOurs(this.root);
    return true;
  }
}

/** The hooks of one pod. */
export const POD_HOOKS = ["lookup", "to", "from"] as const;
export type PodHook = typeof POD_HOOKS[number];

/** The hooks of the node's cgroup tree: program -> attach type. */
export const CGROUP_HOOKS = {
  weft_connect4: AttachType.CGROUP_INET4_CONNECT,
  weft_connect6: AttachType.CGROUP_INET6_CONNECT,
  weft_sendmsg4: AttachType.CGROUP_UDP4_SENDMSG,
  weft_sendmsg6: AttachType.CGROUP_UDP6_SENDMSG,
  weft_recvmsg4: AttachType.CGROUP_UDP4_RECVMSG,
  weft_recvmsg6: AttachType.CGROUP_UDP6_RECVMSG,
  weft_getpeername4: AttachType.CGROUP_INET4_GETPEERNAME,
  weft_getpeername6: AttachType.CGROUP_INET6_GETPEERNAME,
  weft_sockops: AttachType.CGROUP_SOCK_OPS,
} as const;

function isBpffs(path: string): boolean {
  try {
    return filesystemKind(path) === "bpf";
  } catch {
    return false;
  }
}

function removeTree(directory: string): void {
  let entries: Deno.DirEntry[];
  try {
    entries = [...Deno.readDirSync(directory)];
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return;
    throw error;
  }
  for (const entry of entries) {
    const path = `${directory}/${entry.name}`;
    if (entry.isDirectory) removeTree(path);
    else Deno.removeSync(path);
  }
  Deno.removeSync(directory);
}

/** The root of a mount stays: whoever mounted it will take it away. */
function removeIfOurs(directory: string): void {
  const parent = directory.slice(0, directory.lastIndexOf("/")) || "/";
  if (Deno.statSync(directory).dev === Deno.statSync(parent).dev) Deno.removeSync(directory);
}

/** Where systemd, and the kernel's documentation, mount the bpffs of a machine. */
const STANDARD_MOUNT = "/sys/fs/bpf";

function notBpffs(root: string, cause?: unknown): DatapathError {
  return new DatapathError(
    `Cannot pin maps at "${root}": it is not on a mounted bpffs`,
    { object: root },
    cause === undefined ? undefined : { cause },
  );
}
