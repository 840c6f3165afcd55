/**
 * What an agent finds pinned and did not make: maps of an older layout, the remains of an agent
 * that died while it replaced them, and things that somebody else has put under names of weft.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { LAYOUT_FINGERPRINT, U32, U64 } from "@/bpf/layout.gen.ts";
import { MapType } from "@/ffi/bpf/constants.ts";
import { BpfLink } from "@/ffi/bpf/link.ts";
import { BpfMap } from "@/ffi/bpf/map.ts";
import { BpfProgram } from "@/ffi/bpf/program.ts";
import { withNetns } from "@/ffi/linux/netns.ts";
import { removeDatapath } from "@/src/load/mod.ts";
import { ADDRESSES, received, TestNode } from "./datapath_fixture.ts";

const [B4] = ADDRESSES.b;
const STRICT = { b: { source: "mesh", mode: "strict" } } as const;

describe("pins of another layout", () => {
  it("enforce until they are replaced, and at no moment is a STRICT pod open", async () => {
    await using node = await TestNode.create();
    node.apply(STRICT);
    await using server = node.serve("b", 8000);
    const links = linksOf(node);
    const old = mapId(node, "addresses");
    makeOld(node);
    {
      using knocking = knock(node);
      node.restart();
      assert.ok(node.datapath.revision > 0, "there has been a plan");
      assert.equal(await node.dial("outside", B4, 8000), "refused");
      node.apply(STRICT);
      assert.equal(await node.dial("outside", B4, 8000), "refused");
      assert.ok(knocking);
    }
    assert.deepEqual(server.peers, []);
    assert.equal(await node.dial("node", B4, 8000), "served");
    assert.notEqual(mapId(node, "addresses"), old);
    assert.deepEqual(layoutOf(node), LAYOUT_FINGERPRINT);
    assert.deepEqual(directories(node), ["links", "maps"]);
    // The same hooks with other programs: none was taken off and put on again.
    assert.deepEqual(linksOf(node).map(({ id }) => id), links.map(({ id }) => id));
    assert.ok(linksOf(node).every(({ programId }, at) => programId !== links[at]?.programId));
  });

  it("are replaced under live connections that the mode allows", async () => {
    await using node = await TestNode.create();
    node.apply(STRICT);
    await using server = node.serve("outside", 8000, true);
    // The answers of what a STRICT pod has opened pass by its row alone.
    using live = await talk(node, "b", "10.99.0.9");
    makeOld(node);
    node.restart();
    node.apply(STRICT);
    await live.say("still here");
    await received(server.received, "still here");
  });

  it("are recognised by the size of a map, too", async () => {
    await using node = await TestNode.create({ capacities: { ports: 16 } });
    node.apply(STRICT);
    await using server = node.serve("b", 8000);
    node.restart();
    node.apply(STRICT);
    assert.equal(await node.dial("outside", B4, 8000), "refused");
    assert.deepEqual(server.peers, []);
    using ports = BpfMap.openPinned(`${node.pins}/maps/ports`);
    assert.notEqual(ports?.info.maxEntries, 16);
  });

  it("are replaced although an agent died at any step of replacing them", async () => {
    await using node = await TestNode.create();
    node.apply(STRICT);
    await using server = node.serve("b", 8000);
    const { pins } = node;
    // Before the links were turned: the new maps are begun.
    makeOld(node);
    node.restart();
    assert.deepEqual(directories(node), ["links", "maps", "maps-next"]);
    node.restart();
    assert.equal(await node.dial("outside", B4, 8000), "refused");
    node.apply(STRICT);
    assert.deepEqual(directories(node), ["links", "maps"]);
    // Between the two renames: the new maps are whole, the old ones out of the way.
    Deno.renameSync(`${pins}/maps`, `${pins}/maps-next`);
    Deno.mkdirSync(`${pins}/maps-old`);
    node.restart();
    node.apply(STRICT);
    assert.deepEqual(directories(node), ["links", "maps"]);
    assert.equal(await node.dial("outside", B4, 8000), "refused");
    assert.deepEqual(server.peers, []);
  });

  it("are forgotten when those of before fit again", async () => {
    await using node = await TestNode.create();
    node.apply(STRICT);
    makeOld(node);
    node.restart();
    assert.deepEqual(directories(node), ["links", "maps", "maps-next"]);
    makeOld(node); // twice is not at all
    node.restart();
    assert.deepEqual(directories(node), ["links", "maps"]);
  });

  it("go with everything else when weft is removed", async () => {
    await using node = await TestNode.create();
    node.apply(STRICT);
    makeOld(node);
    node.restart();
    assert.doesNotThrow(() => node.inNode(() => void removeDatapath(node.pins)));
    assert.throws(() => Deno.statSync(node.pins), Deno.errors.NotFound);
    await using _server = node.serve("b", 8000);
    assert.equal(await node.dial("outside", B4, 8000), "served");
  });
});

describe("what somebody else has pinned under a name of weft", () => {
  const strangers = {
    "maps/addresses": "program",
    "maps/layout": "program",
    "links/weft_connect4": "map",
    "links/pod-1-to": "program",
  } as const;
  for (const [name, kind] of Object.entries(strangers)) {
    it(`is named and left alone: a ${kind} at ${name}`, async () => {
      await using node = await TestNode.create();
      node.apply(STRICT);
      await using server = node.serve("b", 8000);
      const path = `${node.pins}/${name}`;
      // The hook goes on with what is pinned elsewhere, for it is the pin that is in question.
      const kept = `${node.pins}/links/kept`;
      if (name.startsWith("links/")) Deno.renameSync(path, kept);
      else Deno.removeSync(path);
      pinStranger(path, kind);
      assert.throws(() => node.restart(), {
        code: "datapath",
        object: path,
        message: new RegExp(`it is a ${kind}, want a .*remove "${path}", or run "weft uninstall"`),
      });
      assert.ok(Deno.statSync(path), "it is still there");
      assert.equal(await node.dial("outside", B4, 8000), "refused");
      assert.deepEqual(server.peers, []);
      Deno.removeSync(path);
      if (name.startsWith("links/")) Deno.renameSync(kept, path);
      node.restart();
      node.apply(STRICT);
      assert.equal(await node.dial("outside", B4, 8000), "refused");
    });
  }

  it("is replaced where it is a map of another shape", async () => {
    await using node = await TestNode.create();
    node.apply(STRICT);
    await using server = node.serve("b", 8000);
    Deno.removeSync(`${node.pins}/maps/ports`);
    pinStranger(`${node.pins}/maps/ports`, "map");
    assert.doesNotThrow(() => node.restart());
    node.apply({ b: { ...STRICT.b, ports: { 8001: "none" } } });
    assert.equal(await node.dial("outside", B4, 8000), "refused");
    assert.deepEqual(server.peers, []);
    using ports = BpfMap.openPinned(`${node.pins}/maps/ports`);
    assert.equal(ports?.info.keySize, 20);
  });

  it("is replaced where it is a link on another hook", async () => {
    await using node = await TestNode.create();
    node.apply(STRICT);
    Deno.removeSync(`${node.pins}/links/weft_connect4`);
    using other = BpfLink.openPinned(`${node.pins}/links/weft_connect6`);
    other?.pin(`${node.pins}/links/weft_connect4`);
    node.restart();
    node.apply(STRICT);
    assert.equal(await node.dial("a", B4, 8000), "refused");
    using link = BpfLink.openPinned(`${node.pins}/links/weft_connect4`);
    assert.notEqual(link?.info().id, other?.info().id);
  });
});

/** Makes the pins those of another version. */
function makeOld(node: TestNode): void {
  using layout = BpfMap.openPinned(`${node.pins}/maps/layout`);
  const before = layoutOf(node) ?? assert.fail("no layout");
  layout?.update(U32.encode(0), U64.encode(before ^ 1n));
  assert.notEqual(layoutOf(node), before);
}

