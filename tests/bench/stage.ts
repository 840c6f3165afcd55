/**
 * Where the benchmark plays: two testbeds from the same documents, one with weft's agents and one
 * without, each with a client on one node and a server beside it and on another. So everyone has
 * the same veths, bridges and wire, and "no mesh" has no eBPF of weft's on its way.
 *
 * In: nothing. Out: paths by name. Invariant: all processes are in the testbeds' cgroups and all
 * files in their directories, so that whatever happens everything goes with them.
 *
 * @module
 */
import { Testbed } from "../testbed/mod.ts";
import { checked } from "./command.ts";
import { issueCertificates } from "./certificates.ts";
import type { Target } from "./load.ts";
import {
  APPLICATION,
  applicationConfiguration,
  CONNECTIONS_MAX,
  type Peer,
  type PeerContext,
  type PeerName,
  PEERS,
  type Side,
} from "./peers.ts";
import { processTree } from "./usage.ts";

/** A way from client to server. */
export interface Path {
  readonly name: PathName;
  readonly bed: Testbed;
  readonly target: Target;
  /** Processes that proxy, of the client's side and of the server's; none without a mesh. */
  readonly proxies: Readonly<Record<Side, readonly number[]>>;
}

export type PathName = "no mesh" | PeerName | "weft" | "near: no mesh" | "near: weft attest";

export class Stage implements AsyncDisposable {
  readonly paths: ReadonlyMap<PathName, Path>;
  /** The cipher suite that weft negotiates, and so everyone. */
  readonly cipher: string;
  /** Relay threads of each node, and so of each hop. */
  readonly threads: number;
  readonly #beds: readonly Testbed[];

  private constructor(beds: readonly Testbed[], paths: readonly Path[], context: PeerContext) {
    this.#beds = beds;
    this.paths = new Map(paths.map((path) => [path.name, path]));
    this.cipher = context.cipher;
    this.threads = context.threads;
  }

  /** Brings everything up. */
  static async open(threads: number, signal: AbortSignal): Promise<Stage> {
    const source = new URL("manifests", import.meta.url).pathname;
    const beds: Testbed[] = [];
    try {
      const bare = await Testbed.up({ source, nodes: 2, agents: false, signal });
      beds.push(bare);
      const agentArgs = ["--workers", String(threads)];
      const mesh = await Testbed.up({ source, nodes: 2, agentArgs, signal });
      beds.push(mesh);
      await Promise.all(beds.map(startApplications));
      const { paths, context } = await makePaths(bare, mesh, threads);
      return new Stage(beds, paths, context);
    } catch (error) {
      await Promise.all(beds.map((bed) => bed.down()));
      throw error;
    }
  }

  /** The path of that name. */
  path(name: PathName): Path {
    const path = this.paths.get(name);
    if (path === undefined) throw new Error(`Cannot find path "${name}"`);
    return path;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#beds.map((bed) => bed.down()));
  }
}

const SERVERS = ["default/near", "default/far"];
const PODS = { client: "default/client", server: "default/far" } as const;
const LISTEN_TIMEOUT_MS = 10_000;

async function startApplications(bed: Testbed): Promise<void> {
  await Promise.all([...SERVERS, PODS.client].map((pod) => preparePod(bed, pod)));
  await Promise.all(SERVERS.map(async (pod) => {
    const name = pod.replace("/", "-");
    const file = `${bed.directory}/${name}.conf`;
    await Deno.writeTextFile(file, applicationConfiguration(bed.directory, name));
    await start(bed, pod, ["nginx", "-c", file]);
    await start(bed, pod, ["iperf3", "-s"]);
    await listening(bed, pod, Object.values(APPLICATION));
  }));
}

/** Ports of closed connections are used again after a second: thousands are made and closed. */
async function preparePod(bed: Testbed, pod: string): Promise<void> {
  const { code, stderr } = await bed.exec(pod, [
    "sh",
    "-c",
    "echo 1 >/proc/sys/net/ipv4/tcp_tw_reuse",
  ]);
  if (code !== 0) throw new Error(`Cannot prepare pod "${pod}": ${stderr.trim()}`);
}

