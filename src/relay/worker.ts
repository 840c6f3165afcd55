/**
 * A relay worker: one thread, one epoll loop, its own listeners, pools and TLS contexts.
 *
 * In: `ToWorker` messages, each announced by the eventfd. Out: `FromWorker` messages. Invariant:
 * the loop blocks the thread, so a message is read only when the eventfd says so, which counts
 * them: the loop yields until as many have arrived.
 *
 * @module
 */

import { MapDoor } from "./io/door.ts";
import type { FromWorker, ToWorker } from "./messages.ts";
import { WorkerRelay } from "./worker_relay.ts";

const scope = self as unknown as {
  onmessage: ((event: MessageEvent<ToWorker>) => void) | null;
  postMessage(message: FromWorker): void;
  close(): void;
};

let relay: WorkerRelay | undefined;
let door: MapDoor | undefined;
const inbox = { received: 0 };

scope.onmessage = ({ data }) => {
  try {
    receive(data);
  } catch (error) {
    fail(error);
  }
};

function receive(message: ToWorker): void {
  switch (message.type) {
    case "start":
      door = new MapDoor(message.door);
      relay = new WorkerRelay(message, door, (out) => scope.postMessage(out));
      scope.postMessage({ type: "started" });
      relay.run(message.wakeFd, inbox).then(() => {
        end();
        scope.postMessage({ type: "stopped" });
        scope.close();
      }, fail);
      break;
    case "snapshot":
      inbox.received++;
      relay?.apply(message.snapshot);
      break;
    case "settled":
      inbox.received++;
      relay?.settle();
      break;
    case "stop":
      inbox.received++;
      relay?.stop(message.graceMs);
      break;
    default:
      message satisfies never;
  }
}

/**
 * A worker that is wrong about itself must not carry traffic: the main thread decides what then.
 * Its sockets are the process's, and would live on without it: connections would hang, not end.
 */
function fail(error: unknown): void {
  try {
    end();
  } catch {
    // the first error is the one to tell
  }
  const text = error instanceof Error ? error.stack ?? error.message : String(error);
  scope.postMessage({ type: "failed", message: text });
  scope.close();
}

function end(): void {
  using _door = door;
  using _relay = relay;
}
