// deno-lint-ignore-file no-await-in-loop -- one step at a time, to name the one that fails
/**
 * A node of two pods for tests of the datapath: namespaces with a bridge, IPv4 and IPv6, a cgroup
 * that this process moves into, a bpffs directory, and the real `Datapath` on top.
 *
 * Everything is named after this process and removed by disposal.
 *
 * @module
 */

import assert from "node:assert/strict";
import { withNetns } from "@/ffi/linux/netns.ts";
import { mountBpf, unmount } from "@/ffi/linux/filesystem.ts";
import {
  type AddressEntry,
  emptyPlan,
  type LocalPod,
  type ModeClass,
  type Plan,
  type PortEntry,
  portKey,
  type ServiceEntry,
  type SourceClass,
  type Where,
} from "@/src/compile/mod.ts";
import { Datapath, type DatapathOptions, removeDatapath } from "@/src/load/mod.ts";
import { openLog } from "@/src/log.ts";
import { eventually, run, TestCgroup, TestNetns } from "./ffi_fixture.ts";

/** What a test says of one pod. */
export interface PodWish {
  readonly source?: SourceClass;
  readonly mode?: ModeClass;
  readonly where?: Where;
  readonly ports?: Readonly<Record<number, ModeClass>>;
  /** The plan does not have it. */
  readonly absent?: boolean;
  /** The plan says that its namespace is where none is. */
  readonly lost?: boolean;
}

/** How the datapath is opened. */
export type NodeOptions = Partial<
  Pick<DatapathOptions, "workers" | "hooks" | "capacities" | "limits">
>;

/** What a plan has besides both pods and the node. */
export type Others = Partial<Pick<Plan, "cidrs" | "addresses">>;

export type PodName = "a" | "b";

const PODS: Readonly<Record<PodName, readonly [string, string]>> = {
  a: ["10.99.0.2", "fd99::2"],
  b: ["10.99.0.3", "fd99::3"],
};

/** Addresses of the pods: IPv4, IPv6. */
export const ADDRESSES = PODS;

/** One node with the pods `a` and `b`, and an outside host on the same wire. */
export class TestNode implements AsyncDisposable {
  readonly pins: string;
  #datapath: Datapath;
  readonly #cgroup: string;
  readonly #stack: AsyncDisposableStack;
  readonly #spaces: ReadonlyMap<string, TestNetns>;
  readonly #log: string[];

