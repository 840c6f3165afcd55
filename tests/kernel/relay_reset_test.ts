/**
 * Resets through two relays: whoever aborts, the other application meets ECONNRESET, at once, and
 * never an end that looks like one.
 *
 * @module
 */

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { openDescriptors, until } from "./peers_stage.ts";
import { TlsPeer } from "./peers_tls.ts";
import { RawEnd, RawListener } from "./relay_raw.ts";
import { Rig } from "./relay_rig.ts";

/** More than all buffers between the applications hold. */
const ENDLESS = 200 << 20;
/** More than a client keeps a tunnel that carries nothing. */
const IDLE_MS = 61_000;
/** Frames as they are on the wire: type, length, payload (a port and a number). */
const OPEN = "\x01\0\0\0\x0a\0\x50\0\0\0\0\0\0\0\x01";
const OPENED = "\x02\0\0\0\0";
const RESET = "\x06\0\0\0\0";
/** A direction goes on without frames after 256 KiB. */
const RAW = 1 << 20;

describe("an application that resets its connection", { timeout: 60_000 }, () => {
  let rig: Rig;
  let listener: RawListener;
  before(async () => {
    rig = await Rig.open();
    listener = new RawListener(rig.server);
    await rig.server.setDoor({ inboundPort: listener.port });
  });
  after(async () => {
    listener[Symbol.dispose]();
    await rig[Symbol.asyncDispose]();
  });

  /** A connection that both sides have spoken on. */
  function open(): { client: RawEnd; server: RawEnd } {
    const client = RawEnd.dialOut(rig.client);
    client.write("ping");
    const server = listener.accept();
    assert.equal(server.read(4), "ping");
    server.write("pong");
    assert.equal(client.read(4), "pong");
    return { client, server };
  }

  type Ends = ReturnType<typeof open>;
  const SIDES = [
    ["on the server", ({ client, server }: Ends) => ({ one: server, other: client })],
    ["on the client", ({ client, server }: Ends) => ({ one: client, other: server })],
  ] as const;

  for (const [where, arrange] of SIDES) {
    describe(where, () => {
      it("resets the other, behind what it has said before", () => {
        const { one, other } = arrange(open());
        one.write("last words");
        assert.equal(other.read(10), "last words");
        one.reset();
        assert.deepEqual(other.ending(), { text: "", how: "reset" });
        other[Symbol.dispose]();
      });

      it("resets the other when it closes with something unread", () => {
        const { one, other } = arrange(open());
        other.write("unread");
        one.read(1);
        one[Symbol.dispose]();
        assert.deepEqual(other.ending(), { text: "", how: "reset" });
        other[Symbol.dispose]();
      });

      it("resets who does not read what it has said, framed and raw", () => {
        for (const size of [100 << 10, RAW, ENDLESS]) {
          const { one, other } = arrange(open());
          const taken = one.fill(size);
          assert.equal(taken < ENDLESS, true); // then backlogs are held on the way
          one.reset();
          other.expectReset();
          other[Symbol.dispose]();
        }
      });

      it("resets who sends and waits for room, framed and raw", () => {
        for (const size of [100 << 10, RAW, ENDLESS]) {
          const { one, other } = arrange(open());
          other.fill(size);
          one.reset();
          other.expectReset();
          other[Symbol.dispose]();
        }
      });

      it("resets the other behind half-closes", () => {
        const first = arrange(open());
        first.one.end();
        assert.deepEqual(first.other.ending(), { text: "", how: "end" });
        first.one.reset();
        first.other.expectReset();
        first.other[Symbol.dispose]();

        const second = arrange(open());
        second.other.end();
        assert.deepEqual(second.one.ending(), { text: "", how: "end" });
        second.one.reset();
        assert.deepEqual(second.other.ending(), { text: "", how: "reset" });
        second.other[Symbol.dispose]();
      });

      it("goes on with the tunnel, where little was said", () => {
        const handshakes = rig.client.count("handshakes");
        for (let i = 0; i < 5; i++) {
          const { one, other } = arrange(open());
          one.reset();
          assert.equal(other.ending().how, "reset");
          other[Symbol.dispose]();
        }
        assert.ok(rig.client.count("handshakes") - handshakes <= 1);
      });
    });
  }

  it("passes on what came before the reset, and a reset behind it", async () => {
    const { client, server } = open();
    const thaw = await rig.server.freeze();
    server.write("last words");
    server.reset();
    thaw();
    assert.deepEqual(client.ending(), { text: "last words", how: "reset" });
    client[Symbol.dispose]();
  });

  it("is no end for who was just sending to it", async () => {
    const { client, server } = open();
    const thaw = await rig.server.freeze();
    client.write("too late"); // the relay meets the reset when it sends this on
    server.reset();
    thaw();
    assert.deepEqual(client.ending(), { text: "", how: "reset" });
    client[Symbol.dispose]();
  });

  it("leaves nothing of it to the next connection of the tunnel", async () => {
    rest();
    const thawServer = await rig.server.freeze();
    const first = RawEnd.dialOut(rig.client);
    first.write("1st");
    const thawClient = await freezeAgain();
    first.reset();
    const second = RawEnd.dialOut(rig.client);
    second.write("2nd");
    thawServer();
    const one = listener.accept();
    assert.equal(one.read(3), "1st");
    one.write("secret of the first");
    (await rig.server.freeze())(); // its answer is on its way
    thawClient();
    const other = listener.accept();
    assert.equal(other.read(3), "2nd");
    other.write("for the second");
    other.end();
    assert.deepEqual(second.ending(), { text: "for the second", how: "end" });
    for (const end of [second, one, other]) end[Symbol.dispose]();
  });

  it("is answered once where both reset: a second answer would be for the next", async () => {
    const { client, server, identities } = rig;
    const port = server.ports.get("inbound") ?? assert.fail();
    using peer = new TlsPeer(client.dial(server.address, port), {
      identity: identities.client,
      protocols: ["weft/1"],
    });
    await peer.handshake();
    await peer.write(OPEN);
    const aborting = listener.accept();
    assert.equal(await peer.received(OPENED.length), OPENED);
    aborting.reset();
    const first = await peer.received(OPENED.length + RESET.length);
    assert.equal(first, OPENED + RESET);
    await peer.write(RESET + OPEN); // the client's own has crossed the server's
    using app = listener.accept();
    app.write("2nd");
    const both = await peer.received(first.length + OPENED.length);
    assert.equal(both.slice(first.length, first.length + OPENED.length), OPENED);
  });

  it("does not hand the next connection to a tunnel that cannot carry it any more", async () => {
    const { client, server } = open();
    const thaw = await rig.client.freeze();
    assert.equal(server.fill(RAW), RAW); // its direction has no frames any more, unseen
    client.reset();
    const next = RawEnd.dialOut(rig.client);
    next.write("next");
    thaw();
    const app = listener.accept();
    assert.equal(app.read(4), "next");
    app.end();
    next.end();
    assert.equal(next.ending().how, "end");
    for (const end of [server, app, next]) end[Symbol.dispose]();
  });

  it("resets the client even when nobody has told it yet that it was accepted", async () => {
    rest();
    const thaw = await rig.server.freeze();
    const client = RawEnd.dialOut(rig.client);
    (await rig.client.freeze())(); // OPEN is on its way
    const frozen = rig.server.freeze();
    thaw();
    const thawAgain = await frozen; // in the moment in which OPENED waits for company
    listener.accept().reset();
    thawAgain();
    assert.deepEqual(client.ending(), { text: "", how: "reset" });
    client[Symbol.dispose]();
  });

  it("resets at once who does not read, however little room there is", async () => {
    await using small = await Rig.open();
    const sizes = ["rmem", "wmem"].map((name) => `net.ipv4.tcp_${name}=4096 4096 4096`);
    assert.ok((await small.client.command("sysctl", ["-w", ...sizes]).output()).success);
    using apps = new RawListener(small.server);
    await small.server.setDoor({ inboundPort: apps.port });
    using client = RawEnd.dialOut(small.client);
    client.write("ping");
    const server = apps.accept();
    assert.equal(server.read(4), "ping");
    const size = 50_000;
    assert.equal(server.fill(size), size); // still in frames, and the client's relay is stuck
    (await small.server.freeze())(); // all of it is on its way
    server.reset();
    client.expectReset();
  });

  it("is what both meet whose relay has a defect, and nobody else", async () => {
    const [hit, spared] = [open(), open()];
    await rig.client.plantDefect();
    const told = rig.client.message(({ type }) => type === "fault");
    hit.client.write("boom");
    await told;
    hit.client.expectReset();
    assert.equal(hit.server.ending().how, "reset");
    spared.client.write("still here");
    assert.equal(spared.server.read(10), "still here");
    spared.server.reset();
    spared.client.expectReset();
    for (const end of [hit.client, hit.server, spared.client]) end[Symbol.dispose]();
  });

  it("meets a reset itself where the kernel takes no mark, and no socket is left", async () => {
    await using own = await Rig.open();
    const descriptors = openDescriptors();
    await own.client.setDoor({
      outboundTarget: { address: own.server.address, port: own.server.ports.get("inbound") ?? 0 },
      isFull: true,
    });
    for (let i = 0; i < 10; i++) {
      using client = RawEnd.dialOut(own.client);
      assert.equal(client.ending().how, "reset");
    }
    assert.equal((await own.client.event("peer-not-ready")).detail, "no socket left");
    assert.equal(own.client.count("connections_open"), 0);
    assert.equal(openDescriptors(), descriptors);
  });

  it("is what both meet whose worker ends", async () => {
    await using own = await Rig.open();
    using apps = new RawListener(own.server);
    await own.server.setDoor({ inboundPort: apps.port });
    using client = RawEnd.dialOut(own.client);
    client.write("ping");
    using server = apps.accept();
    assert.equal(server.read(4), "ping");
    await own.client[Symbol.asyncDispose]();
    client.expectReset();
    assert.equal(server.ending().how, "reset");
  });

  it("leaves nothing open behind", async () => {
    rest();
    await rig.client.passTime({ steadyMs: IDLE_MS });
    await until("idle tunnels are given up", () => rig.client.count("tunnels_open") === 0);
    assert.equal(rig.client.count("tunnels_idle"), 0);
    await rig.update({ pods: [] });
    for (const pod of [rig.client, rig.server]) {
      assert.equal(pod.count("connections_open"), 0, pod.key);
      assert.equal(pod.count("tunnels_open"), 0, pod.key);
      assert.equal(pod.count("tunnels_idle"), 0, pod.key);
    }
  });

  /** Lets one connection end cleanly, so that a tunnel rests on both nodes. */
  function rest(): void {
    const { client, server } = open();
    client.end();
    assert.equal(server.ending().how, "end");
    server.end();
    assert.equal(client.ending().how, "end");
    for (const end of [client, server]) end[Symbol.dispose]();
  }

  /** Freezes the client's relay when it has taken what came. */
  async function freezeAgain(): Promise<() => void> {
    (await rig.client.freeze())();
    return await rig.client.freeze();
  }
});
