/**
 * What processes have used: seconds of processor, resident memory.
 *
 * Processor time is a process's own, user and system, with all its threads and children. Work that
 * the kernel does in softirq is charged to whoever runs when it happens, with every proxy alike.
 * Memory is the proportional set size: pages that a server's processes share count once.
 *
 * @module
 */

/** A process and all below it. */
export function processTree(root: number): number[] {
  const children = Map.groupBy(
    [...Deno.readDirSync("/proc")].map(({ name }) => Number(name)).filter(Number.isInteger),
    (pid) => readStat(pid)?.parent,
  );
  const tree = [root];
  for (const pid of tree) tree.push(...children.get(pid) ?? []);
  return tree;
}

/** Seconds of processor that processes have used so far. */
export function cpuSeconds(pids: readonly number[]): number {
  return pids.reduce((sum, pid) => sum + (readStat(pid)?.ticks ?? 0), 0) / TICKS_PER_SECOND;
}

/** KiB of memory that processes have resident, shared pages in proportion. */
export function memoryKib(pids: readonly number[]): number {
  return pids.reduce((sum, pid) => {
    const text = Deno.readTextFileSync(`/proc/${pid}/smaps_rollup`);
    return sum + Number(/^Pss:\s+(\d+) kB/m.exec(text)?.[1] ?? NaN);
  }, 0);
}

/** The libcrypto that a process has loaded, by the version that is written in it. */
export function opensslOf(pid: number): string {
  const maps = Deno.readTextFileSync(`/proc/${pid}/maps`);
  const path = /\s(\/\S*libcrypto\S*)$/m.exec(maps)?.[1];
  if (path === undefined) return "no libcrypto";
  const text = new TextDecoder("latin1").decode(Deno.readFileSync(`/proc/${pid}/root${path}`));
  return /OpenSSL \d+\.\d+\.\d+[^\0]* 20\d\d/.exec(text)?.[0] ?? `unknown libcrypto ${path}`;
}

/** USER_HZ, which is 100 wherever Linux has been built in the last decades. */
const TICKS_PER_SECOND = 100;

/** Undefined for a process that has ended. */
function readStat(pid: number): { readonly parent: number; readonly ticks: number } | undefined {
  let text: string;
  try {
    text = Deno.readTextFileSync(`/proc/${pid}/stat`);
  } catch {
    return undefined;
  }
  // The command's name, in brackets, may hold anything: fields are counted from its end.
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return { parent: Number(fields[1]), ticks: Number(fields[11]) + Number(fields[12]) };
}
