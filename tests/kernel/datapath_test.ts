// deno-lint-ignore-file no-await-in-loop -- one step at a time, to name the one that fails
/**
 * The datapath in a real kernel, without a relay: what each kind of client gets from each kind of
 * pod, and what is left when somebody interferes.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { WeftReason } from "@/bpf/layout.gen.ts";
import { attachClsact, ClsactPoint, queryClsact } from "@/ffi/bpf/clsact.ts";
import { AttachType } from "@/ffi/bpf/constants.ts";
import { BpfLink, queryTcx } from "@/ffi/bpf/link.ts";
import { BpfObject } from "@/ffi/bpf/object.ts";
import { removeDatapath } from "@/src/load/mod.ts";
import { ADDRESSES, received, TestNode } from "./datapath_fixture.ts";
import { compileFixture, run } from "./ffi_fixture.ts";

const BOTH = ADDRESSES.b;

describe("a pod that no policy covers", () => {
  it("is reached by pods, hosts outside and its node, over IPv4 and IPv6", async () => {
    await using node = await TestNode.create();
    node.apply({});
    await using _server = node.serve("b", 8000);
    for (const from of ["a", "outside", "node"]) {
      for (const address of BOTH) {
        assert.equal(await node.dial(from, address, 8000), "served", `${from} to ${address}`);
      }
    }
  });
});

describe("a STRICT pod without a relay", () => {
  it("refuses everybody but its own node at once", async () => {
    await using node = await TestNode.create();
    node.apply({ b: { source: "mesh", mode: "strict" } });
    await using server = node.serve("b", 8000);
    for (const address of BOTH) {
      assert.equal(await node.dial("a", address, 8000), "refused");
      assert.equal(await node.dial("outside", address, 8000), "refused");
      assert.equal(await node.dial("node", address, 8000), "served");
    }
    assert.equal(server.peers.length, BOTH.length);
    assert.equal(node.datapath.counters()[WeftReason.MTLS_REQUIRED], 2);
  });

  it("refuses a port on which nobody listens, and one that is overridden is open", async () => {
    await using node = await TestNode.create();
    node.apply({ b: { source: "mesh", mode: "strict", ports: { 8001: "none" } } });
    await using _server = node.serve("b", 8001);
    assert.equal(await node.dial("outside", BOTH[0], 8002), "refused");
    assert.equal(await node.dial("a", BOTH[0], 8001), "served");
    assert.equal(node.datapath.counters()[WeftReason.NOT_LISTENING], 1);
  });

  it("lets no byte through when sk_lookup is detached from outside", async () => {
    await using node = await TestNode.create();
    node.apply({ b: { source: "mesh", mode: "strict" } });
    await using server = node.serve("b", 8000);
    for (const { name } of Deno.readDirSync(`${node.pins}/links`)) {
      if (name.endsWith("-lookup")) {
        await run("bpftool", "link", "detach", "pinned", `${node.pins}/links/${name}`);
      }
    }
    assert.notEqual(await node.dial("outside", BOTH[0], 8000), "served");
    assert.deepEqual(server.received, []);
    assert.deepEqual(server.peers, []);
  });

  it("gets its sk_lookup and the head of the veth back when others have taken them", async () => {
    await using node = await TestNode.create();
    node.apply({ b: { source: "mesh", mode: "strict" } });
    for (const { name } of Deno.readDirSync(`${node.pins}/links`)) {
      if (name.endsWith("-lookup")) {
        await run("bpftool", "link", "detach", "pinned", `${node.pins}/links/${name}`);
      }
    }
    await using server = node.serve("b", 8000);
    assert.equal(node.inNode(() => node.datapath.repair()), false);
    assert.equal(await node.dial("outside", BOTH[0], 8000), "refused");
    assert.deepEqual(server.peers, []);
  });

  it("answers a datagram with administratively prohibited, and still gets its own answers", async () => {
    await using node = await TestNode.create();
    node.apply({ b: { source: "mesh", mode: "strict" } });
    const ping = (from: string, to: string) => node.command(from, "ping", "-c1", "-W1", to);
    assert.notEqual((await ping("outside", BOTH[0])).code, 0);
    assert.equal((await ping("node", BOTH[0])).code, 0);
    assert.equal((await ping("b", "10.99.0.9")).code, 0);
    assert.ok((node.datapath.counters()[WeftReason.NOT_AUTHENTICATED] ?? 0) >= 1);
  });
});

describe("the guard", () => {
  it("does without TCX, by filters of clsact that go with the pod", async () => {
    await using node = await TestNode.create({ hooks: "clsact" });
    node.apply({ b: { source: "mesh", mode: "strict" } });
    await using server = node.serve("b", 8000);
    assert.equal(await node.dial("outside", BOTH[0], 8000), "refused");
    assert.equal(await node.dial("node", BOTH[0], 8000), "served");
    assert.equal(server.peers.length, 1);
    node.inNode(() => removeDatapath(node.pins));
    const { text } = await node.command("node", "tc", "filter", "show", "dev", "vb", "egress");
    assert.equal(text, "");
    assert.equal(await node.dial("outside", BOTH[0], 8000), "served");
  });

  it("is missed only until it is there again", async () => {
    await using node = await TestNode.create();
    node.apply({ b: { source: "mesh", mode: "strict" } });
    const pin = `${node.pins}/links/pod-1-lookup`;
    Deno.removeSync(pin);
    Deno.mkdirSync(pin); // in the way
    node.inNode(() => node.datapath.repair());
    assert.equal(node.datapath.failures.size, 1);
    Deno.removeSync(pin);
    node.inNode(() => node.datapath.repair());
    assert.deepEqual([...node.datapath.failures], []);
  });

  it("goes with its pod although somebody else's directory stands in a pin's place", async () => {
    await using node = await TestNode.create();
    node.apply({ b: { source: "mesh", mode: "strict" } });
    const links = [...Deno.readDirSync(`${node.pins}/links`)].map(({ name }) => name);
    const slot = node.datapath.pods.get("default/a")?.slot;
    const [inTheWay, ...others] = links.filter((name) => name.startsWith(`pod-${slot}-`));
    assert.equal(others.length, 2);
    Deno.removeSync(`${node.pins}/links/${inTheWay}`);
    Deno.mkdirSync(`${node.pins}/links/${inTheWay}`);
    const { revision } = node.datapath;
    node.apply({ a: { absent: true } });
    assert.ok(node.datapath.revision > revision, "the plan is in force");
    const left = [...Deno.readDirSync(`${node.pins}/links`)].map(({ name }) => name);
    assert.deepEqual(left.toSorted(), links.filter((name) => !others.includes(name)).toSorted());
  });

  it("takes its filter's place back from a program that lets everything through", async () => {
    await using node = await TestNode.create({ hooks: "clsact" });
    node.apply({ b: { source: "mesh", mode: "strict" } });
    using intruder = BpfObject.open(await compileFixture("accept_all"));
    intruder.load();
    const place = { ifindex: vethOf(node), point: ClsactPoint.EGRESS, priority: 1, handle: 1 };
    const guard = node.inNode(() => queryClsact(place));
    assert.ok(guard);
    node.inNode(() => attachClsact(intruder.program("accept_all"), place));
    assert.notEqual(node.inNode(() => queryClsact(place)), guard);
    node.inNode(() => node.datapath.repair());
    assert.equal(node.inNode(() => queryClsact(place)), guard);
  });

  it("tells once of a pod that has lost its interface, however often it is tried", async () => {
    await using node = await TestNode.create();
    node.apply({ b: { source: "mesh", mode: "strict" } });
    await run("ip", "-n", node.space("node").name, "link", "del", "vb");
    for (let times = 0; times < 3; times++) node.inNode(() => node.datapath.repair());
    const told = node.log.filter((line) => /"guard-(not-)?put-back"/.test(line));
    assert.equal(told.length, 1, told.join(""));
    assert.match(told[0] ?? "", /"guard-not-put-back".*"default\/b"/);
  });

  it("takes the head back from a program that lets everything through", async () => {
    await using node = await TestNode.create();
    node.apply({ b: { source: "mesh", mode: "strict" } });
    await using server = node.serve("b", 8000);
    using intruder = BpfObject.open(await compileFixture("accept_all"));
    intruder.load();
    using _link = node.inNode(() =>
      BpfLink.attachTcx(intruder.program("accept_all"), vethOf(node), {
        attachType: AttachType.TCX_EGRESS,
        position: "first",
      })
    );
    node.inNode(() => node.datapath.repair());
    assert.equal(await node.dial("outside", BOTH[0], 8000), "refused");
    assert.deepEqual(server.peers, []);
    const order = node.inNode(() => queryTcx(vethOf(node), AttachType.TCX_EGRESS));
    assert.equal(order.length, 2);
    assert.equal(order[1], intruder.program("accept_all").info.id);
  });
});

describe("a policy that comes while connections live", () => {
  it("cuts plaintext ones, keeps the node's, and keeps all where the mode still allows them", async () => {
    await using node = await TestNode.create();
    node.apply({});
    await using server = node.serve("b", 8000, true);
    using fromPod = await hold(node, "outside", BOTH[0]);
    using fromNode = await hold(node, "node", BOTH[0]);
    node.apply({ b: { source: "mesh", mode: "permissive" } });
    await fromPod.say("still-here");
    await received(server.received, "still-here");
    node.apply({ b: { source: "mesh", mode: "strict" } });
    assert.notEqual(await fromPod.ended, 0);
    await fromNode.say("node-here");
    await received(server.received, "node-here");
  });
});

describe("source validation", () => {
  it("drops what a pod sends under another's address, from its own sockets or raw", async () => {
    await using node = await TestNode.create();
    node.apply({ b: { source: "mesh", mode: "none" } });
    await using server = node.serve("b", 8000);
    await run("ip", "-n", node.space("a").name, "addr", "add", "10.99.0.77/32", "dev", "eth0");
    const spoof = await node.command(
      "a",
      "nc",
      "-v",
      "-w",
      "1",
      "-d",
      "-s",
      "10.99.0.77",
      BOTH[0],
      "8000",
    );
    assert.notEqual(spoof.code, 0);
    assert.deepEqual(server.peers, []);
    assert.ok((node.datapath.counters()[WeftReason.SPOOFED] ?? 0) >= 1);
  });
});

describe("attested traffic between two pods of a node", () => {
  it("goes directly when the client's guard has seen the client send it", async () => {
    await using node = await TestNode.create();
    node.apply({
      a: { source: "mesh", where: "attest" },
      b: { source: "mesh", mode: "strict", where: "attest" },
    });
    await using server = node.serve("b", 8000);
    assert.equal(await node.dial("a", BOTH[0], 8000), "served");
    assert.equal(await node.dial("outside", BOTH[0], 8000), "refused");
    assert.equal(server.peers.length, 1);
  });
});

describe("a Service", () => {
  const service = { service: "default/b", address: "10.96.0.5", port: 80, proto: "TCP" } as const;

  it("is translated at connect() for pods and the node, and refused without backends", async () => {
    await using node = await TestNode.create();
    node.apply({}, [{ ...service, backends: [{ address: BOTH[0], port: 8000 }] }]);
    await using _server = node.serve("b", 8000);
    assert.equal(await node.dial("a", "10.96.0.5", 80), "served");
    assert.equal(await node.dial("node", "10.96.0.5", 80), "served");
    node.apply({}, [{ ...service, backends: [] }]);
    assert.equal(await node.dial("a", "10.96.0.5", 80), "refused");
    assert.equal(node.datapath.counters()[WeftReason.NO_BACKEND], 1);
  });
});

function vethOf(node: TestNode): number {
  const pod = node.datapath.pods.get("default/b");
  assert.ok(pod);
  return pod.veth.ifindex;
}

/** A connection that stays open. */
async function hold(node: TestNode, from: string, address: string): Promise<Held> {
  const child = new Deno.Command("nsenter", {
    args: [`--net=/run/netns/${node.space(from).name}`, "nc", "-w", "30", address, "8000"],
    stdin: "piped",
    stdout: "piped",
    stderr: "null",
  }).spawn();
  const reader = child.stdout.getReader();
  await reader.read(); // the greeting: it is established
  const writer = child.stdin.getWriter();
  const drained = (async () => {
    while (!(await reader.read()).done);
  })().catch(() => {});
  return {
    say: (text) => writer.write(new TextEncoder().encode(text)),
    ended: child.status.then(({ code }) => code === 0 ? -1 : code),
    [Symbol.dispose]: () => {
      try {
        child.kill("SIGKILL");
      } catch {
        // It has ended already.
      }
      void writer.close().catch(() => {});
      void drained;
    },
  };
}

interface Held extends Disposable {
  say(text: string): Promise<void>;
  /** Resolves when the connection is over. */
  readonly ended: Promise<number>;
}
