/**
 * What one node's agent has in the kernel, and what is left of it afterwards.
 *
 * Whose an eBPF object is, the kernel does not say; so the ids are gathered while the agent lives,
 * from its pins, its open descriptors and what is attached to its node's devices and cgroups. Other
 * users of the machine are never blamed.
 *
 * @module
 */
import type { NodeDescription } from "@/tests/testbed/describe.ts";

/** Ids and names, by kind. */
export interface KernelObjects {
  readonly links: readonly string[];
  readonly maps: readonly string[];
  readonly programs: readonly string[];
  readonly pins: readonly string[];
  readonly processes: readonly string[];
  /** not the testbed's own */
  readonly namespaces: readonly string[];
  readonly mounts: readonly string[];
}

/** The kernel frees programs and maps a moment after their last user is gone. */
const SETTLE_MS_MAX = 5000;

/** Everything of an agent that runs. */
export async function kernelObjects(node: NodeDescription): Promise<KernelObjects> {
  const pins = listPins(node.bpffs);
  const processes = readProcesses(node);
  const found = { links: new Set<string>(), maps: new Set<string>(), programs: new Set<string>() };
  for (const pid of processes) readDescriptors(pid, found);
  for (const { kind, ids } of await readPinned(pins)) ids.forEach((id) => found[kind].add(id));
  for (const id of await attachedToCgroups(node)) found.programs.add(id);
  return {
    links: [...found.links],
    maps: [...found.maps],
    programs: [...found.programs],
    pins,
    processes,
    namespaces: listNamespaces(),
    mounts: listMounts(node),
  };
}

/** What is left of `before`, once it had time to go. */
export async function findLeft(
  node: NodeDescription,
  before: KernelObjects,
): Promise<KernelObjects> {
  const deadline = performance.now() + SETTLE_MS_MAX;
  for (;;) {
    // deno-lint-ignore no-await-in-loop -- the kernel tells nobody when it has freed something
    const left = await lookAgain(node, before);
    const kinds = [left.links, left.maps, left.programs, left.pins, left.processes];
    if (kinds.every(({ length }) => length === 0) || performance.now() > deadline) return left;
    // deno-lint-ignore no-await-in-loop
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

async function lookAgain(node: NodeDescription, before: KernelObjects): Promise<KernelObjects> {
  const [links, maps, programs, attached] = await Promise.all([
    listIds("link"),
    listIds("map"),
    listIds("prog"),
    attachedToCgroups(node),
  ]);
  const pins = listPins(node.bpffs);
  return {
    links: before.links.filter((id) => links.has(id)),
    maps: before.maps.filter((id) => maps.has(id)),
    programs: [...before.programs.filter((id) => programs.has(id)), ...attached],
    pins,
    processes: readProcesses(node),
    namespaces: listNamespaces().filter((name) => !before.namespaces.includes(name)),
    mounts: listMounts(node).filter((path) => !before.mounts.includes(path)),
  };
}

/** Ids of the objects that a process holds. */
function readDescriptors(
  pid: string,
  found: Readonly<Record<"links" | "maps" | "programs", Set<string>>>,
): void {
  for (const { name } of Deno.readDirSync(`/proc/${pid}/fdinfo`)) {
    let text = "";
    try {
      text = Deno.readTextFileSync(`/proc/${pid}/fdinfo/${name}`);
    } catch {
      continue; // closed in the meantime
    }
    const id = (key: string) => new RegExp(`^${key}:\\s*(\\d+)$`, "m").exec(text)?.[1];
    const [link, map, program] = [id("link_id"), id("map_id"), id("prog_id")];
    if (link !== undefined) found.links.add(link);
    if (map !== undefined) found.maps.add(map);
    if (program !== undefined) found.programs.add(program);
  }
}

interface Pinned {
  readonly kind: "links" | "maps" | "programs";
  readonly ids: readonly string[];
}

/** What the files of a bpffs name. A link is asked as one first: it answers as nothing else. */
async function readPinned(paths: readonly string[]): Promise<Pinned[]> {
  const pinned = await Promise.all(paths.map(async (path): Promise<Pinned[]> => {
    const kind = path.includes("/links/") ? "link" : "map";
    const [object] = await bpftool([kind, "show", "pinned", path]);
    if (object === undefined) return [];
    if (kind === "map") return [{ kind: "maps", ids: [String(object.id)] }];
    const ids = object.prog_id === undefined ? [] : [String(object.prog_id)];
    return [{ kind: "links", ids: [String(object.id)] }, { kind: "programs", ids }];
  }));
  return pinned.flat();
}

/** Programs on the node's cgroups. */
async function attachedToCgroups(node: NodeDescription): Promise<string[]> {
  const trees = await bpftool(["cgroup", "tree", node.cgroup]);
  return trees.flatMap(({ programs = [] }) => programs.map(({ id }) => String(id)));
}

async function listIds(kind: "link" | "map" | "prog"): Promise<Set<string>> {
  return new Set((await bpftool([kind, "show"])).map(({ id }) => String(id)));
}

interface BpftoolObject {
  readonly id?: number;
  readonly prog_id?: number;
  readonly programs?: readonly { readonly id: number }[];
}

/** bpftool's answer as a list; empty where it has none. */
async function bpftool(args: readonly string[]): Promise<BpftoolObject[]> {
  const { success, stdout } = await new Deno.Command("bpftool", {
    args: ["-j", ...args],
    stderr: "null",
  }).output();
  const text = new TextDecoder().decode(stdout).trim();
  if (!success || text === "") return [];
  const value = JSON.parse(text) as BpftoolObject | BpftoolObject[];
  return Array.isArray(value) ? value : [value];
}

function readProcesses(node: NodeDescription): string[] {
  const text = Deno.readTextFileSync(`${node.cgroup}/agent/cgroup.procs`);
  return text.split("\n").filter((line) => line !== "");
}

function listNamespaces(): string[] {
  // Of the testbed's own making: those of others come and go.
  return [...Deno.readDirSync("/run/netns")].map(({ name }) => name)
    .filter((name) => name.startsWith("weft") && !name.startsWith("weft-testbed-"));
}

function listMounts(node: NodeDescription): string[] {
  const mine = node.stateDir.replace(/\/[^/]+\/[^/]+$/, "");
  return Deno.readTextFileSync("/proc/self/mounts").split("\n")
    .map((line) => line.split(" ")[1] ?? "")
    .filter((path) => path.startsWith(mine));
}

/** All but the two files that the kernel itself puts into each new bpffs. */
function listPins(bpffs: string): string[] {
  return listFiles(bpffs).filter((path) => !/\/(progs|maps)\.debug$/.test(path));
}

function listFiles(directory: string): string[] {
  try {
    return [...Deno.readDirSync(directory)].flatMap(({ name, isDirectory }) =>
      isDirectory ? listFiles(`${directory}/${name}`) : [`${directory}/${name}`]
    );
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
}
