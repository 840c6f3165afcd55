/**
 * Everything that the connections of one worker share.
 *
 * Invariant: a worker has exactly one, and only `update` replaces the World in it; whoever holds a
 * connection is in `live` and is asked, after each change, whether it may stay.
 *
 * @module
 */

import type { TlsCallbacks } from "../../ffi/tls/callbacks.ts";
import type { Endpoint } from "../../ffi/linux/socket.ts";
import { formatAddress } from "../model/mod.ts";
import type { Reason } from "../reasons.ts";
import { Deadlines } from "./io/deadlines.ts";
import type { Door } from "./io/door.ts";
import { Handshakes } from "./io/handshakes.ts";
import { Loop } from "./io/loop.ts";
import type { Reporter } from "./io/reporter.ts";
import { Workspace } from "./io/workspace.ts";
import type { RelayEvent } from "./messages.ts";
import { TunnelPool } from "./path/pool.ts";
import type { Credentials } from "./tls/credentials.ts";
import { World } from "./world.ts";

/** A connection, or what waits to become one. */
export interface Live {
  /**
   * The World has changed: go on, or close yourself. `rootsRemoved`: chains must be proved again.
   */
  recheck(rootsRemoved: boolean): void;
  /** The relay ends. */
  stop(): void;
}

/** A refusal or a cut, as a connection tells of it. */
export interface Incident {
  readonly stage: "outbound" | "inbound";
  readonly verdict: RelayEvent["verdict"];
  readonly reason: Reason;
  readonly source: Endpoint;
  readonly target: Endpoint;
  readonly pod: string;
  readonly peerId?: string | undefined;
  readonly detail?: string | undefined;
}

export class Shop implements Disposable {
  readonly loop = new Loop();
  readonly space = new Workspace();
  readonly pool = new TunnelPool((change) => this.reporter.count("tunnels_idle", change));
  readonly live = new Set<Live>();
  readonly handshakes = new Handshakes();
  readonly callbacks: TlsCallbacks;
  readonly credentials: Credentials;
  readonly reporter: Reporter;
  readonly door: Door;
  /** Queues of equal intervals. */
  readonly deadlines = {
    /** From the first packet to a complete handshake, both ways. */
    handshake: new Deadlines(10_000),
    /** For a peer to become ready. */
    patience: new Deadlines(10_000),
    /** Idle tunnels: the client gives up first, so that it never opens on one that is closing. */
    idleClient: new Deadlines(60_000),
    idleServer: new Deadlines(90_000),
    /** For a short frame to find company. */
    company: new Deadlines(5),
    /** For a refused peer to read its alert. */
    linger: new Deadlines(1_000),
    /** For a ClientHello, where it need not come. */
    sniff: new Deadlines(10_000),
    /** of a peer's relay, to begin a handshake after the application has spoken */
    greeting: new Deadlines(2_000),
  } as const;
  #world = new World(NOTHING);

  constructor(parts: {
    readonly callbacks: TlsCallbacks;
    readonly credentials: Credentials;
    readonly reporter: Reporter;
    readonly door: Door;
  }) {
    this.callbacks = parts.callbacks;
    this.credentials = parts.credentials;
    this.reporter = parts.reporter;
    this.door = parts.door;
    for (const deadlines of Object.values(this.deadlines)) this.loop.watch(deadlines);
  }

  /** What is known now. */
  get world(): World {
    return this.#world;
  }

  /** Goes over to a new World; everyone who lives is judged by it. */
  update(world: World): void {
    const rootsRemoved = isRootRemoved(this.#world.snapshot.bundlePem, world.snapshot.bundlePem);
    this.#world = world;
    this.credentials.update(world);
    for (const one of [...this.live]) one.recheck(rootsRemoved);
  }

  /** Tells of a refusal or a cut. */
  tell(incident: Incident): void {
    const { stage, verdict, reason, source, target, pod, peerId, detail } = incident;
    if (verdict === "cut") this.reporter.count("cut");
    else if (verdict === "refuse") this.reporter.count(`refused_${stage}`);
    this.reporter.report({
      timeMs: Date.now(),
      stage,
      verdict,
      reason,
      source: formatAddress(source.address),
      sourcePort: source.port,
      target: formatAddress(target.address),
      targetPort: target.port,
      pod,
      ...(peerId !== undefined && { peerId }),
      ...(detail !== undefined && detail !== "" && { detail }),
    });
  }

  /** One that cannot stop keeps no other from it; the loop closes what it has left open. */
  #stop(one: Live): void {
    try {
      one.stop();
    } catch (error) {
      this.loop.onFault(error);
    }
  }

  [Symbol.dispose](): void {
    for (const one of [...this.live]) this.#stop(one);
    this.loop[Symbol.dispose]();
    this.credentials[Symbol.dispose]();
    this.space[Symbol.dispose]();
  }
}

const NOTHING = { revision: 0, trustDomain: "", bundlePem: "", pods: [], peers: [], cidrs: [] };

/** Whether some root of the old bundle is not in the new one. */
function isRootRemoved(before: string, after: string): boolean {
  if (before === after) return false;
  const kept = new Set(blocks(after));
  return blocks(before).some((block) => !kept.has(block));
}

function blocks(pem: string): string[] {
  return pem.split("-----END CERTIFICATE-----").map((part) => part.replaceAll(/\s/g, ""))
    .filter((part) => part !== "");
}
