/**
 * What weft and its tests can leave on a machine: network namespaces, interfaces, cgroups, mounts,
 * eBPF programs, folders, processes. In: the machine. Out: a sorted list of names, to be compared
 * before and after a run.
 *
 * Invariant: only what bears the project's name counts, so that other users of the machine are
 * never blamed; processes are known by a variable that the run puts into their environment.
 *
 * @module
 */

import { run } from "../lib/command.ts";

/** Prefixes of everything that the product, the testbed and the tests name; interfaces want few. */
const OURS = /^\.?(weft|wf\d)/;

/** Everything of ours that is on the machine now, one name each. */
export async function takeInventory(): Promise<Set<string>> {
  const found = await Promise.all([
    listNamed("/run/netns", "network namespace"),
    listNamed("/sys/class/net", "interface"),
    listNamed("/tmp", "folder"),
    listMounts(),
    listCgroups("/sys/fs/cgroup"),
    listPrograms(),
  ]);
  return new Set(found.flat().sort());
}

/** Process ids of those whose environment holds `marker`, such as "NAME=value". */
export async function findProcesses(marker: string): Promise<number[]> {
  const found: number[] = [];
  for await (const entry of Deno.readDir("/proc")) {
    const pid = Number(entry.name);
    if (!Number.isInteger(pid) || pid === Deno.pid) continue;
    const environ = await Deno.readTextFile(`/proc/${pid}/environ`).catch(() => "");
    if (environ.split("\0").includes(marker)) found.push(pid);
  }
  return found;
}

/** Command line of a process, for messages. */
export async function describeProcess(pid: number): Promise<string> {
  const text = await Deno.readTextFile(`/proc/${pid}/cmdline`).catch(() => "");
  return `process ${pid}: ${text.replaceAll("\0", " ").trim() || "gone"}`;
}

async function listNamed(dir: string, kind: string): Promise<string[]> {
  const entries = await Array.fromAsync(Deno.readDir(dir)).catch(() => []);
  return entries.filter(({ name }) => OURS.test(name)).map(({ name }) => `${kind} ${dir}/${name}`);
}

/** Mounts below folders of ours. The runtime's own (scripts/pack/launcher.sh) is meant to stay. */
async function listMounts(): Promise<string[]> {
  const text = await Deno.readTextFile("/proc/self/mounts");
  const paths = text.split("\n").map((line) => line.split(" ")[1] ?? "");
  return paths
    .filter((path) => path.split("/").some((part) => OURS.test(part)))
    .filter((path) => !path.startsWith("/run/weft/exec") && !path.startsWith("/run/netns/"))
    .map((path) => `mount ${path}`);
}

async function listCgroups(dir: string): Promise<string[]> {
  const entries = await Array.fromAsync(Deno.readDir(dir)).catch(() => []);
  const found: string[] = [];
  for (const { name, isDirectory } of entries) {
    if (!isDirectory) continue;
    if (OURS.test(name)) found.push(`cgroup ${dir}/${name}`);
    // deno-lint-ignore no-await-in-loop
    else found.push(...await listCgroups(`${dir}/${name}`));
  }
  return found;
}

/** Loaded programs that come from bpf/*.bpf.c, by id; nothing where bpftool may not look. */
async function listPrograms(): Promise<string[]> {
  const text = await run(["bpftool", "-j", "prog", "list"]).catch(() => "[]");
  const programs = JSON.parse(text) as { id: number; name?: string }[];
  return programs
    .filter(({ name }) => name !== undefined && OURS.test(name))
    .map(({ id, name }) => `eBPF program ${id} (${name})`);
}
