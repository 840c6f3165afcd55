/**
 * Weighs and times `dist/weft`. In: the executable. Out: lines of text.
 *
 * - First start: unpacks into an empty folder, as a user who is not root.
 * - Later starts: what a command costs that needs no agent.
 * - Ready: `weft run` on an empty source until `weft status` agrees; needs root, and happens in
 *   network and mount namespaces of its own, so that nothing of the machine is touched.
 *
 * @module
 */

import { run } from "../lib/command.ts";
import { rootPropagation } from "../lib/mounts.ts";
import { say } from "../lib/terminal.ts";

const ROUNDS = 7;
const READY_MS_MAX = 5_000;

export async function report(weft: string): Promise<void> {
  const { size } = await Deno.stat(weft);
  say(`dist/weft        ${(size / 1e6).toFixed(1)} MB`);
  const scratch = await Deno.makeTempDir({ prefix: "weft-build." });
  try {
    await reportStarts(weft, scratch);
    if (Deno.uid() === 0) await reportReady(weft, scratch);
  } finally {
    await Deno.remove(scratch, { recursive: true });
  }
}

async function reportStarts(weft: string, scratch: string): Promise<void> {
  await Deno.chmod(scratch, 0o777);
  // A copy, for the checkout may lie where nobody but root can go.
  const copy = `${scratch}/executable`;
  await Deno.copyFile(weft, copy);
  await Deno.chmod(copy, 0o755);
  const first = await timeStart(copy, scratch);
  say(`first start      ${first.toFixed(0)} ms to the first output, unpacking included`);
  const later: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    // One at a time: they are timed.
    // deno-lint-ignore no-await-in-loop
    later.push(await timeStart(copy, scratch));
  }
  const median = later.sort((a, b) => a - b)[(ROUNDS - 1) / 2] ?? NaN;
  say(`later starts     ${median.toFixed(0)} ms to the first output (median of ${ROUNDS})`);
}

/** Milliseconds of `weft --version` as somebody who unpacks below `home`. */
async function timeStart(weft: string, home: string): Promise<number> {
  const nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
  const user = Deno.uid() === 0 ? nobody : [];
  const start = performance.now();
  await run([...user, "env", `XDG_CACHE_HOME=${home}`, weft, "--version"]);
  return performance.now() - start;
}

async function reportReady(weft: string, scratch: string): Promise<void> {
  const cgroup = `${await cgroupRoot()}/weft-build-${Deno.pid}`;
  await run([weft, "--version"]); // unpacked, for root too
  await Deno.mkdir(cgroup);
  await Deno.mkdir(`${scratch}/source`);
  await Deno.mkdir(`${scratch}/bpf`);
  const start = performance.now();
  // Not replaced by the agent, the shell unmounts where that does not happen by itself.
  const script = `mount -t bpf weft "${scratch}/bpf"; "$@" & trap 'kill $!' TERM
    wait; wait; umount "${scratch}/bpf"`;
  const agent = new Deno.Command("unshare", {
    args: [
      ...["--mount", "--net", "--propagation", rootPropagation("private"), "--"],
      ...["sh", "-c", script, "sh"],
      ...[weft, "run", "--source", `${scratch}/source`, "--node", "build", "--cgroup", cgroup],
      ...["--run-dir", scratch, "--state-dir", `${scratch}/state`, "--bpffs", `${scratch}/bpf`],
    ],
    stdin: "null",
    stdout: "null",
    stderr: "piped",
  }).spawn();
  const log = new Response(agent.stderr).text();
  try {
    await waitReady(weft, scratch, agent.status);
    say(`ready            ${(performance.now() - start).toFixed(0)} ms from weft run to ready`);
  } catch (error) {
    await stop(agent);
    const last = (await log).trimEnd().split("\n").at(-1);
    say(
      `ready            not measured: ${error instanceof Error ? error.message : error}: ${last}`,
    );
  } finally {
    await stop(agent);
    await Deno.remove(cgroup);
  }
}

async function waitReady(
  weft: string,
  runDir: string,
  ended: Promise<Deno.CommandStatus>,
): Promise<void> {
  let agent: Deno.CommandStatus | undefined;
  ended.then((status) => agent = status);
  const deadline = performance.now() + READY_MS_MAX;
  while (agent === undefined && performance.now() < deadline) {
    // deno-lint-ignore no-await-in-loop
    const ready = await run([weft, "status", "--run-dir", runDir]).then(() => true, () => false);
    if (ready) return;
  }
  throw new Error(agent === undefined ? "it takes too long" : `weft run ended: ${agent.code}`);
}

async function stop(agent: Deno.ChildProcess): Promise<void> {
  try {
    agent.kill("SIGTERM");
  } catch (error) {
    if (!(error instanceof TypeError)) throw error; // it has ended by itself
  }
  await agent.status;
}

/** Where the unified cgroup tree is mounted. */
async function cgroupRoot(): Promise<string> {
  const mounts = await Deno.readTextFile("/proc/self/mounts");
  const mount = mounts.split("\n").map((line) => line.split(" ")).find((row) =>
    row[2] === "cgroup2"
  );
  if (mount?.[1] === undefined) throw new Error("No cgroup2 file system is mounted");
  return mount[1];
}
