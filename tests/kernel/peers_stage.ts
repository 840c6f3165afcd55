// deno-lint-ignore-file no-await-in-loop -- a test does one thing after the other
/**
 * The stage on which peers misbehave: the relay's rig with an application that answers, a good
 * connection to hold beside, and the numbers that must return.
 *
 * Invariant: the application remembers every byte that it was given, so "no byte reached it" is
 * looked up and not assumed.
 *
 * @module
 */

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type Server, type Socket } from "node:net";
import { withNetns } from "@/ffi/linux/netns.ts";
import type { RelayEvent } from "@/src/relay/messages.ts";
import { type PeerOptions, TlsPeer } from "./peers_tls.ts";
import { APP_PORT, readAll, Rig, type RigPod } from "./relay_rig.ts";

/** Where a server stands that is no relay of ours. */
export const ROGUE_PORT = 9443;

export const CLIENT_ID = "spiffe://cluster.local/ns/a/sa/client";
export const SERVER_ID = "spiffe://cluster.local/ns/b/sa/server";

const GOOD = "good";

export class Stage implements AsyncDisposable {
  readonly rig: Rig;
  /** What each connection of the application has received, in the order of their acceptance. */
  readonly received: string[] = [];
  /** How each has ended, once it has. */
  readonly ended: ("end" | "reset")[] = [];
  readonly #listener: Deno.TcpListener;
  readonly #apps = new Set<Deno.TcpConn>();
  #rogue: Server | undefined;
  #good: { readonly client: Socket; rounds: number } | undefined;

  private constructor(rig: Rig) {
    this.rig = rig;
    this.#listener = rig.server.listen(APP_PORT);
    void this.#serve();
  }

  static async open(): Promise<Stage> {
    return new Stage(await Rig.open());
  }

  /** The port of the server's relay that takes what the kernel steers to it. */
  get inbound(): number {
    return this.rig.server.ports.get("inbound") ?? 0;
  }

  /** A bare connection to the server's relay, from the client pod's address. */
  dial(): Socket {
    const socket = this.rig.client.dial(this.rig.server.address, this.inbound);
    watchEnd(socket);
    return socket;
  }

  /** A TLS client at the server's relay; it shows the client pod's own certificate. */
  peer(options: PeerOptions = {}): TlsPeer {
    const { client } = this.rig.identities;
    return new TlsPeer(this.dial(), { identity: client, protocols: ["weft/1"], ...options });
  }

  /** Opens the good connection that lives beside all else, or uses it once more. */
  async assertGoodLives(): Promise<void> {
    if (this.#good === undefined) {
      const client = this.rig.client.dialOut();
      client.on("error", () => {});
      this.#good = { client, rounds: 0 };
    }
    const { client } = this.#good;
    client.write(GOOD);
    const [answer] = await soon(once(client, "data"), "answer on the good connection");
    assert.equal(String(answer), GOOD);
    this.#good.rounds++;
    const fresh = this.rig.client.dialOut();
    fresh.write(GOOD);
    const [first] = await soon(once(fresh, "data"), "answer on a new connection");
    assert.equal(String(first), GOOD);
    const closed = readAll(fresh);
    fresh.end();
    await closed;
  }

  /** What the application was given that no good client sent. */
  get strayBytes(): string[] {
    return this.received.filter((text) => text.replaceAll(GOOD, "") !== "");
  }

  /** The server's next event: it must refuse the client pod, or cut it, for this reason. */
  async objection(
    reason: string,
    { verdict = "refuse", detail = /(?:)/ }: { verdict?: string; detail?: RegExp } = {},
  ): Promise<void> {
    const event = await nextEvent(this.rig.server);
    assert.equal(event.reason, reason, event.detail);
    assert.match(event.detail ?? "", detail);
    assert.equal(event.verdict, verdict);
    assert.equal(event.stage, "inbound");
    assert.equal(event.source, this.rig.client.address);
    assert.equal(event.targetPort, APP_PORT);
    assert.equal(this.rig.server.refusals.pop(), reason, "the kernel is told the same cause");
  }

  /** The client's next event: its relay must refuse the server, or cut it, for this reason. */
  async objectionToServer(
    reason: string,
    { verdict = "refuse", detail = /(?:)/ }: { verdict?: string; detail?: RegExp } = {},
  ): Promise<void> {
    const event = await nextEvent(this.rig.client);
    assert.equal(event.reason, reason, event.detail);
    assert.match(event.detail ?? "", detail);
    assert.equal(event.verdict, verdict);
    assert.equal(event.stage, "outbound");
    assert.equal(event.target, this.rig.server.address);
  }

