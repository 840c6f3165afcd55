/**
 * Names of the network namespaces that tests make, and the removal of what those left that were
 * killed.
 *
 * Invariant: only what bears the prefix and the id of a process that is gone is removed.
 *
 * @module
 */
import { existsSync } from "node:fs";

const DIRECTORY = "/run/netns";
const PREFIX = "weft-test-";
let serial = 0;

/** A name that no other process has, nor this one for another. */
export function namespaceName(): string {
  return `${PREFIX}${Deno.pid}-${serial++}`;
}

/** Removes those whose makers are gone. */
export async function removeStrayNamespaces(): Promise<void> {
  if (!existsSync(DIRECTORY)) return;
  const stray = [...Deno.readDirSync(DIRECTORY)].map(({ name }) => name).filter(isStray);
  // One that fails has been removed by another test meanwhile.
  await Promise.all(
    stray.map((name) => new Deno.Command("ip", { args: ["netns", "del", name] }).output()),
  );
}

function isStray(name: string): boolean {
  if (!name.startsWith(PREFIX)) return false;
  const pid = Number.parseInt(name.slice(PREFIX.length), 10);
  return pid > 0 && !existsSync(`/proc/${pid}`);
}