function layoutOf(node: TestNode): bigint | undefined {
  using layout = BpfMap.openPinned(`${node.pins}/maps/layout`);
  const value = layout?.lookup(U32.encode(0));
  return value && U64.decode(value);
}

function mapId(node: TestNode, name: string): number | undefined {
  using map = BpfMap.openPinned(`${node.pins}/maps/${name}`);
  return map?.info.id;
}

function linksOf(node: TestNode): { name: string; id: number; programId: number }[] {
  const names = [...Deno.readDirSync(`${node.pins}/links`)].map(({ name }) => name).sort();
  return names.map((name) => {
    using link = BpfLink.openPinned(`${node.pins}/links/${name}`);
    const { id = 0, programId = 0 } = link?.info() ?? {};
    return { name, id, programId };
  });
}

function directories(node: TestNode): string[] {
  return [...Deno.readDirSync(node.pins)].map(({ name }) => name).sort();
}

function pinStranger(path: string, kind: "map" | "program"): void {
  if (kind === "map") {
    const shape = { type: MapType.ARRAY, name: "stranger", keySize: 4, valueSize: 8 };
    using map = BpfMap.create({ ...shape, maxEntries: 1 });
    return map.pin(path);
  }
  using program = BpfProgram.load({
    type: 1, // BPF_PROG_TYPE_SOCKET_FILTER
    name: "stranger",
    license: "GPL",
    // r0 = 0; exit
    instructions: Uint8Array.of(0xb7, 0, 0, 0, 0, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0),
  });
  program.pin(path);
}

/** Somebody outside who dials without pause. */
function knock(node: TestNode): Disposable {
  const script = `while :; do nc -w 1 -d ${B4} 8000; done`;
  const args = [`--net=/run/netns/${node.space("outside").name}`, "sh", "-c", script];
  const child = new Deno.Command("nsenter", { args, stdout: "null", stderr: "null" }).spawn();
  return { [Symbol.dispose]: () => child.kill("SIGKILL") };
}

interface Talk extends Disposable {
  say(text: string): Promise<void>;
}

/** A connection that stays open; it has been greeted. */
async function talk(node: TestNode, from: string, address: string): Promise<Talk> {
  const { child } = withNetns(node.space(from).fd, () => ({
    child: new Deno.Command("nc", {
      args: ["-w", "30", address, "8000"],
      stdin: "piped",
      stdout: "piped",
      stderr: "null",
    }).spawn(),
  }));
  const reader = child.stdout.getReader();
  await reader.read();
  const writer = child.stdin.getWriter();
  return {
    say: (text) => writer.write(new TextEncoder().encode(text)),
    [Symbol.dispose]: () => {
      child.kill("SIGKILL");
      void writer.abort().catch(() => {});
      void reader.cancel().catch(() => {});
    },
  };
}
