/**
 * One agent per run directory, and one per directory of pins. In comes the directory, out goes a
 * lock that dies with the process (flock), so neither SIGKILL nor a reboot leaves anything to
 * clean. Invariant: a run directory is 0700 before anything is put into it. A file with a process
 * id is no lock: ids are used again.
 *
 * @module
 */
import { InUseError } from "../errors.ts";

/** Makes the directory where needed and takes it; disposing gives it back. */
export function lockRunDirectory(directory: string): Disposable {
  Deno.mkdirSync(directory, { recursive: true, mode: 0o700 });
  Deno.chmodSync(directory, 0o700);
  const path = `${directory}/lock`;
  const file = Deno.openSync(path, { create: true, write: true, mode: 0o600 });
  if (!file.tryLockSync(true)) {
    file.close();
    throw new InUseError(`Cannot use run directory "${directory}": another agent is using it`, {
      path: directory,
    });
  }
  return { [Symbol.dispose]: () => file.close() };
}

/**
 * Takes a directory of pins, or says that there is none. Two agents with run directories of their
 * own would take each other's maps over, and each would believe that its own are in force.
 */
export function lockPins(directory: string): Disposable | undefined {
  const file = openDirectory(directory);
  if (file === undefined || file.tryLockSync(true)) return file;
  file.close();
  throw new InUseError(`Cannot use the pins in "${directory}": another agent is using them`, {
    path: directory,
  });
}

/** Whether a process does nothing until it is told to go on: by a signal or a debugger. */
export function isStopped(pid: number): boolean {
  return /\) [Tt] /.test(Deno.readTextFileSync(`/proc/${pid}/stat`));
}

/** The process that holds the lock, by the kernel's own list. */
export function lockHolder(directory: string): number | undefined {
  const { dev, ino } = Deno.statSync(`${directory}/lock`);
  const byte = (value: number) => value.toString(16).padStart(2, "0");
  // makedev(3): twelve bits of major number around the low byte of the minor one.
  const device = `${byte((dev >> 8) & 0xfff)}:${byte((dev & 0xff) | ((dev >> 12) & 0xfff00))}`;
  for (const line of Deno.readTextFileSync("/proc/locks").split("\n")) {
    const [, kind, , , pid, place] = line.split(/\s+/);
    if (kind === "FLOCK" && place === `${device}:${ino}`) return Number(pid);
  }
  return undefined;
}

function openDirectory(path: string): Deno.FsFile | undefined {
  try {
    return Deno.openSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}
