// deno-lint-ignore-file no-await-in-loop -- a test does one thing after the other
/**
 * Two pods in network namespaces of their own, joined by a veth, each with a relay worker:
 * everything of the relay but eBPF. Whoever makes one disposes of it; then nothing is left.
 *
 * @module
 */

import * as net from "node:net";
import { Buffer } from "node:buffer";
import { once } from "node:events";
import { connect, openTcpSocket } from "@/ffi/linux/socket.ts";
import { openEventfd, raiseEventfd } from "@/ffi/linux/eventfd.ts";
import type { Fd } from "@/ffi/fd.ts";
import { netnsCookie, openNetns, withNetns } from "@/ffi/linux/netns.ts";
import { parseAddress } from "@/src/model/address.ts";
import { COUNTERS_BYTES } from "@/src/relay/io/reporter.ts";
import {
  type Counter,
  COUNTERS,
  type RelayEvent,
  type RelayPeer,
  type RelayPod,
  type RelaySnapshot,
} from "@/src/relay/messages.ts";
import type { Signer } from "@/src/identity/x509/sign.ts";
import { namespaceName, removeStrayNamespaces } from "@/tests/support/namespaces.ts";
import {
  makeIssuer,
  makeRoot,
  makeSvid,
  type TestIdentity,
} from "@/tests/unit/relay/certificates.ts";
import type { FromRig, RigDoor } from "./relay_rig_worker.ts";

export const CLIENT_ADDRESS = "10.77.1.2";
export const SERVER_ADDRESS = "10.77.2.2";
export const APP_PORT = 8080;

const CLIENT_ID = "spiffe://cluster.local/ns/a/sa/client";
const SERVER_ID = "spiffe://cluster.local/ns/b/sa/server";

/** Everything that the rig's certificates hang on. */
export interface RigIdentities {
  readonly rootPem: string;
  /** Of the root, of both pods' nodes and for those outside; for certificates of a test's own. */
  readonly issuers: Readonly<Record<"root" | "n1" | "n2" | "external", Signer>>;
  readonly client: TestIdentity;
  readonly server: TestIdentity;
  readonly external: TestIdentity;
  readonly foreign: TestIdentity;
  readonly expired: TestIdentity;
  readonly otherDomain: TestIdentity;
}

/** One namespace with its relay. */
export class RigPod implements AsyncDisposable {
  readonly key: string;
  readonly address: string;
  readonly netns: Fd;
  readonly name: string;
  readonly events: RelayEvent[] = [];
  readonly refusals: string[] = [];
  readonly marked: number[] = [];
  readonly ports = new Map<string, number>();
  readonly counters = new SharedArrayBuffer(COUNTERS_BYTES);
  readonly #worker: Worker;
  readonly #wake = openEventfd("rig");
  readonly #listeners: ((message: FromRig) => void)[] = [];

