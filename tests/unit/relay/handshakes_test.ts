/**
 * The bound on handshakes that are under way.
 *
 * @module
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { HANDSHAKES_MAX, HANDSHAKES_OF_STRANGERS_MAX } from "@/src/limits.ts";
import { parseAddress } from "@/src/model/address.ts";
import { Handshakes, type HandshakeSource, handshakeSource } from "@/src/relay/io/handshakes.ts";
import type { RelayPeer } from "@/src/relay/messages.ts";
import { World } from "@/src/relay/world.ts";

const KNOWN = { source: "mesh", mode: "strict", where: "remote", ports: [] } as const;
const POD = { ...KNOWN, kind: "pod", namespace: "a", serviceAccount: "x", node: "n1" } as const;

const WORLD = new World({
  revision: 1,
  trustDomain: "cluster.local",
  bundlePem: "",
  pods: [],
  peers: [
    ...Array.from({ length: 200 }, (_, i): RelayPeer => ({ ...POD, address: `10.0.0.${i}` })),
    { ...POD, address: "fd00::1" },
    { ...KNOWN, address: "192.0.2.1", kind: "node", node: "n1", source: "node" },
  ],
  cidrs: ["10.0.0.0/16", "fd00::/64"],
});

/** One source has half of what it leaves: a third, where nobody else has any. */
const alone = (max: number) => Math.ceil(max / 3);

describe("handshakes under way", () => {
  it("are bounded for one pod, and others have room", () => {
    const handshakes = new Handshakes();
    const some = fill(handshakes, from("10.0.0.1"));
    assert.equal(some.length, alone(HANDSHAKES_MAX));
    assert.equal(handshakes.hasRoom(from("10.0.0.2")), true);
    some[0]?.[Symbol.dispose]();
    assert.equal(handshakes.hasRoom(from("10.0.0.1")), true);
    handshakes.enter(from("10.0.0.1"));
    some[0]?.[Symbol.dispose](); // again: it counts once
    assert.equal(handshakes.hasRoom(from("10.0.0.1")), false);
  });

  it("are bounded for one network of strangers, whatever addresses it has", () => {
    const networks = [
      (i: number) => `2001:db8::${(i + 1).toString(16)}`,
      (i: number) => `198.51.100.${i % 256}`,
      (i: number) => `10.0.9.${i % 256}`, // where pods live, but nobody is known
    ];
    for (const address of networks) {
      const handshakes = new Handshakes();
      let count = 0;
      for (; handshakes.hasRoom(from(address(count))); count++) {
        handshakes.enter(from(address(count)));
      }
      assert.equal(count, alone(HANDSHAKES_OF_STRANGERS_MAX));
      assert.equal(handshakes.hasRoom(from("2001:db8:0:1::1")), true);
      assert.equal(handshakes.hasRoom(from("203.0.113.1")), true);
    }
  });

  it("of pods have room whatever strangers do, in any number of networks", () => {
    const handshakes = new Handshakes();
    let count = 0;
    for (let net = 0; net < 4096; net++) {
      count += fill(handshakes, from(`100.${net >> 8}.${net & 255}.1`)).length;
    }
    assert.equal(count, HANDSHAKES_OF_STRANGERS_MAX);
    assert.equal(handshakes.hasRoom(from("203.0.113.1")), false);
    assert.equal(handshakes.hasRoom(from("192.0.2.1")), false); // a node: whom it masquerades
    const left = HANDSHAKES_MAX - HANDSHAKES_OF_STRANGERS_MAX;
    assert.equal(fill(handshakes, from("fd00::1")).length, alone(left));
    assert.equal(fill(handshakes, from("10.0.0.1")).length > 100, true);
  });

  it("are refused to whoever has many before anybody else", () => {
    const handshakes = new Handshakes();
    const greedy = Array.from({ length: 100 }, (_, i) => from(`10.0.0.${i}`));
    for (let isFull = false; !isFull;) {
      const more = greedy.filter((source) => handshakes.hasRoom(source));
      for (const source of more) if (handshakes.hasRoom(source)) handshakes.enter(source);
      isFull = more.length === 0;
    }
    assert.ok(fill(handshakes, from("10.0.0.150")).length >= 20);
  });

  it("are bounded in all", () => {
    const handshakes = new Handshakes();
    for (let i = 0; i < HANDSHAKES_MAX; i++) handshakes.enter(from(`10.0.0.${i % 200}`));
    assert.equal(handshakes.hasRoom(from("10.0.1.1")), false);
    assert.equal(handshakes.hasRoom(from("fd00::1")), false);
  });
});

/** Begins as many as may begin. */
function fill(handshakes: Handshakes, source: HandshakeSource): Disposable[] {
  const entered: Disposable[] = [];
  while (handshakes.hasRoom(source)) entered.push(handshakes.enter(source));
  return entered;
}

function from(address: string): HandshakeSource {
  const bytes = parseAddress(address) ?? assert.fail(address);
  return handshakeSource(WORLD.place(bytes), bytes);
}
