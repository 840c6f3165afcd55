/**
 * Pods: a sandbox (network, mount and UTS namespace, held by one sleeping process) and a process
 * per container, all in the pod's cgroup. A container's command runs with the host's programs; one
 * without a command serves the hello page. A container that ends is not started again: it is
 * reported.
 *
 * In: what to run and where. Out: a pod whose processes run; `podReady` tells when its ports
 * listen.
 * Invariant: readiness is read from the pod's socket table, never probed with a connection, so that
 * no policy and no application sees the test bed.
 *
 * @module
 */
import { rootPropagation } from "@/scripts/lib/mounts.ts";
import * as plan from "../control/plan.ts";
import type { ContainerState, PodState, TestbedState } from "../state.ts";
import { prepareHello } from "./hello.ts";
import { podEndScript, type PodPort } from "./network.ts";
import { isAlive, launch, launchScript, settle, tail, TestbedError, until } from "./process.ts";

/** A container as a Pod document writes it, as far as it is read here. */
export interface ContainerSpec {
  readonly name: string;
  readonly command?: readonly string[];
  readonly args?: readonly string[];
  readonly workingDir?: string;
  readonly env?: readonly EnvironmentVariable[];
  readonly ports?: readonly { readonly containerPort: number; readonly protocol?: string }[];
}

/** A variable: a value, or one of the pod's own fields. */
export interface EnvironmentVariable {
  readonly name: string;
  readonly value?: string;
  readonly valueFrom?: { readonly fieldRef?: { readonly fieldPath: string } };
}

/**
 * Makes the sandbox and returns the process that holds it. `port` is absent on the host network.
 */
export async function createSandbox(
  state: TestbedState,
  pod: PodState,
  port: PodPort | undefined,
): Promise<number> {
  const etc = `${pod.directory}/etc`;
  await Deno.mkdir(etc, { recursive: true });
  // Not recursive: when the node's has been removed, nothing more is to be made.
  await Deno.mkdir(pod.cgroup);
  const files = await etcFiles(pod);
  await Promise.all(
    Object.entries(files).map(([name, text]) => Deno.writeTextFile(`${etc}/${name}`, text)),
  );
  const script = `set -e
echo $$ >${pod.cgroup}/cgroup.procs
${port === undefined ? "" : podEndScript(state, port)}
${Object.keys(files).map((name) => `[ -e /etc/${name} ] || missing=1`).join("\n")}
if [ "$missing" ]; then # a mount point for each: this machine's /etc, copied
  mkdir ${pod.directory}/root-etc; cp -a /etc/. ${pod.directory}/root-etc
  cd ${pod.directory}/root-etc; rm -f ${Object.keys(files).join(" ")}
  touch ${Object.keys(files).join(" ")}; cd /
  mount --bind ${pod.directory}/root-etc /etc
fi
${Object.keys(files).map((name) => `mount --bind ${etc}/${name} /etc/${name}`).join("\n")}
echo ${pod.name} >/proc/sys/kernel/hostname
echo $$
exec sleep infinity </dev/null >/dev/null 2>&1
`;
  // "slave": when another pod's namespace is unmounted, this one's copy of the mount goes, too.
  const spaces = ["unshare", "--mount", "--uts", "--propagation", rootPropagation("slave")];
  return await launchScript(["nsenter", `--net=${pod.netns}`, ...spaces, "sh", "-c", script]);
}

/** Starts the pod's containers. */
export async function startContainers(
  pod: PodState,
  specs: readonly ContainerSpec[],
): Promise<ContainerState[]> {
  return await settle(specs.map((spec) => startContainer(pod, spec)));
}

/** Resolves when all ports of the pod listen; fails when a container ends before. */
export async function podReady(pod: PodState, timeoutMs: number): Promise<void> {
  const wanted = pod.containers.filter(({ ports }) => ports.length > 0);
  await until(`the ports of pod "${pod.namespace}/${pod.name}"`, timeoutMs, async () => {
    const listening = readListening(pod.sandboxPid);
    const missing = wanted.filter(({ ports }) =>
      !ports.every(({ port, protocol }) => listening.has(`${protocol} ${port}`))
    );
    const ended = missing.find(({ pid }) => !isAlive(pid, pod.cgroup));
    if (ended !== undefined) throw await endedError(pod, ended);
    return missing.length === 0 ? true : undefined;
  });
}

/** Containers that have ended. */
export function endedContainers(pod: PodState): ContainerState[] {
  return pod.containers.filter(({ pid }) => !isAlive(pid, pod.cgroup));
}

/** Ends all processes of a pod: SIGTERM, then, when the time is up, SIGKILL. */
export async function endProcesses(pod: PodState, graceMs: number): Promise<void> {
  for (const { pid } of pod.containers) {
    if (isAlive(pid, pod.cgroup)) Deno.kill(pid, "SIGTERM");
  }
  const ended = () => endedContainers(pod).length === pod.containers.length ? true : undefined;
  await until("containers to end", graceMs, ended).catch(() => undefined);
  await killCgroup(pod.cgroup);
}