  constructor(name: string, key: string, address: string, keylogFile?: string) {
    this.name = name;
    this.key = key;
    this.address = address;
    this.netns = openNetns(`/run/netns/${name}`);
    this.#worker = new Worker(import.meta.resolve("./relay_rig_worker.ts"), { type: "module" });
    this.#worker.onmessage = ({ data }: MessageEvent<FromRig>) => this.#receive(data);
    this.#worker.postMessage({
      type: "start",
      index: 0,
      config: { workers: 1, ...(keylogFile && { keylogFile }) },
      wakeFd: this.#wake.raw,
      counters: this.counters,
      ticketSecret: new Uint8Array(32),
    });
  }

  count(counter: Counter): number {
    return new Float64Array(this.counters)[COUNTERS.indexOf(counter)] ?? 0;
  }

  async setDoor(door: RigDoor): Promise<void> {
    const ready = this.message((message) => message.type === "ready");
    this.#tell({ type: "rig", door });
    await ready;
  }

  /** Puts the worker's clocks forward: the steady one of its deadlines, or the wall's, in ms. */
  async passTime(
    { steadyMs = 0, wallMs = 0 }: { readonly steadyMs?: number; readonly wallMs?: number },
  ): Promise<void> {
    const ready = this.message((message) => message.type === "ready");
    this.#tell({ type: "clock", steadyMs, wallMs });
    await ready;
  }

  async apply(snapshot: RelaySnapshot): Promise<void> {
    const applied = this.message((m) => m.type === "applied" && m.revision === snapshot.revision);
    this.#tell({ type: "snapshot", snapshot });
    await applied;
  }

  /** The next connection whose application speaks meets a defect of the relay's. */
  async plantDefect(): Promise<void> {
    const ready = this.message((message) => message.type === "ready");
    this.#tell({ type: "defect" });
    await ready;
  }

  /** The kernel, if there were one, works by the last snapshot. */
  async settle(): Promise<void> {
    const ready = this.message((message) => message.type === "ready");
    this.#tell({ type: "settled" });
    await ready;
  }

  /** Stops the worker's thread; what happens meanwhile it meets in one batch when it is thawed. */
  async freeze(): Promise<() => void> {
    const thaw = new SharedArrayBuffer(4);
    const frozen = this.message((message) => message.type === "frozen");
    this.#tell({ type: "freeze", thaw });
    await frozen;
    return () => {
      Atomics.store(new Int32Array(thaw), 0, 1);
      Atomics.notify(new Int32Array(thaw), 0);
    };
  }

  /** The next message that `wanted` accepts. */
  message(wanted: (message: FromRig) => boolean): Promise<FromRig> {
    return new Promise((resolve) => {
      const listener = (message: FromRig) => {
        if (!wanted(message)) return;
        this.#listeners.splice(this.#listeners.indexOf(listener), 1);
        resolve(message);
      };
      this.#listeners.push(listener);
    });
  }

  /** The first event that has come, or comes, with `reason`. */
  async event(reason: string): Promise<RelayEvent> {
    for (;;) {
      const index = this.events.findIndex((event) => event.reason === reason);
      if (index >= 0) return this.events.splice(index, 1)[0] as RelayEvent;

      await this.message((message) => message.type === "events");
    }
  }

  /** Connects from within the namespace. */
  dial(address: string, port: number): net.Socket {
    const bytes = parseAddress(address);
    if (bytes === undefined) throw new TypeError(`Cannot dial "${address}"`);
    const fd = withNetns(this.netns, () => {
      const raw = openTcpSocket(bytes);
      connect(raw, { address: bytes, port });
      return raw;
    });
    return new net.Socket({ fd, allowHalfOpen: true } as net.SocketConstructorOpts);
  }

  /** What an application does whose connection is steered. */
  dialOut(): net.Socket {
    return this.dial("127.0.0.1", this.ports.get("outbound") ?? 0);
  }

  listen(port: number): Deno.TcpListener {
    return withNetns(this.netns, () => Deno.listen({ hostname: "0.0.0.0", port }));
  }

  /** Runs a command within the namespace. */
  command(program: string, args: string[]): Deno.Command {
    return new Deno.Command("ip", {
      args: ["netns", "exec", this.name, program, ...args],
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    });
  }

  /** Ends the worker. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#wake.closed) return;
    const stopped = this.message((message) => message.type === "stopped");
    this.#tell({ type: "stop", graceMs: 0 });
    await stopped;
    this.#worker.terminate();
    this.#wake.close();
    this.netns.close();
  }

  #tell(message: unknown): void {
    this.#worker.postMessage(message);
    raiseEventfd(this.#wake.raw);
  }

  #receive(message: FromRig): void {
    if (message.type === "failed") throw new Error(message.message);
    if (message.type === "events") this.events.push(...message.events);
    if (message.type === "refused") this.refusals.push(message.reason);
    if (message.type === "marked") this.marked.push(message.port);
    if (message.type === "listener") this.ports.set(message.direction, message.port);
    for (const listener of [...this.#listeners]) listener(message);
  }
}

/** Client and server, and the snapshot that both know. */
export class Rig implements AsyncDisposable {
  readonly client: RigPod;
  readonly server: RigPod;
  readonly identities: RigIdentities;
  readonly #names: readonly string[];
  #revision = 0;
  snapshot: RelaySnapshot;

  private constructor(names: readonly string[], identities: RigIdentities, keylog?: string) {
    this.#names = names;
    this.identities = identities;
    this.client = new RigPod(names[0] ?? "", "a/client", CLIENT_ADDRESS, keylog);
    this.server = new RigPod(names[1] ?? "", "b/server", SERVER_ADDRESS, keylog);
    this.snapshot = this.#firstSnapshot();
  }

  static async open({ keylog }: { keylog?: string } = {}): Promise<Rig> {
    await removeStrayNamespaces();
    const names = [namespaceName(), namespaceName()] as const;
    await setUp(names);
    const rig = new Rig(names, await makeIdentities(), keylog);
    await rig.update(rig.snapshot);
    await rig.client.setDoor({
      outboundTarget: { address: SERVER_ADDRESS, port: rig.server.ports.get("inbound") ?? 0 },
    });
    await rig.server.setDoor({ inboundPort: APP_PORT });
    return rig;
  }