async function makePaths(
  bare: Testbed,
  mesh: Testbed,
  threads: number,
): Promise<{ paths: Path[]; context: PeerContext }> {
  const address = await addressOf(bare, "default/far");
  const near = await addressOf(bare, "default/near");
  if (await addressOf(mesh, "default/far") !== address) {
    throw new Error("Cannot compare: the two testbeds are not alike");
  }
  const cipher = await negotiatedCipher(mesh, address);
  const context: PeerContext = { directory: bare.directory, server: address, cipher, threads };
  await issueCertificates(bare.directory);
  const none = { client: [], server: [] };
  const direct = (
    name: PathName,
    bed: Testbed,
    hostname: string,
    proxies: Path["proxies"],
  ): Path => ({
    name,
    bed,
    target: { hostname, ports: APPLICATION },
    proxies,
  });
  const agents = await agentsOf(mesh);
  return {
    context,
    paths: [
      direct("no mesh", bare, address, none),
      ...await Promise.all(PEERS.map((peer) => startPeer(bare, peer, context))),
      direct("weft", mesh, address, agents),
      direct("near: no mesh", bare, near, none),
      direct("near: weft attest", mesh, near, { client: agents.client, server: [] }),
    ],
  };
}

async function startPeer(bed: Testbed, peer: Peer, context: PeerContext): Promise<Path> {
  const started = async (side: Side): Promise<readonly number[]> => {
    const file = `${bed.directory}/${peer.name}-${side}.conf`;
    await Deno.writeTextFile(file, peer.configure(side, context));
    const pid = await start(bed, PODS[side], peer.command(file));
    await listening(bed, PODS[side], Object.values(peer.ports));
    return processTree(pid);
  };
  const server = await started("server");
  const client = await started("client");
  const target = { hostname: "127.0.0.1", ports: peer.ports };
  return { name: peer.name, bed, target, proxies: { client, server } };
}

async function agentsOf(bed: Testbed): Promise<Path["proxies"]> {
  const [client, server] = (await bed.describe()).nodes.map(({ agentPid }) => agentPid);
  if (client === undefined || server === undefined) throw new Error("Cannot find weft's agents");
  return { client: processTree(client), server: processTree(server) };
}

/** Starts a program that runs until its testbed goes; returns its process id. */
async function start(bed: Testbed, pod: string, command: readonly string[]): Promise<number> {
  const log = `${bed.directory}/bench.log`;
  const limit = `ulimit -n ${4 * CONNECTIONS_MAX}; exec "$@" >>${log} 2>&1`;
  const child = await bed.spawn(pod, ["sh", "-c", limit, "sh", ...command], {
    stdin: "null",
    stdout: "null",
    stderr: "null",
  });
  child.unref();
  return child.pid;
}

/** Waits for listeners, by the pod's own table. */
async function listening(bed: Testbed, pod: string, ports: readonly number[]): Promise<void> {
  const tests = ports.map((port) => `ss -Htln "sport = :${port}" | grep -q .`).join(" && ");
  const script = `until ${tests}; do sleep 0.05; done`;
  const { code } = await bed.exec(pod, ["sh", "-c", script], { timeoutMs: LISTEN_TIMEOUT_MS });
  if (code === 0) return;
  const log = await checked(["tail", "-n", "20", `${bed.directory}/bench.log`]);
  throw new Error(`Cannot start what listens on ${ports.join(" and ")} in "${pod}":\n${log}`);
}

async function addressOf(bed: Testbed, pod: string): Promise<string> {
  const { addresses: [address] } = await bed.pod(pod);
  if (address === undefined) throw new Error(`Cannot find an address of "${pod}"`);
  return address;
}

/** Asks weft's inbound relay, as a client without a certificate: it says before it refuses. */
async function negotiatedCipher(bed: Testbed, address: string): Promise<string> {
  const place = `${address}:${APPLICATION.http}`;
  const { stdout, stderr } = await bed.exec("outside", ["openssl", "s_client", "-connect", place]);
  const cipher = /Cipher is (TLS_\w+)/.exec(stdout)?.[1];
  if (cipher === undefined) throw new Error(`Cannot learn weft's cipher: ${stdout}${stderr}`);
  return cipher;
}
