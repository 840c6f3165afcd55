/**
 * Where kernel file systems are mounted, read from the mount table.
 *
 * @module
 */
import { ConfigError } from "../errors.ts";

/** The root of the cgroup2 tree. */
export function findCgroup2(table: string = readMounts()): string {
  const found = mountPoints(table, "cgroup2")[0];
  if (found === undefined) {
    throw new ConfigError(
      "Cannot find a cgroup2 mount: mount one (`mount -t cgroup2 none /sys/fs/cgroup`) or give" +
        ' "--cgroup"',
      { option: "--cgroup" },
    );
  }
  return found;
}

/** Mount points of a file system type, in mount order. */
export function mountPoints(table: string, type: string): string[] {
  return table.split("\n").map((line) => line.split(" "))
    .filter((fields) => fields[2] === type)
    .map((fields) => (fields[1] ?? "").replaceAll(/\\(\d{3})/g, unescapeOctal));
}

/** `/proc/self/mounts`, or nothing where there is no /proc. */
export function readMounts(): string {
  try {
    return Deno.readTextFileSync("/proc/self/mounts");
  } catch {
    return "";
  }
}

/** The kernel writes a space as `\040`. */
function unescapeOctal(_match: string, digits: string): string {
  return String.fromCharCode(parseInt(digits, 8));
}