/** Kills all that runs in a cgroup and below, and removes it. */
export async function killCgroup(cgroup: string): Promise<void> {
  await until(`the processes in "${cgroup}" to end`, 10_000, async () => {
    try {
      await Deno.writeTextFile(`${cgroup}/cgroup.kill`, "1", { create: false });
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return true;
      throw error;
    }
    // Busy at first: what was killed has not gone yet, or something has just been started.
    await removeTree(cgroup).catch(() => undefined);
    return undefined;
  });
}

async function removeTree(cgroup: string): Promise<void> {
  for await (const entry of Deno.readDir(cgroup)) {
    if (entry.isDirectory) await removeTree(`${cgroup}/${entry.name}`);
  }
  await Deno.remove(cgroup);
}

async function startContainer(pod: PodState, spec: ContainerSpec): Promise<ContainerState> {
  const directory = `${pod.directory}/${spec.name}`;
  await Deno.mkdir(directory, { recursive: true });
  const log = `${directory}/output.log`;
  const declared = (spec.ports ?? []).map(({ containerPort, protocol }) => ({
    port: containerPort,
    protocol: protocol === "UDP" ? "UDP" as const : "TCP" as const,
  }));
  const place = { cgroup: pod.cgroup, sandbox: pod.sandboxPid, cwd: spec.workingDir ?? "/" };
  const options = { log, env: environment(pod, spec) };
  // `args` alone are arguments of the image's own entry point, and there is no image.
  if (spec.command !== undefined) {
    const pid = await launch(place, [...spec.command, ...spec.args ?? []], options);
    return { name: spec.name, pid, log, ports: declared };
  }
  const tcp = declared.filter(({ protocol }) => protocol === "TCP");
  const ports = tcp.length > 0 ? tcp : [{ port: 80, protocol: "TCP" as const }];
  const { command, accessLog } = await prepareHello(directory, ports.map(({ port }) => port));
  return { name: spec.name, pid: await launch(place, command, options), log, accessLog, ports };
}

async function endedError(pod: PodState, container: ContainerState): Promise<TestbedError> {
  const errors = `${pod.directory}/${container.name}/error.log`;
  const log = await tail(container.log) || await tail(errors);
  return new TestbedError(
    `Cannot start container "${container.name}" of pod "${pod.namespace}/${pod.name}": it ended ` +
      `before its ports listened\n${log}`,
  );
}

function environment(pod: PodState, spec: ContainerSpec): Record<string, string> {
  const fields: Record<string, string> = {
    "metadata.name": pod.name,
    "metadata.namespace": pod.namespace,
    "metadata.uid": pod.uid,
    "spec.nodeName": pod.node,
    "status.podIP": pod.addresses[0] ?? "",
    "status.podIPs": pod.addresses.join(","),
  };
  const given = (spec.env ?? []).map(({ name, value, valueFrom }) =>
    [name, value ?? fields[valueFrom?.fieldRef?.fieldPath ?? ""] ?? ""] as const
  );
  return {
    PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    HOME: "/root",
    HOSTNAME: pod.name,
    ...Object.fromEntries(given),
  };
}

async function etcFiles(pod: PodState): Promise<Record<string, string>> {
  const search = `${pod.namespace}.svc.cluster.local svc.cluster.local cluster.local`;
  const own = pod.addresses.map((address) => `${address} ${pod.name}\n`).join("");
  const switches = await Deno.readTextFile("/etc/nsswitch.conf").catch(() => "");
  const nameserver = plan.DNS_SERVICE.v4;
  return {
    "resolv.conf": `search ${search}\nnameserver ${nameserver}\noptions ndots:5\n`,
    "hosts": `127.0.0.1 localhost\n::1 localhost ip6-localhost\n${own}`,
    "hostname": `${pod.name}\n`,
    // The machine's own resolver services know nothing of the cluster's names.
    "nsswitch.conf": `${switches.replace(/^hosts:.*\n?/m, "")}\nhosts: files dns\n`,
  };
}

/** What listens in the network namespace of a process: "TCP 80", "UDP 53". */
function readListening(pid: number): Set<string> {
  const listening = new Set<string>();
  const tables = [["TCP", "tcp"], ["TCP", "tcp6"], ["UDP", "udp"], ["UDP", "udp6"]] as const;
  for (const [protocol, file] of tables) {
    const rows = Deno.readTextFileSync(`/proc/${pid}/net/${file}`).split("\n").slice(1);
    for (const row of rows) {
      const [, local, , status] = row.trim().split(/\s+/);
      // 0A is LISTEN; a UDP socket without a peer has status 07.
      if (local === undefined || status !== (protocol === "TCP" ? "0A" : "07")) continue;
      listening.add(`${protocol} ${Number.parseInt(local.slice(local.indexOf(":") + 1), 16)}`);
    }
  }
  return listening;
}
