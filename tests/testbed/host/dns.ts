/**
 * The cluster's DNS: Debian's dnsmasq on a host of its own on the nodes' network. Pods reach it
 * through the address of the Service "kube-dns", which the agents translate; without an agent there
 * is no cluster DNS, as on a node without kube-proxy.
 *
 * In: names and addresses. Invariant: when `updateDns` returns, the server answers with the new
 * names; it says in its log when it has read them.
 *
 * @module
 */
import * as plan from "../control/plan.ts";
import { netnsPath, type TestbedState } from "../state.ts";
import { isAlive, launch, run, tail, TestbedError, until } from "./process.ts";

/** Addresses of each name, as `/etc/hosts` lines. */
export type DnsRecords = ReadonlyMap<string, readonly string[]>;

/** Starts the server and returns its process id. */
export async function startDns(state: TestbedState): Promise<number> {
  const files = filesOf(state);
  await Deno.mkdir(files.directory, { recursive: true });
  await Deno.writeTextFile(files.hosts, "");
  const pid = await launch(placeOf(state), [
    "dnsmasq",
    "--keep-in-foreground",
    "--conf-file=/dev/null",
    "--user=root",
    "--pid-file=",
    `--log-facility=${files.log}`,
    "--no-resolv",
    "--no-hosts",
    `--addn-hosts=${files.hosts}`,
    "--local=/cluster.local/",
    "--bind-interfaces",
    `--listen-address=${plan.DNS.v4},${plan.DNS.v6}`,
  ], { log: `${files.directory}/output.log` });
  await until("the DNS server", 5000, async () => {
    if (await countReads(files.log) > 0) return true;
    if (isAlive(pid, placeOf(state).cgroup)) return undefined;
    throw new TestbedError(
      `Cannot start the DNS server: ${await tail(`${files.directory}/output.log`)}`,
    );
  });
  return pid;
}

/** Makes the server answer with these records and no others. */
export async function updateDns(state: TestbedState, records: DnsRecords): Promise<void> {
  const files = filesOf(state);
  const lines = [...records].flatMap(([name, addresses]) =>
    addresses.map((address) => `${address} ${name}\n`)
  );
  const text = lines.join("");
  if (text === await Deno.readTextFile(files.hosts)) return;
  const before = await countReads(files.log);
  await Deno.writeTextFile(files.hosts, text);
  await run(placeOf(state), ["kill", "-HUP", String(state.dnsPid)]);
  await until(
    "the DNS server to read its names",
    5000,
    async () => await countReads(files.log) > before ? true : undefined,
  );
}

function placeOf(state: TestbedState): { cgroup: string; netns: string } {
  return { cgroup: `${state.cgroup}/dns`, netns: netnsPath(state, "dns") };
}

function filesOf(state: TestbedState): { directory: string; hosts: string; log: string } {
  const directory = `${state.directory}/dns`;
  return { directory, hosts: `${directory}/hosts`, log: `${directory}/dnsmasq.log` };
}

async function countReads(log: string): Promise<number> {
  const text = await Deno.readTextFile(log).catch(() => "");
  return text.split(": read ").length - 1;
}
