/**
 * A plain socket whose user does not act on a reset yet: it waits, and does not spin.
 *
 * @module
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Errno } from "@/ffi/errno.ts";
import {
  accept,
  closeSocket,
  connect,
  openTcpListener,
  openTcpSocket,
  socketName,
} from "@/ffi/linux/socket.ts";
import { parseAddress } from "@/src/model/address.ts";
import { Loop } from "@/src/relay/io/loop.ts";
import { Workspace } from "@/src/relay/io/workspace.ts";
import { PlainSocket } from "@/src/relay/path/plain_socket.ts";
import { RawEnd } from "@/tests/kernel/relay_raw.ts";

const LOOPBACK = parseAddress("127.0.0.1") ?? assert.fail();

describe("a plain socket", () => {
  it("tells of a reset once to who does not read, and again to who reads later", () => {
    using loop = new Loop();
    using space = new Workspace();
    const listener = openTcpListener(1);
    const end = new RawEnd(openTcpSocket(LOOPBACK));
    connect(end.fd, { address: LOOPBACK, port: socketName(listener)?.port ?? 0 });
    const told: (string | number)[] = [];
    const socket = new PlainSocket({ loop, space }, accept(listener), {
      onConnected: () => {},
      onReadable: () => told.push(socket.receive(space.down, 1)),
      onDrained: () => {},
      onBroken: () => told.push("broken"),
    });
    closeSocket(listener);
    end.reset();
    for (let turns = 0; turns < 5; turns++) loop.turn(10);
    assert.deepEqual(told, ["broken"]);
    socket.resume();
    loop.turn(1000);
    assert.deepEqual(told, ["broken", -Errno.ECONNRESET]);
    socket.close("abort");
  });
});
