/**
 * A connection that its tunnel has given back: what its application has said goes wherever the
 * connection goes now.
 *
 * @module
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  accept,
  closeSocket,
  connect,
  openTcpListener,
  openTcpSocket,
  socketName,
} from "@/ffi/linux/socket.ts";
import { parseAddress } from "@/src/model/address.ts";
import type { Door } from "@/src/relay/io/door.ts";
import { COUNTERS_BYTES } from "@/src/relay/io/reporter.ts";
import { OutboundConnection } from "@/src/relay/path/outbound.ts";
import type { LocalPod } from "@/src/relay/pods.ts";
import { World } from "@/src/relay/world.ts";
import { WorkerRelay } from "@/src/relay/worker_relay.ts";
import { RawEnd } from "@/tests/kernel/relay_raw.ts";

const LOOPBACK = parseAddress("127.0.0.1") ?? assert.fail();

/** The pod's address is not in the mesh: its connections go out as they are. */
const WORLD = new World({
  revision: 1,
  trustDomain: "cluster.local",
  bundlePem: "",
  pods: [{
    key: "a/client",
    slot: 1,
    addresses: [],
    netnsFd: -1,
    netnsCookie: 1n,
    source: "mesh",
  }],
  peers: [],
  cidrs: [],
});

const DOOR: Pick<Door, "markOutbound" | "beat"> = { markOutbound: () => {}, beat: () => {} };
const HOME: Pick<LocalPod, "key" | "netnsCookie" | "openSocket"> = {
  key: "a/client",
  netnsCookie: 1n,
  openSocket: () => openTcpSocket(LOOPBACK),
};

describe("a connection that a tunnel gives back", () => {
  it("keeps its first bytes, and its end, when it goes directly meanwhile", () => {
    using relay = new WorkerRelay(
      {
        index: 0,
        config: { workers: 1 },
        counters: new SharedArrayBuffer(COUNTERS_BYTES),
        ticketSecret: new Uint8Array(32),
      },
      DOOR as Door,
      () => {},
    );
    const { loop, live } = relay.shop;
    relay.shop.update(WORLD);
    using steering = new Listener();
    using serving = new Listener();
    using application = new RawEnd(openTcpSocket(LOOPBACK));
    connect(application.fd, steering.endpoint);

    const connection = new OutboundConnection(relay.shop, {
      home: HOME as LocalPod,
      fd: accept(steering.fd),
      source: { address: LOOPBACK, port: 1 },
      target: serving.endpoint,
    });
    connection.release();
    connection.again(new TextEncoder().encode("first, "));
    application.write("then the rest");
    application.end();
    using server = new RawEnd(accept(serving.fd));
    server.end();
    for (let turns = 0; turns < 100 && live.size > 0; turns++) loop.turn(1000);
    assert.deepEqual(server.ending(), { text: "first, then the rest", how: "end" });
    assert.deepEqual(application.ending(), { text: "", how: "end" });
  });
});

class Listener implements Disposable {
  readonly fd = openTcpListener(1);
  readonly endpoint = { address: LOOPBACK, port: socketName(this.fd)?.port ?? 0 };

  [Symbol.dispose](): void {
    closeSocket(this.fd);
  }
}
