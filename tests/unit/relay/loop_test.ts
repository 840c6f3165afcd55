/**
 * The loop and handlers that throw: theirs is given up, and nothing is left open when it ends.
 *
 * @module
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Epoll, EPOLLIN } from "@/ffi/linux/epoll.ts";
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
import { RawEnd } from "@/tests/kernel/relay_raw.ts";

const LOOPBACK = parseAddress("127.0.0.1") ?? assert.fail();

describe("the loop", () => {
  it("gives up the connection of a handler that throws, and tells", () => {
    using loop = new Loop();
    const { fd, end } = connection();
    const told: unknown[] = [];
    let given = 0;
    loop.onFault = (error) => told.push(error);
    loop.add(fd, EPOLLIN, { onReady: defect, onFault: () => given++ });
    end.write("x");
    loop.turn(1000);
    assert.deepEqual([told.length, given], [1, 1]);
    assert.equal(end.ending().how, "reset"); // closed with something unread
    end[Symbol.dispose]();
  });

  it("lets whoever has a connection now give it up, where another met the defect", () => {
    using loop = new Loop();
    const { fd, end } = connection();
    let given = 0;
    loop.add(fd, EPOLLIN, { onReady: () => {}, onFault: () => (given++, loop.close(fd)) });
    loop.fail(fd, new TypeError("A defect"));
    loop.turn(0);
    assert.equal(given, 1);
    assert.equal(end.ending().how, "end");
    end[Symbol.dispose]();
  });

  it("ends when a connection cannot even be given up", () => {
    using loop = new Loop();
    const { fd, end } = connection();
    loop.add(fd, EPOLLIN, { onReady: defect, onFault: defect });
    end.write("x");
    assert.throws(() => loop.turn(1000), TypeError);
    end[Symbol.dispose]();
  });

  it("resets what nobody has closed when it ends: it must not look complete", () => {
    const loop = new Loop();
    const { fd, end } = connection();
    loop.add(fd, EPOLLIN, { onReady: () => {} });
    loop[Symbol.dispose]();
    assert.deepEqual(end.ending(), { text: "", how: "reset" });
    end[Symbol.dispose]();
  });
});

function defect(): never {
  throw new TypeError("A defect");
}

/** Two ends of a connection; the first is the loop's. */
function connection(): { fd: number; end: RawEnd } {
  const listener = openTcpListener(1);
  const end = new RawEnd(openTcpSocket(LOOPBACK));
  connect(end.fd, { address: LOOPBACK, port: socketName(listener)?.port ?? 0 });
  using epoll = new Epoll(1);
  epoll.add(listener, EPOLLIN);
  epoll.wait(5000);
  const fd = accept(listener);
  closeSocket(listener);
  return { fd, end };
}
