/**
 * Namespaces, interfaces and sockets, seen through netlink.
 *
 * @module
 */

import assert from "node:assert/strict";
import { afterEach, describe, it } from "node:test";
import { openDirectory } from "@/ffi/linux/filesystem.ts";
import { ensureNetnsId, listAddresses, listLinks, netnsId } from "@/ffi/linux/links.ts";
import {
  isSameNetns,
  netnsCookie,
  netnsIdentity,
  openOwnNetns,
  withNetns,
} from "@/ffi/linux/netns.ts";
import { destroySocket, listSockets, TcpState } from "@/ffi/linux/sock_diag.ts";
import { SyscallError } from "@/ffi/errors.ts";
import { assertNoLeaks, run, TestNetns, uniqueName } from "./ffi_fixture.ts";

describe("a network namespace", () => {
  afterEach(assertNoLeaks);

  it("is entered for one synchronous function and left again", async () => {
    await using netns = await TestNetns.create();
    using own = openOwnNetns();
    const inside = withNetns(netns.fd, () => {
      using here = openOwnNetns();
      return netnsIdentity(here);
    });
    assert.deepEqual(inside, netnsIdentity(netns.fd));
    using after = openOwnNetns();
    assert.ok(isSameNetns(own, after));
    assert.ok(!isSameNetns(own, netns.fd));
  });

  it("is left again when the function throws", async () => {
    await using netns = await TestNetns.create();
    using own = openOwnNetns();
    assert.throws(() =>
      withNetns(netns.fd, () => {
        throw new Error("inside");
      }), /inside/);
    using after = openOwnNetns();
    assert.ok(isSameNetns(own, after));
  });

  it("refuses an asynchronous function", async () => {
    await using netns = await TestNetns.create();
    // @ts-expect-error a promise must not be returned
    assert.throws(() => withNetns(netns.fd, () => Promise.resolve(1)), /asynchronous function/);
  });

  it("cannot be entered through a descriptor of something else", () => {
    using directory = openDirectory("/tmp");
    assert.throws(
      () => withNetns(directory, () => 1),
      (error) => error instanceof SyscallError && error.errnoName === "EINVAL",
    );
  });

  it("has a cookie of its own", async () => {
    await using one = await TestNetns.create();
    await using two = await TestNetns.create();
    const cookies = [netnsCookie(), netnsCookie(one.fd), netnsCookie(two.fd)];
    assert.equal(new Set(cookies).size, 3);
    assert.equal(netnsCookie(one.fd), cookies[1]);
  });
});

describe("interfaces", () => {
  afterEach(assertNoLeaks);

  it("tell which namespace is at the other end of a veth", async () => {
    await using pod = await TestNetns.create();
    await using other = await TestNetns.create();
    const host = uniqueName();
    const peer = ["peer", "name", "eth0", "netns", pod.name];
    await run("ip", "link", "add", host, "type", "veth", ...peer);
    try {
      const link = listLinks().find(({ name }) => name === host);
      assert.ok(link);
      assert.equal(link.kind, "veth");
      assert.equal(link.mac.length, 6);
      assert.equal(link.up, false);
      assert.notEqual(link.peerNetnsId, undefined);
      assert.equal(link.peerNetnsId, netnsId(pod.fd));
      assert.equal(netnsId(other.fd), undefined);
      assert.notEqual(ensureNetnsId(other.fd), link.peerNetnsId);

      const eth0 = withNetns(pod.fd, () => listLinks().find(({ name }) => name === "eth0"));
      assert.equal(eth0?.ifindex, link.peerIfindex);
      assert.equal(eth0?.peerIfindex, link.ifindex);
    } finally {
      await run("ip", "link", "del", host);
    }
  });

  it("list their addresses of both families, as 16 bytes", async () => {
    await using netns = await TestNetns.create();
    await run("ip", "-n", netns.name, "addr", "add", "10.9.8.7/24", "dev", "lo");
    await run("ip", "-n", netns.name, "addr", "add", "fd00::5/64", "dev", "lo", "nodad");
    const addresses = withNetns(netns.fd, listAddresses)
      .map(({ address, prefixBits }) => `${address.toHex()}/${prefixBits}`);
    assert.ok(addresses.includes("00000000000000000000ffff0a090807/120"), addresses.join());
    assert.ok(addresses.includes("fd000000000000000000000000000005/64"), addresses.join());
    assert.ok(addresses.includes("00000000000000000000ffff7f000001/104"), addresses.join());
  });
});

describe("sockets", () => {
  afterEach(assertNoLeaks);

  it("are listed in their own namespace alone, and can be ended", async () => {
    await using netns = await TestNetns.create();
    using listener = withNetns(
      netns.fd,
      () => Deno.listen({ hostname: "127.0.0.1", port: 4600 }),
    );
    const client = new Deno.Command("ip", {
      args: ["netns", "exec", netns.name, "bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/4600; cat <&3"],
      stdin: "null",
      stderr: "piped",
    }).spawn();
    using accepted = await listener.accept();

    const isServer = ({ localPort, state }: ReturnType<typeof listSockets>[number]) =>
      localPort === 4600 && state === TcpState.ESTABLISHED;
    const found = withNetns(netns.fd, () => listSockets([TcpState.ESTABLISHED]).filter(isServer));
    assert.equal(found.length, 1);
    const [server] = found;
    assert.ok(server);
    assert.equal(server.localAddress.toHex(), "00000000000000000000ffff7f000001");
    assert.equal(server.remotePort, (accepted.remoteAddr as Deno.NetAddr).port);
    assert.equal(server.uid, 0);
    assert.notEqual(server.inode, 0);
    assert.equal(listSockets().filter(isServer).length, 0);

    assert.equal(withNetns(netns.fd, () => destroySocket(server)), true);
    await assert.rejects(accepted.read(new Uint8Array(1)));
    const { stderr } = await client.output();
    assert.match(new TextDecoder().decode(stderr), /reset by peer/);
    assert.equal(withNetns(netns.fd, () => destroySocket(server)), false);
  });
});
