/**
 * Where weft's maps and links are pinned: one directory of a bpffs per agent.
 *
 * `maps/layout` (a map of one row) holds a number that changes with `bpf/layout.h`. Maps of another
 * layout are never reused: new ones are pinned in `maps-next` and filled, the links are turned to
 * programs that use them, and only then does `maps-next` become `maps`. Until then the old programs
 * enforce with the old maps; an agent that dies in between leaves that to its successor, which
 * begins anew. What is no map or no link although it has the name of one is somebody else's: it is
 * reported and not touched. Everything here is named after what it is, so that `bpftool` and a
 * person at night can find it.
 *
 * @module
 */

import { AttachType, MapType } from "../../ffi/bpf/constants.ts";
import { BpfLink } from "../../ffi/bpf/link.ts";
import { BpfMap } from "../../ffi/bpf/map.ts";
import { PinKindError, SyscallError } from "../../ffi/errors.ts";
import { filesystemKind, mountBpf } from "../../ffi/linux/filesystem.ts";
import { LAYOUT_FINGERPRINT, MAPS, U32, U64 } from "../../bpf/layout.gen.ts";
import { DatapathError, formatError } from "../errors.ts";

/** Paths below the directory of pins. */
export class Pins {
  readonly root: string;
  #generation: "maps" | "maps-next" = "maps";

  constructor(root: string) {
    this.root = root;
  }

  /** Makes the directory, on a bpffs; mounts the machine's own where nobody has. */
  static open(root: string): Pins {
    const pins = new Pins(root);
    const parent = root.slice(0, root.lastIndexOf("/")) || "/";
    if (!isBpffs(root) && parent === STANDARD_MOUNT && !isBpffs(parent)) mountBpf(parent);
    makeDirectory(root, root);
    if (!isBpffs(root)) throw notBpffs(root);
    pins.#finishGeneration();
    for (const directory of [pins.#maps, pins.#links]) makeDirectory(directory, root);
    pins.#check();
    return pins;
  }

  get #maps(): string {
    return `${this.root}/${this.#generation}`;
  }

  /** Whether maps are pinned whose layout is another than this program's. */
  get isOld(): boolean {
    if ([...Deno.readDirSync(this.#maps)].length === 0) return false;
    using layout = BpfMap.openPinned(this.#layout);
    if (!layout || layout.info.keySize !== U32.size || layout.info.valueSize !== U64.size) {
      return true;
    }
    const value = layout.lookup(U32.encode(0));
    return !value || U64.decode(value) !== LAYOUT_FINGERPRINT;
  }

  /** Whether the maps in use are to take the place of others. */
  get isReplacing(): boolean {
    return this.#generation === "maps-next";
  }

  /** From now on maps are pinned beside those that are in force. */
  beginGeneration(): void {
    this.#generation = "maps-next";
    removeTree(this.#maps);
    makeDirectory(this.#maps, this.root);
  }

  /** Says of which layout the maps are; after they are pinned. */
  stampLayout(): void {
    using known = BpfMap.openPinned(this.#layout);
    if (known) return;
    const { size: keySize } = U32;
    const { size: valueSize } = U64;
    using layout = BpfMap.create({
      type: MapType.ARRAY,
      name: "weft_layout",
      keySize,
      valueSize,
      maxEntries: 1,
    });
    layout.update(U32.encode(0), U64.encode(LAYOUT_FINGERPRINT));
    layout.pin(this.#layout);
  }

  /** Puts the maps in the place of those that no link uses any more. */
  commitGeneration(): void {
    if (!this.isReplacing) return;
    Deno.renameSync(`${this.root}/maps`, `${this.root}/maps-old`);
    this.#finishGeneration();
    this.#generation = "maps";
  }

  /** Ends what `commitGeneration` has begun, also after an agent that died in it. */
  #finishGeneration(): void {
    if (!exists(`${this.root}/maps`) && exists(`${this.root}/maps-next`)) {
      Deno.renameSync(`${this.root}/maps-next`, `${this.root}/maps`);
    }
    removeTree(`${this.root}/maps-next`);
    removeTree(`${this.root}/maps-old`);
  }

  /** Nothing under a name of ours may be of another kind than ours. */
  #check(): void {
    const maps = [...Object.values(this.allMaps()), this.#layout];
    for (const path of maps) checkPin(path, () => BpfMap.openPinned(path)?.[Symbol.dispose]());
    for (const { name } of Deno.readDirSync(this.#links)) {
      const path = `${this.#links}/${name}`;
      checkPin(path, () => BpfLink.openPinned(path)?.[Symbol.dispose]());
    }
  }

  get #layout(): string {
    return `${this.#maps}/layout`;
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

  /** Gives the links of one slot to another, which has none. */
  renameSlot(from: number, to: number): void {
    for (const hook of POD_HOOKS) {
      if (exists(this.podLink(from, hook))) {
        Deno.renameSync(this.podLink(from, hook), this.podLink(to, hook));
      }
    }
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
    removeTree(this.#links);
    for (const directory of ["maps", "maps-next", "maps-old"]) {
      removeTree(`${this.root}/${directory}`);
    }
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

function exists(path: string): boolean {
  try {
    Deno.lstatSync(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

function makeDirectory(directory: string, root: string): void {
  try {
    Deno.mkdirSync(directory, { mode: 0o700 });
  } catch (error) {
    if (!(error instanceof Deno.errors.AlreadyExists)) throw notBpffs(root, error);
  }
}

function checkPin(path: string, open: () => void): void {
  try {
    open();
  } catch (error) {
    if (!(error instanceof PinKindError || error instanceof SyscallError)) throw error;
    throw new DatapathError(
      `${formatError(error)}; weft has not made it: remove "${path}", or run "weft uninstall"`,
      { object: path },
      { cause: error },
    );
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
