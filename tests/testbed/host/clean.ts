/**
 * Removes all that a testbed made, by its id alone: it does not matter how far `up` came, nor what
 * the state says.
 *
 * Invariant: processes go first and their cgroup with them: what is started later (by an `up` that
 * is being killed) cannot join its cgroup and ends by itself, so nothing new appears behind us.
 *
 * @module
 */
import { prefixOf } from "../state.ts";
import { killCgroup } from "./pod.ts";
import { isGone, TestbedError, until } from "./process.ts";

/** Removes a testbed and returns what ran in it; one that is not there is fine. */
export async function destroyTestbed(
  directory: string,
  cgroupRoot: string,
): Promise<string[]> {
  const id = await readId(directory);
  if (id === "") {
    // Killed before it had an id: there is the directory, perhaps the file to be, and our own lock.
    await Deno.remove(`${directory}/id`).catch(() => undefined);
    await Deno.remove(`${directory}/lock`).catch(() => undefined);
    await Deno.remove(directory).catch(() => undefined);
    return [];
  }
  if (!/^[0-9a-f]{6}$/.test(id)) {
    throw new TestbedError(`Cannot remove "${directory}": it does not look like a testbed`);
  }
  const cgroup = `${cgroupRoot}/${prefixOf(id)}`;
  const processes = await listProcesses(cgroup);
  await killCgroup(cgroup);
  await unmountBelow(directory);
  await removeNamespaces(`${prefixOf(id)}-`);
  await Deno.remove(directory, { recursive: true });
  return processes;
}

/** Reads what `up` wrote first: "" where it was killed before it had made the file or filled it. */
async function readId(directory: string): Promise<string> {
  try {
    return (await Deno.readTextFile(`${directory}/id`)).trim();
  } catch (error) {
    if (!isGone(error)) throw error;
    return "";
  }
}

/** Waits until killed processes are no longer listed: some inits collect the dead at leisure. */
export async function untilCollected(processes: readonly string[]): Promise<void> {
  const gone = async () => {
    const stats = await Promise.all(
      processes.map((pid) => Deno.readTextFile(`/proc/${pid}/stat`).catch(() => "")),
    );
    return stats.some((stat) => stat.includes(") Z ")) ? undefined : true;
  };
  await until("the dead to be collected", 3000, gone).catch(() => undefined);
}

async function listProcesses(cgroup: string): Promise<string[]> {
  const own = await Deno.readTextFile(`${cgroup}/cgroup.procs`).catch(() => "");
  const entries = await Array.fromAsync(Deno.readDir(cgroup)).catch(() => []);
  const below = await Promise.all(
    entries.filter(({ isDirectory }) => isDirectory)
      .map(({ name }) => listProcesses(`${cgroup}/${name}`)),
  );
  return [...own.split("\n").filter((pid) => pid !== ""), ...below.flat()];
}

async function unmountBelow(directory: string): Promise<void> {
  const mounts = (await Deno.readTextFile("/proc/self/mounts")).split("\n")
    .map((line) => line.split(" ")[1] ?? "")
    .filter((path) => path.startsWith(`${directory}/`));
  if (mounts.length > 0) await quietly("umount", ["-l", ...mounts.reverse()]);
}

async function removeNamespaces(prefix: string): Promise<void> {
  const names = await listDirectory("/run/netns");
  const own = names.filter((name) => name.startsWith(prefix));
  if (own.length === 0) return;
  await quietly("umount", ["-l", ...own.map((name) => `/run/netns/${name}`)]);
  // Without a mount it is what an interrupted `ip netns add` leaves: an empty file.
  await Promise.all(own.map((name) => Deno.remove(`/run/netns/${name}`)));
}

async function listDirectory(path: string): Promise<string[]> {
  try {
    return (await Array.fromAsync(Deno.readDir(path))).map(({ name }) => name);
  } catch (error) {
    if (isGone(error)) return [];
    throw error;
  }
}

async function quietly(program: string, args: string[]): Promise<void> {
  const stdio = { stdin: "null", stdout: "null", stderr: "null" } as const;
  await new Deno.Command(program, { args, ...stdio }).output();
}