  /** Gives both relays a changed snapshot. */
  async update(changes: Partial<RelaySnapshot>): Promise<void> {
    this.snapshot = { ...this.snapshot, ...changes, revision: ++this.#revision };
    const { pods } = this.snapshot;
    await Promise.all(
      [this.client, this.server].map((pod) =>
        pod.apply({ ...this.snapshot, pods: pods.filter(({ key }) => key === pod.key) })
      ),
    );
  }

  /** The snapshot's peers, with one of them changed. */
  peersWith(key: string, changes: Partial<RelayPeer>): RelayPeer[] {
    return this.snapshot.peers.map((peer) => peer.key === key ? { ...peer, ...changes } : peer);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.client[Symbol.asyncDispose]();
    await this.server[Symbol.asyncDispose]();
    for (const name of this.#names) await ip("netns", "del", name);
  }

  #firstSnapshot(): RelaySnapshot {
    const { identities } = this;
    const pod = (rig: RigPod, svid: TestIdentity, slot: number): RelayPod => ({
      key: rig.key,
      slot,
      addresses: [rig.address],
      netnsFd: rig.netns.raw,
      netnsCookie: netnsCookie(rig.netns),
      source: "mesh",
      svid,
    });
    return {
      revision: 0,
      trustDomain: "cluster.local",
      bundlePem: identities.rootPem,
      pods: [pod(this.client, identities.client, 1), pod(this.server, identities.server, 1)],
      peers: [
        peer(this.client, "n1", "a", "client", CLIENT_ID),
        peer(this.server, "n2", "b", "server", SERVER_ID),
      ],
      cidrs: ["10.77.0.0/16"],
    };
  }
}

/** All that a socket receives until it ends; rejects when it is reset. */
export async function readAll(socket: net.Socket): Promise<string> {
  const chunks: Buffer[] = [];
  socket.on("data", (chunk: Buffer) => chunks.push(chunk));
  await once(socket, "end");
  return Buffer.concat(chunks).toString("latin1");
}

function peer(
  pod: RigPod,
  node: string,
  namespace: string,
  serviceAccount: string,
  spiffeId: string,
): RelayPeer {
  return {
    address: pod.address,
    kind: "pod",
    key: pod.key,
    namespace,
    serviceAccount,
    spiffeId,
    node,
    nodeUid: `uid-${node}`,
    source: "mesh",
    mode: "strict",
    where: "remote",
    ports: [],
  };
}

async function makeIdentities(): Promise<RigIdentities> {
  const root = await makeRoot();
  const [n1, n2] = [await makeIssuer(root, "n1"), await makeIssuer(root, "n2")];
  const external = await makeIssuer(root, "external", "external");
  const stranger = await makeIssuer(await makeRoot(), "n1");
  const past = { notBeforeMs: Date.now() - 7_200_000, notAfterMs: Date.now() - 3_600_000 };
  return {
    rootPem: root.pem,
    issuers: { root, n1, n2, external },
    client: await makeSvid(n1, CLIENT_ID),
    server: await makeSvid(n2, SERVER_ID),
    external: await makeSvid(external, "spiffe://cluster.local/external/x"),
    foreign: await makeSvid(stranger, CLIENT_ID),
    expired: await makeSvid(n1, CLIENT_ID, past),
    otherDomain: await makeSvid(n1, "spiffe://other.example/ns/a/sa/client"),
  };
}

async function setUp([client, server]: readonly [string, string]): Promise<void> {
  await ip("netns", "add", client);
  await ip("netns", "add", server);
  await ip(
    "-n",
    client,
    "link",
    "add",
    "eth0",
    "type",
    "veth",
    "peer",
    "name",
    "eth0",
    "netns",
    server,
  );
  for (const [name, address] of [[client, CLIENT_ADDRESS], [server, SERVER_ADDRESS]] as const) {
    await ip("-n", name, "addr", "add", `${address}/16`, "dev", "eth0");
    await ip("-n", name, "link", "set", "lo", "up");
    await ip("-n", name, "link", "set", "eth0", "up");
  }
}

async function ip(...args: string[]): Promise<void> {
  const { success, stderr } = await new Deno.Command("ip", { args }).output();
  if (!success) throw new Error(`ip ${args.join(" ")}: ${new TextDecoder().decode(stderr)}`);
}
