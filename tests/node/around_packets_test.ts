/**
 * A pod with root and every capability sends what packets it likes: none arrives that it may not
 * send, the reason is counted, and nobody else notices.
 *
 * @module
 */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import * as forged from "./around_frames.ts";
import { assertQuiet, DENO, hex, PROGRAM, Surroundings } from "./around_surroundings.ts";
import { HABITS } from "./support/habits.ts";
import { assertServed, ENROLLED, Mesh, pod, policy } from "./support/mesh.ts";

const { ETHER, PROTO } = forged;
const SERVER = "default/server";
const NEAR = "default/near";
const PLAIN = "default/plain";
const ALL_NODES = { mac: "33:33:00:00:00:01", ip: "ff02::1" };
const FLOOD = 60_000;

describe("a pod with every capability", { timeout: 120_000 }, () => {
  let mesh: Mesh;
  let around: Surroundings;
  let own: Host;
  let server: Host;
  let near: Host;

  before(async () => {
    mesh = await Mesh.up({
      documents: [
        pod({ name: "server", runs: "talker" }),
        pod({ name: "near", labels: ENROLLED }),
        pod({ name: "plain" }),
        policy("server", "STRICT", { ports: { [HABITS.plain]: "DISABLE" } }),
      ],
    });
    around = new Surroundings(mesh);
    [own, server, near] = await Promise.all([
      hostOf(mesh, PLAIN),
      hostOf(mesh, SERVER),
      hostOf(mesh, NEAR),
    ]);
  });

  after(() => mesh[Symbol.asyncDispose]());

  const send = async (frames: readonly Uint8Array[]) => {
    const { code, stderr } = await mesh.bed.exec(PLAIN, [
      ...[...DENO, PROGRAM, "send", ...frames.map(hex)],
    ]);
    assert.equal(code, 0, stderr);
  };

  /** Sends frames: none arrives, the application hears nothing, and each is counted. */
  const inject = async (reason: string, frames: readonly Uint8Array[], filter = fromPlain()) => {
    const counted = await around.refusals(reason);
    const heard = await around.heard(SERVER);
    await using arrived = await mesh.bed.capture(SERVER, { filter });
    await send(frames);
    await assertQuiet(arrived);
    assert.equal(await around.heard(SERVER), heard, "the application heard of it");
    const now = await around.refusals(reason);
    assert.ok(now >= counted + frames.length, `${now - counted} of ${frames.length} are counted`);
  };

  /** All that has the pod's MAC, but for how it finds its neighbours. */
  const fromPlain = () => `ether src ${own.mac} and not arp and not (icmp6 and ip6[40] >= 133)`;

  const link = () => ({ source: own.mac, target: server.mac });

  /** A SYN to the server, as `source`. */
  const syn = (source: string, target: string, port: number = HABITS.plain) => {
    const route = { source, target };
    const segment = forged.tcp(route, { source: 40_000, target: port });
    return forged.packet(route, PROTO.TCP, segment);
  };

  it("is heard as itself", async () => {
    await using arrived = await mesh.bed.capture(SERVER, { filter: fromPlain() });
    await send(
      own.addresses.map((source, index) =>
        forged.ethernet(link(), syn(source, server.addresses[index] ?? ""))
      ),
    );
    const fields = ["tcp.dstport"] as const;
    const packets = await arrived.packets({ fields, filter: "tcp.flags.syn == 1" });
    assert.deepEqual(packets.flatMap((each) => each["tcp.dstport"]), ["7007", "7007"]);
  });

  it("is not heard under another pod's address", () =>
    inject(
      "spoofed",
      near.addresses.map((source, index) =>
        forged.ethernet(link(), syn(source, server.addresses[index] ?? ""))
      ),
    ));

  it("is not heard under an address of the node, which STRICT would serve", async () => {
    const node = await mesh.bed.node("node-1");
    const { stdout } = await mesh.bed.exec("node-1", ["ip", "-o", "addr", "show", "dev", "cni0"]);
    const gateway = [...stdout.matchAll(/inet6? ([0-9a-f.:]+)\/.* global/g)].map(([, ip]) => ip);
    const sources = [...node.addresses, ...gateway.map((ip) => ip ?? "")];
    assert.equal(sources.length, 4);
    await inject(
      "spoofed",
      sources.map((source) => {
        const target = server.addresses[source.includes(":") ? 1 : 0];
        return forged.ethernet(link(), syn(source, target ?? "", HABITS.who));
      }),
    );
  });

  it("is not heard under another's MAC address", () =>
    inject(
      "spoofed",
      [near.mac, server.mac, "02:00:00:00:00:01"].map((source) =>
        forged.ethernet({ ...link(), source }, syn(own.addresses[0], server.addresses[0]))
      ),
      `tcp and inbound`,
    ));

  it("cannot say by ARP that it has another's address", async () => {
    const [stolen] = near.addresses;
    const to = { mac: server.mac, ip: server.addresses[0] };
    const claims = [[own.mac, stolen], [near.mac, stolen], [near.mac, own.addresses[0]]] as const;
    const frames = claims.flatMap(([mac, ip]) =>
      [server.mac, "ff:ff:ff:ff:ff:ff"].map((target) =>
        forged.ethernet({ ...link(), target }, forged.arpReply(mac, ip, to), { type: ETHER.ARP })
      )
    );
    await inject("spoofed", frames, `arp and ether src ${own.mac}`);
    assert.ok(!(await neighbours(SERVER)).includes(`${stolen} dev eth0 lladdr ${own.mac}`));
  });

  it("cannot say by neighbour discovery that it has another's address", async () => {
    const [, stolen] = near.addresses;
    const [, target] = server.addresses;
    const body = forged.advertisement(stolen, own.mac);
    const hop = [0, [0, 0, 5, 2, 0, 0, 1, 0]] as const;
    const frames = [own.linkLocal, own.addresses[1], stolen].flatMap((source) => {
      const route = { source, target };
      const message = forged.icmp6(route, 136, body);
      return [[], [hop]].map((extensions) =>
        forged.ethernet(link(), forged.packet(route, PROTO.ICMP6, message, { extensions }))
      );
    });
    // Who asks in another's name tells its own MAC, too.
    const asked = { source: stolen, target };
    const question = [0, 0, 0, 0, ...forged.ipBytes(target), 1, 1, ...macBytes(own.mac)];
    frames.push(forged.ethernet(
      link(),
      forged.packet(asked, PROTO.ICMP6, forged.icmp6(asked, 135, question)),
    ));
    await inject("spoofed", frames, `icmp6 and ether src ${own.mac}`);
    assert.ok(!(await neighbours(SERVER)).includes(`${stolen} dev eth0 lladdr ${own.mac}`));
  });

  it("cannot play the router", async () => {
    const route = { source: own.linkLocal, target: ALL_NODES.ip };
    const redirect = [0, 0, 0, 0, ...forged.ipBytes(own.linkLocal), ...forged.ipBytes("fd00::1")];
    const frames = [[134, [...forged.ROUTER]], [137, redirect]].map(([type, body]) =>
      forged.ethernet(
        { source: own.mac, target: ALL_NODES.mac },
        forged.packet(route, PROTO.ICMP6, forged.icmp6(route, type as number, body as number[])),
      )
    );
    await inject("spoofed", frames, `icmp6 and ether src ${own.mac}`);
    const { stdout } = await mesh.bed.exec(SERVER, ["ip", "-6", "route", "show", "default"]);
    assert.ok(!stdout.includes(own.linkLocal), stdout);
  });

  it("sends no fragments to a STRICT pod", async () => {
    const [v4, v6] = routes(own, server);
    const payload = forged.tcp(v4, { source: 40_000, target: HABITS.who });
    const fragments = [0x2000, 0x0001, 0x2001, 0x1fff].map((fragment) =>
      forged.packet(v4, PROTO.TCP, payload, { fragment })
    );
    const segment = forged.tcp(v6, { source: 40_000, target: HABITS.who });
    for (const offset of [[0, 1], [0, 8], [0, 9]]) {
      const extensions = [[44, [0, 0, ...offset, 0, 0, 0, 7]]] as const;
      fragments.push(forged.packet(v6, PROTO.TCP, segment, { extensions }));
    }
    await inject("fragment", fragments.map((each) => forged.ethernet(link(), each)));
  });

  it("sends no VLAN tags", () =>
    inject(
      "malformed",
      own.addresses.flatMap((source, index) =>
        [[0], [5], [5, 6], [0, 0]].map((tags) =>
          forged.ethernet(link(), syn(source, server.addresses[index] ?? ""), { tags })
        )
      ),
    ));

  it("sends no header that is longer than its packet, or than anyone needs", async () => {
    const [v4, v6] = routes(own, server);
    const ports = { source: 40_000, target: HABITS.plain };
    const options = [60, [0, 0, 1, 4, 0, 0, 0, 0]] as const;
    const packets = [
      ...[15, 11, 4, 0].map((headerWords) =>
        forged.packet(v4, PROTO.TCP, forged.tcp(v4, ports), { headerWords })
      ),
      ...[15, 6, 4, 0].flatMap((headerWords) =>
        [v4, v6].map((route) =>
          forged.packet(route, PROTO.TCP, forged.tcp(route, ports, { headerWords }))
        )
      ),
      ...[5, 8, 40].map((count) =>
        forged.packet(v6, PROTO.TCP, forged.tcp(v6, ports), {
          extensions: Array<typeof options>(count).fill(options),
        })
      ),
      forged.packet(v6, PROTO.TCP, forged.tcp(v6, ports), {
        extensions: [[60, [255, 1, 4, 0, 0, 0, 0]]],
      }),
      forged.packet(v6, PROTO.TCP, new Uint8Array(13)),
      forged.packet({ ...v6, source: "::ffff:af4:102" }, PROTO.TCP, forged.tcp(v6, ports)),
    ];
    await inject("malformed", packets.map((each) => forged.ethernet(link(), each)));
    await inject("malformed", [
      forged.ethernet(link(), new Uint8Array(46), { type: ETHER.IP4 }),
      forged.ethernet(link(), new Uint8Array(46), { type: 0x88b5 }),
    ]);
  });

  it("sends no other protocol of IP to a STRICT pod", async () => {
    const protocols = [2, 4, 41, 47, 50, 51, 89, 103, 132, 136, 253];
    const packets = routes(own, server).flatMap((route) =>
      protocols.map((proto) => forged.packet(route, proto, new Uint8Array(64)))
    );
    await inject("not-authenticated", packets.map((each) => forged.ethernet(link(), each)));
  });

  it("sends nothing into a connection that it has not opened", async () => {
    const segments = routes(own, server).map((route) => {
      const options = { flags: forged.TCP_ACK, text: "plain words" };
      return forged.packet(
        route,
        PROTO.TCP,
        forged.tcp(route, { source: 40_001, target: HABITS.who }, options),
      );
    });
    await inject("no-connection", segments.map((each) => forged.ethernet(link(), each)));
  });

  it("takes nothing from others by a flood of SYNs, and neither does a host outside", async () => {
    const address = server.addresses[0];
    const counted = await around.refusals("syn-budget");
    const outside = await hostOf(mesh, "outside");
    const node = await hostOf(mesh, "node-1");
    const frames = {
      [PLAIN]: [forged.ethernet(link(), syn(own.addresses[0], address, HABITS.plain)), "port"],
      outside: [
        forged.ethernet(
          { source: outside.mac, target: node.mac },
          syn(outside.addresses[0], address, HABITS.plain),
        ),
        "source",
      ],
    } as const;
    await using live = await mesh.hold(NEAR, address);
    const floods = await Promise.all(
      Object.entries(frames).map(async ([place, [frame, what]]) =>
        await mesh.bed.spawn(
          place,
          [...DENO, PROGRAM, "flood", String(FLOOD), hex(frame), what],
          { stdin: "null", stdout: "null", stderr: "inherit" },
        )
      ),
    );
    const during = await mesh.dial(NEAR, "again", address, HABITS.who, 30);
    assert.equal(await live.ask("in the flood"), "in the flood");
    const ended = await Promise.all(floods.map((flood) => flood.status));
    assert.deepEqual(ended.map(({ code }) => code), [0, 0]);
    assert.deepEqual(during, { served: 30, failed: 0 });
    const later = await mesh.dial(NEAR, "again", address, HABITS.who, 30);
    assert.deepEqual(later, { served: 30, failed: 0 });
    assert.equal(await live.ask("after it"), "after it");
    assertServed([await mesh.dial("node-1", "send", address, HABITS.who, 100)]);
    assert.ok(await around.refusals("syn-budget") > counted, "the flood had no bound");
  });

  it("has confused nobody by any of it", async () => {
    const answers = await Promise.all(
      server.addresses.map((address) => mesh.dial(NEAR, "send", address, HABITS.who, 100)),
    );
    assertServed(answers);
  });

  const neighbours = async (place: string) => (await mesh.bed.exec(place, ["ip", "neigh"])).stdout;
});

