/**
 * A relay worker whose door leads nowhere: connections are dialled at its listeners directly.
 *
 * @module
 */

import { type Endpoint, socketName } from "@/ffi/linux/socket.ts";
import { parseAddress } from "@/src/model/address.ts";
import { Deadlines, Waiter } from "@/src/relay/io/deadlines.ts";
import type { Door } from "@/src/relay/io/door.ts";
import type { FromWorker, ToWorker } from "@/src/relay/messages.ts";
import { Stream } from "@/src/relay/path/stream.ts";
import { WorkerRelay } from "@/src/relay/worker_relay.ts";

/** What a rig's worker is told besides. */
export interface RigDoor {
  readonly outboundTarget?: { readonly address: string; readonly port: number };
  readonly inboundPort?: number;
  /** The kernel takes no mark. */
  readonly isFull?: boolean;
}

/** What it tells besides. */
export type FromRig =
  | FromWorker
  | { readonly type: "listener"; readonly direction: string; readonly port: number }
  | { readonly type: "ready" }
  | { readonly type: "frozen" }
  | { readonly type: "refused"; readonly reason: string }
  | { readonly type: "marked"; readonly port: number };

const scope = self as unknown as {
  onmessage: ((event: MessageEvent) => void) | null;
  postMessage(message: FromRig): void;
  close(): void;
};

let relay: WorkerRelay | undefined;
let rigDoor: RigDoor = {};

/** How far the clocks of this worker are ahead of the machine's: a test does not wait. */
const ahead = { steadyMs: 0, wallMs: 0 };
const [steady, wall] = [performance.now.bind(performance), Date.now];
performance.now = () => steady() + ahead.steadyMs;
Date.now = () => wall() + ahead.wallMs;

const door: Door = {
  takeSteered() {
    const { address, port } = rigDoor.outboundTarget ?? { address: "", port: 0 };
    const target = { address: parseAddress(address) ?? new Uint8Array(16), port };
    return { target, dialled: target };
  },
  inboundTarget(local: Endpoint): Endpoint {
    return { address: local.address, port: rigDoor.inboundPort ?? local.port };
  },
  refuse(_local, _remote, reason) {
    scope.postMessage({ type: "refused", reason });
  },
  markOutbound() {
    if (rigDoor.isFull) throw new TypeError("Cannot mark a socket");
  },
  markInbound(_fd, client) {
    scope.postMessage({ type: "marked", port: client.port });
  },
  offerListener(_slot, direction, _worker, fd) {
    scope.postMessage({ type: "listener", direction, port: socketName(fd)?.port ?? 0 });
  },
  beat() {},
};

const inbox = { received: 0 };

type ToRig =
  | ToWorker
  | { readonly type: "rig"; readonly door: RigDoor }
  /** Does nothing until the first number is 1. */
  | { readonly type: "freeze"; readonly thaw: SharedArrayBuffer }
  /** The next time that an application's bytes are taken, it throws. */
  | { readonly type: "defect" }
  | { readonly type: "clock"; readonly steadyMs: number; readonly wallMs: number };

scope.onmessage = ({ data }: MessageEvent<ToRig>) => {
  try {
    if (data.type === "start") return start(data);
    inbox.received++;
    if (data.type === "rig") {
      rigDoor = data.door;
      scope.postMessage({ type: "ready" });
    } else if (data.type === "clock") {
      ahead.steadyMs += data.steadyMs;
      ahead.wallMs += data.wallMs;
      scope.postMessage({ type: "ready" });
    } else if (data.type === "defect") {
      plantDefect();
      scope.postMessage({ type: "ready" });
    } else if (data.type === "settled") {
      relay?.settle();
      scope.postMessage({ type: "ready" });
    } else if (data.type === "freeze") {
      if (relay !== undefined) new Frost(relay, data.thaw);
    } else if (data.type === "snapshot") relay?.apply(data.snapshot);
    else relay?.stop(data.graceMs);
  } catch (error) {
    fail(error);
  }
};

function start(message: ToWorker & { type: "start" }): void {
  relay = new WorkerRelay(message, door, (out) => scope.postMessage(out));
  relay.run(message.wakeFd, inbox).then(() => {
    relay?.[Symbol.dispose]();
    scope.postMessage({ type: "stopped" });
  }, fail);
}

/** Stops the thread when it has worked off what is there. */
class Frost extends Waiter {
  readonly #thaw: Int32Array;

  constructor({ shop: { loop } }: WorkerRelay, thaw: SharedArrayBuffer) {
    super();
    this.#thaw = new Int32Array(thaw);
    const now = new Deadlines(0); // due behind the events of the next turn
    loop.watch(now);
    now.set(this, loop.nowMs);
  }

  onDeadline(): void {
    scope.postMessage({ type: "frozen" });
    Atomics.wait(this.#thaw, 0, 0);
  }
}

function plantDefect(): void {
  const { onReadable } = Stream.prototype;
  Stream.prototype.onReadable = () => {
    Stream.prototype.onReadable = onReadable;
    throw new TypeError("A defect");
  };
}

function fail(error: unknown): void {
  const message = error instanceof Error ? error.stack ?? error.message : String(error);
  scope.postMessage({ type: "failed", message });
}