  /** Forgets what was told before: a test listens to its own events alone. */
  hush(): void {
    for (const pod of [this.rig.client, this.rig.server]) {
      pod.events.length = 0;
      pod.refusals.length = 0;
    }
  }

  /**
   * An application of the client pod says "secret" to a server that is none of ours: its own end,
   * and the server's, to which the client's relay has connected. Dials after it go to our server.
   */
  async dialRogue(): Promise<{ readonly app: Socket; readonly socket: Socket }> {
    const { client, server } = this.rig;
    this.#rogue ??= await this.#openRogue();
    const dialled = once(this.#rogue, "connection");
    await client.setDoor({ outboundTarget: { address: server.address, port: ROGUE_PORT } });
    const app = client.dialOut();
    watchEnd(app);
    app.write("secret");
    const [socket] = await soon(dialled, "dial of the client's relay") as [Socket];
    watchEnd(socket);
    await client.setDoor({ outboundTarget: { address: server.address, port: this.inbound } });
    return { app, socket };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#good?.client.destroy();
    this.#listener.close();
    this.#rogue?.close();
    for (const app of this.#apps) app.close();
    this.#apps.clear();
    await this.rig[Symbol.asyncDispose]();
  }

  async #openRogue(): Promise<Server> {
    const listener = createServer({ allowHalfOpen: true });
    // Without a host name node:net binds before it returns, and so in this namespace.
    withNetns(this.rig.server.netns, () => listener.listen(ROGUE_PORT));
    if (!listener.listening) await once(listener, "listening");
    return listener;
  }

  async #serve(): Promise<void> {
    for (;;) {
      try {
        const app = await this.#listener.accept();
        void this.#echo(app);
      } catch (error) {
        // Reset before it was accepted: the next one may be whole.
        if (error instanceof Deno.errors.NotConnected) continue;
        return; // the stage is closed
      }
    }
  }

  async #echo(app: Deno.TcpConn): Promise<void> {
    const at = this.received.push("") - 1;
    this.#apps.add(app);
    const buffer = new Uint8Array(4096);
    try {
      for (let n = await app.read(buffer); n !== null; n = await app.read(buffer)) {
        this.received[at] += new TextDecoder("latin1").decode(buffer.subarray(0, n));
        await app.write(buffer.subarray(0, n));
      }
      this.ended[at] = "end";
    } catch {
      this.ended[at] = "reset";
    }
    if (this.#apps.delete(app)) app.close(); // else the stage has closed it
  }
}

/** The first event that has come, or comes, of any cause. */
export async function nextEvent(pod: RigPod): Promise<RelayEvent> {
  if (pod.events.length === 0) {
    await soon(pod.message(({ type }) => type === "events"), `an event of ${pod.key}`);
  }
  return pod.events.shift() as RelayEvent;
}

/** What comes within five seconds, or the test fails: nothing here takes longer by itself. */
export async function soon<T>(promise: Promise<T>, what: string): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new assert.AssertionError({ message: `no ${what}` })), 5000);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** How a connection ends that the stage has made: the code of its error, or "end". */
export function endOf(socket: Socket): Promise<string> {
  socket.resume();
  return soon(ends.get(socket) ?? Promise.resolve("unknown"), "end of the connection");
}

/** Sockets tell their end once, maybe before a test asks. */
const ends = new WeakMap<Socket, Promise<string>>();

function watchEnd(socket: Socket): void {
  socket.setNoDelay(true); // a byte that is written has left
  const { promise, resolve } = Promise.withResolvers<string>();
  socket.on("error", (error: NodeJS.ErrnoException) => resolve(error.code ?? "error"));
  socket.on("end", () => resolve("end"));
  ends.set(socket, promise);
}

/** Descriptors of this process: of the test and of both relays. */
export function openDescriptors(): number {
  return [...Deno.readDirSync("/proc/self/fd")].length;
}

/** Resident memory of this process. */
export function residentBytes(): number {
  const pages = Deno.readTextFileSync("/proc/self/statm").split(" ")[1];
  return Number(pages) * 4096;
}

/**
 * Waits until `holds`. Counters in shared memory and descriptors of the kernel announce their
 * change to nobody, so they are looked at; after ten seconds the test fails and says what it saw.
 */
export async function until(what: string, holds: () => boolean): Promise<void> {
  const endMs = performance.now() + 10_000;
  while (!holds()) {
    if (performance.now() > endMs) assert.fail(`it never came true that ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** Waits until a pod's counter has a value. */
export function untilCount(
  pod: RigPod,
  counter: Parameters<RigPod["count"]>[0],
  value: number,
): Promise<void> {
  return until(`${counter} of ${pod.key} is ${value}`, () => pod.count(counter) === value);
}