  private constructor(
    stack: AsyncDisposableStack,
    spaces: ReadonlyMap<string, TestNetns>,
    pins: string,
    cgroup: string,
    options: NodeOptions,
  ) {
    this.#stack = stack;
    this.#spaces = spaces;
    this.pins = pins;
    this.#cgroup = cgroup;
    this.#log = [];
    this.#datapath = this.#open(options);
    stack.defer(() => this.#datapath[Symbol.dispose]());
  }

  static async create(options: NodeOptions = {}): Promise<TestNode> {
    await using stack = new AsyncDisposableStack();
    const spaces = new Map<string, TestNetns>();
    // One after the other: each is torn down in reverse.
    for (const name of ["node", "a", "b", "outside"]) {
      spaces.set(name, stack.use(await TestNetns.create()));
    }
    await wire(spaces);
    const cgroup = stack.use(new TestCgroup());
    stack.defer(() => eventually("what was killed is gone", () => isEmpty(cgroup)));
    stack.use(joinCgroup(cgroup.path));
    const directory = await Deno.makeTempDir({ prefix: "weft-datapath-" });
    stack.defer(() => Deno.remove(directory));
    mountBpf(directory);
    stack.defer(() => unmount(directory));
    const pins = `${directory}/weft`;
    stack.defer(() => void removeDatapath(pins));
    const moved = stack.move();
    try {
      return new TestNode(moved, spaces, pins, cgroup.path, options);
    } catch (error) {
      await moved.disposeAsync();
      throw error;
    }
  }

  get datapath(): Datapath {
    return this.#datapath;
  }

  /** Another agent takes over: what was there is let go of, and opened again. */
  restart(options: NodeOptions = {}): void {
    this.#datapath[Symbol.dispose]();
    this.#datapath = this.#open(options);
  }

  #open(options: NodeOptions): Datapath {
    const log = openLog({ write: (line) => this.#log.push(line) });
    const { pins: bpffs } = this;
    const all = { bpffs, cgroup: this.#cgroup, workers: 1, patienceMs: 10_000, log, ...options };
    return withNetns(spaceOf(this.#spaces, "node").fd, () => new Datapath(all));
  }

  /** Brings the kernel to a plan with both pods as wished. */
  apply(
    wishes: Partial<Record<PodName, PodWish>>,
    services: readonly ServiceEntry[] = [],
    { cidrs = [], addresses = new Map() }: Others = {},
  ): void {
    const pods = planOf(wishes, services, (name) => `/run/netns/${this.space(name).name}`);
    const plan = { ...pods, cidrs, addresses: new Map([...pods.addresses, ...addresses]) };
    this.inNode(() => {
      this.datapath.find(plan);
      this.datapath.apply(plan);
    });
    if (this.datapath.failures.size > 0) {
      throw new Error([...this.datapath.failures.values()].join());
    }
  }

  /** Runs a synchronous action in the node's namespace. */
  inNode<T>(action: () => T extends PromiseLike<unknown> ? never : T): T {
    return withNetns(this.space("node").fd, action);
  }

  space(name: string): TestNetns {
    return spaceOf(this.#spaces, name);
  }

  /** Runs a program in a namespace, with the cgroup hooks unless `unhooked`. */
  async command(where: string, ...command: string[]): Promise<CommandResult> {
    const args = [`--net=/run/netns/${this.space(where).name}`, ...command];
    const started = performance.now();
    const { code, stdout, stderr } = await new Deno.Command("nsenter", { args }).output();
    const decoder = new TextDecoder();
    return {
      code,
      text: decoder.decode(stdout) + decoder.decode(stderr),
      elapsedMs: performance.now() - started,
    };
  }

  /** Says what a TCP connection gets: the peer's greeting, or why not. */
  async dial(from: string, address: string, port: number): Promise<string> {
    const { text } = await this.command(from, "nc", "-v", "-w", "2", "-d", address, String(port));
    if (text.includes("refused")) return "refused";
    if (text.includes("timed out")) return "timeout";
    return text.includes(GREETING) ? "served" : text;
  }

  /** A server in a pod that greets whoever connects and remembers what they send. */
  serve(where: PodName | "node" | "outside", port: number, keep = false): TestServer {
    return withNetns(this.space(where).fd, () => new TestServer(port, keep));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#stack.disposeAsync();
  }

  get log(): readonly string[] {
    return this.#log;
  }
}

export interface CommandResult {
  readonly code: number;
  readonly text: string;
  readonly elapsedMs: number;
}

const GREETING = "weft-greeting";

/** Greets every connection, and closes it or keeps it open until disposed. */
export class TestServer implements AsyncDisposable {
  readonly received: string[] = [];
  readonly peers: string[] = [];
  readonly #listener: Deno.TcpListener;
  readonly #connections = new Set<Deno.TcpConn>();
  readonly #keep: boolean;
  readonly #work: Promise<void>;

  constructor(port: number, keep: boolean) {
    this.#keep = keep;
    this.#listener = Deno.listen({ hostname: "::", port });
    this.#work = this.#accept();
  }

  async #accept(): Promise<void> {
    const served: Promise<void>[] = [];
    for await (const connection of this.#listener) served.push(this.#serve(connection));
    await Promise.allSettled(served);
  }

  async #serve(connection: Deno.TcpConn): Promise<void> {
    this.#connections.add(connection);
    this.peers.push(connection.remoteAddr.hostname);
    try {
      await connection.write(new TextEncoder().encode(`${GREETING}\n`));
      if (!this.#keep) await connection.closeWrite();
      for await (const chunk of connection.readable) {
        this.received.push(new TextDecoder().decode(chunk));
      }
    } catch {
      // Reset by a test: that is what it is about.
    } finally {
      this.#connections.delete(connection);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    for (const connection of this.#connections) {
      try {
        connection.close();
      } catch {
        // The reader has closed it.
      }
    }
    await this.#work;
  }
}

/** Waits until a server has got `text`. */
export async function received(list: readonly string[], text: string): Promise<void> {
  const deadline = performance.now() + 5000;
  while (!list.join("").includes(text)) {
    assert.ok(performance.now() < deadline, `never received ${text}: ${list}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

async function wire(spaces: ReadonlyMap<string, TestNetns>): Promise<void> {
  const node = spaceOf(spaces, "node").name;
  const script = [
    `ip -n ${node} link add br0 type bridge`,
    `ip -n ${node} addr add 10.99.0.1/24 dev br0`,
    `ip -n ${node} addr add fd99::1/64 dev br0 nodad`,
    `ip -n ${node} link set br0 up`,
    ...[["a", 2], ["b", 3], ["outside", 9]].flatMap(([name, host]) => {
      const space = spaceOf(spaces, String(name)).name;
      return [
        `ip -n ${node} link add v${name} type veth peer name eth0 netns ${space}`,
        `ip -n ${node} link set v${name} master br0 up`,
        `ip -n ${space} addr add 10.99.0.${host}/24 dev eth0`,
        `ip -n ${space} addr add fd99::${host}/64 dev eth0 nodad`,
        `ip -n ${space} link set eth0 up`,
        `ip -n ${space} route add default via 10.99.0.1`,
      ];
    }),
  ];
  await run("sh", "-ec", script.join("\n"));
}

function spaceOf(spaces: ReadonlyMap<string, TestNetns>, name: string): TestNetns {
  const space = spaces.get(name);
  if (!space) throw new Error(`No namespace "${name}"`);
  return space;
}

/** Whether no process is in a cgroup, not even one that is dying. */
function isEmpty({ path }: TestCgroup): boolean {
  return Deno.readTextFileSync(`${path}/cgroup.events`).includes("populated 0");
}

/** Moves this process into a cgroup, and back. */
function joinCgroup(path: string): Disposable {
  const mount = path.slice(0, path.lastIndexOf("/"));
  const own = Deno.readTextFileSync("/proc/self/cgroup").match(/^0::(.*)$/m)?.[1] ?? "/";
  Deno.writeTextFileSync(`${path}/cgroup.procs`, String(Deno.pid));
  return {
    [Symbol.dispose]: () =>
      Deno.writeTextFileSync(`${mount}${own === "/" ? "" : own}/cgroup.procs`, String(Deno.pid)),
  };
}

function planOf(
  wishes: Partial<Record<PodName, PodWish>>,
  services: readonly ServiceEntry[],
  netnsOf: (name: string) => string,
): Plan {
  const addresses = new Map<string, AddressEntry>();
  const ports = new Map<string, PortEntry>();
  const localPods = new Map<string, LocalPod>();
  const nodeFlags = { local: false, ports: false, strict: false, host: true };
  const node = { source: "node", mode: "none", where: "encrypt", flags: nodeFlags } as const;
  for (const address of ["10.99.0.1", "fd99::1"]) addresses.set(address, node);
  for (const name of ["a", "b"] as const) {
    if (wishes[name]?.absent) continue;
    const { source = "plain", mode = "none", where = "encrypt", ports: overrides = {} } =
      wishes[name] ?? {};
    const key = `default/${name}`;
    const strict = mode === "strict" || Object.values(overrides).includes("strict");
    const hasPorts = Object.keys(overrides).length > 0;
    const flags = { local: true, ports: hasPorts, strict, host: false };
    const netns = wishes[name]?.lost ? "/run/netns/weft-lost" : netnsOf(name);
    localPods.set(key, { key, addresses: PODS[name], netns, source });
    for (const address of PODS[name]) {
      addresses.set(address, { source, mode, where, flags, pod: key });
      for (const [text, override] of Object.entries(overrides)) {
        const entry = { address, port: Number(text), proto: "TCP", mode: override, where } as const;
        ports.set(portKey(address, entry.port, "TCP"), entry);
      }
    }
  }
  return { ...emptyPlan(), addresses, ports, localPods, services };
}