/** Addresses of a place's eth0. */
interface Host {
  readonly mac: string;
  readonly addresses: readonly [string, string];
  readonly linkLocal: string;
}

async function hostOf(mesh: Mesh, place: string): Promise<Host> {
  const { stdout } = await mesh.bed.exec(place, ["ip", "-j", "addr", "show", "dev", "eth0"]);
  const [{ address, addr_info }] = JSON.parse(stdout) as [{
    readonly address: string;
    readonly addr_info: readonly { readonly scope: string; readonly local: string }[];
  }];
  const of = (scope: string) => addr_info.filter((each) => each.scope === scope);
  const [v4, v6] = of("global").map(({ local }) => local);
  const [linkLocal] = of("link").map(({ local }) => local);
  assert.ok(v4 !== undefined && v6 !== undefined && linkLocal !== undefined, stdout);
  return { mac: address, addresses: [v4, v6], linkLocal };
}

function routes(from: Host, to: Host): readonly [forged.Route, forged.Route] {
  const [v4, v6] = [0, 1].map((family) => ({
    source: from.addresses[family] ?? "",
    target: to.addresses[family] ?? "",
  }));
  assert.ok(v4 !== undefined && v6 !== undefined);
  return [v4, v6];
}

function macBytes(mac: string): number[] {
  return mac.split(":").map((byte) => Number.parseInt(byte, 16));
}
