/**
 * A relay worker whose door leads nowhere: connections are dialled at its listeners directly.
 *
 * @module
 */

import { type Endpoint, socketName } from "@/ffi/linux/socket.ts";
import { parseAddress } from "@/src/model/address.ts";
import type { Door } from "@/src/relay/io/door.ts";
import type { FromWorker, ToWorker } from "@/src/relay/messages.ts";
import { WorkerRelay } from "@/src/relay/worker_relay.ts";

/** What a rig's worker is told besides. */
export interface RigDoor {
  readonly outboundTarget?: { readonly address: string; readonly port: number };
  readonly inboundPort?: number;
}

/** What it tells besides. */
export type FromRig =
  | FromWorker
  | { readonly type: "listener"; readonly direction: string; readonly port: number }
  | { readonly type: "ready" }
  | { readonly type: "refused"; readonly reason: string }
  | { readonly type: "marked"; readonly port: number };

const scope = self as unknown as {
  onmessage: ((event: MessageEvent) => void) | null;
  postMessage(message: FromRig): void;
  close(): void;
};

let relay: WorkerRelay | undefined;
let rigDoor: RigDoor = {};

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
  markOutbound() {},
  markInbound(_fd, client) {
    scope.postMessage({ type: "marked", port: client.port });
  },
  offerListener(_slot, direction, _worker, fd) {
    scope.postMessage({ type: "listener", direction, port: socketName(fd)?.port ?? 0 });
  },
};

const inbox = { received: 0 };

scope.onmessage = ({ data }: MessageEvent<ToWorker | { type: "rig"; door: RigDoor }>) => {
  try {
    if (data.type === "start") return start(data);
    inbox.received++;
    if (data.type === "rig") {
      rigDoor = data.door;
      scope.postMessage({ type: "ready" });
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

function fail(error: unknown): void {
  const message = error instanceof Error ? error.stack ?? error.message : String(error);
  scope.postMessage({ type: "failed", message });
}
