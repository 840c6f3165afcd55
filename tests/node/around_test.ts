/**
 * Ways around the mesh that a pod, its node's other software or a careless document could find:
 * each ends as refused as the front door.
 *
 * @module
 */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { after, before, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { compileFixture } from "@/tests/kernel/ffi_fixture.ts";
import { Source } from "@/tests/testbed/control/source.ts";
import { eventually } from "@/tests/support/waiting.ts";
import { ethernet, packet, PROTO, tcp } from "./around_frames.ts";
import { NESTED, TAKE_PID } from "./around_scripts.ts";
import { assertQuiet, DENO, hex, PROGRAM, Surroundings } from "./around_surroundings.ts";
import { Program } from "./sockets_running.ts";
import { HABITS } from "./support/habits.ts";
import {
  assertRefused,
  assertServed,
  dialer,
  ENROLLED,
  Mesh,
  pod,
  policy,
  url,
} from "./support/mesh.ts";

const SERVER = "default/server";
const NEAR = "default/near";
const PLAIN = "default/plain";
const FAR = "default/far";
const HOOK = fileURLToPath(import.meta.resolve("./around_hook.ts"));
/** Target ports of what the relay takes from its pods. */
const STEERED = { first: 61_440, count: 4096 };

describe("a way around the mesh", { timeout: 180_000 }, () => {
  let mesh: Mesh;
  let around: Surroundings;
  let addresses: readonly [string, string];

  before(async () => {
    mesh = await Mesh.up({
      nodes: 2,
      documents: [
        pod({ name: "server", runs: "talker", node: "node-1" }),
        pod({ name: "late", runs: "talker", node: "node-1" }),
        pod({ name: "near", labels: ENROLLED, node: "node-1" }),
        pod({ name: "plain", node: "node-1" }),
        pod({ name: "nested", node: "node-1" }),
        pod({ name: "nested-in", labels: ENROLLED, node: "node-1" }),
        pod({ name: "far", labels: ENROLLED, node: "node-2", serviceAccount: "far" }),
        pod({ name: "old", labels: ENROLLED, node: "node-2", serviceAccount: "old" }),
        pod({ name: "plain-far", node: "node-2" }),
        policy("server", "STRICT", { ports: { [HABITS.plain]: "DISABLE" } }),
      ],
    });
    around = new Surroundings(mesh);
    addresses = await mesh.addresses(SERVER);
  });

  after(() => mesh[Symbol.asyncDispose]());

  const tryAll = (from: string) => mesh.askAll(from, addresses);
  const checkServed = async (from: string) => assertServed(await tryAll(from), from);
  const checkRefused = async (from: string) => assertRefused(await tryAll(from), from);

  /** Does something that must not reach the application, and is counted. */
  const unheard = async (reason: string, action: () => Promise<void>) => {
    const heard = await around.heard(SERVER);
    const counted = await around.refusals(reason);
    await action();
    assert.equal(await around.heard(SERVER), heard, "the application heard of it");
    assert.ok(await around.refusals(reason) > counted, `"${reason}" is not counted`);
  };

  it("is not the process id of an agent that died", async () => {
    const { agentPid } = await mesh.bed.node("node-2");
    const own = await mesh.addresses(FAR);
    const heard = await around.heard(SERVER);
    await mesh.bed.kill("node-2", "KILL");
    // Its number is free when its parent has heard of its end.
    await eventually("it is buried", () => !existsSync(`/proc/${agentPid}`));
    await using wire = await mesh.bed.capture("node-1", {
      filter: own.map((address) => `src host ${address}`).join(" or "),
    });
    for (const address of addresses) {
      const command = dialer("send", address, HABITS.who, 100);
      // deno-lint-ignore no-await-in-loop -- one process has the id at a time
      const { code, stdout, stderr } = await mesh.bed.exec(FAR, [
        ...["sh", "-c", TAKE_PID, "sh", String(agentPid), ...command],
      ]);
      assert.equal(code, 0, stderr);
      assert.equal(stdout, `${agentPid}\n{"error":"ConnectionRefused"}\n`);
    }
    await assertQuiet(wire);
    assert.equal(await around.heard(SERVER), heard);
    await mesh.bed.start("node-2");
    assert.ok(await around.refusals("agent-down") >= 2);
    await checkServed(FAR);
  });

  /** Ports on which a pod listens, but for its applications'. */
  const relayPorts = async (place: string): Promise<number[]> => {
    const { stdout } = await mesh.bed.exec(place, ["ss", "-Htln"]);
    const ports = [...stdout.matchAll(/:(\d+)\s+\S+\s*$/gm)].map(([, port]) => Number(port));
    const habits: readonly number[] = Object.values(HABITS);
    return ports.filter((port) => !habits.includes(port));
  };

  it("is no place beside the relay on its ports", async () => {
    for (const place of [SERVER, FAR]) {
      // deno-lint-ignore no-await-in-loop -- one after the other is easier to read in a failure
      const ports = await relayPorts(place);
      assert.ok(ports.length >= 2, `${place} has no relay`);
      // deno-lint-ignore no-await-in-loop
      const { stdout, stderr } = await mesh.bed.exec(place, [
        ...[...DENO, PROGRAM, "join", ...ports.map(String)],
      ]);
      assert.equal(stdout, "[]\n", stderr);
    }
    const { first, count } = STEERED;
    const more = 'ulimit -n 8192; exec "$@"';
    const hoard = [...DENO, PROGRAM, "hoard", String(first), String(count)];
    await using taken = await Program.start(mesh, FAR, ["sh", "-c", more, "sh", ...hoard]);
    assert.deepEqual(taken.lines, [count]);
    const answer = await mesh.dial(FAR, "again", addresses[0], HABITS.who, 30);
    assert.deepEqual(answer, { served: 30, failed: 0 });
  });

  it("is no port of a relay's own, near or far", async () => {
    const places = [SERVER, NEAR, PLAIN, FAR, "default/plain-far", "node-1", "node-2", "outside"];
    const [others, own] = await Promise.all([relayPorts(SERVER), relayPorts(NEAR)]);
    await unheard("relay-port", async () => {
      const answers = await Promise.all(places.map(async (place) => {
        const urls = addresses.flatMap((address) => others.map((port) => url(address, port)));
        if (place !== NEAR) return await mesh.curl(place, urls);
        const mine = await mesh.addresses(NEAR);
        urls.push(...mine.flatMap((address) => own.map((port) => url(address, port))));
        return await mesh.curl(place, urls);
      }));
      // Refused, ended or reset, and none of them waits until its time is over.
      for (const answer of answers.flat()) assert.match(answer, /^000 (7|52|56)$/);
    });
    const busy = async () => {
      const { stdout } = await mesh.bed.exec(SERVER, ["ss", "-Htn", "state", "established"]);
      return others.filter((port) => stdout.includes(`:${port} `));
    };
    await eventually("the relay is not busy with itself", async () => (await busy()).length === 0);
  });

  for (const [name, reason] of [["nested", "mtls-required"], ["nested-in", "not-tls"]] as const) {
    it(`is no namespace inside of a pod (${reason})`, () =>
      unheard(reason, async () => {
        const own = await mesh.addresses(`default/${name}`);
        const urls = addresses.map((address) => url(address, HABITS.who));
        const { stdout, stderr } = await mesh.bed.exec(`default/${name}`, [
          ...["sh", "-c", NESTED, "sh", ...own, "10.244.1.1", "fd00:10:244:1::1", ...urls],
        ]);
        assert.match(stdout, /^(000 (7|52|56)\n){2}$/, stderr);
      }));
  }

  /** A frame of a pod that says it is another, for a port that anybody may use. */
  const lie = async (): Promise<Uint8Array> => {
    const [source] = await mesh.addresses(NEAR);
    const route = { source, target: addresses[0] };
    const segment = tcp(route, { source: 40_000, target: HABITS.plain });
    const link = { source: await macOf(mesh, PLAIN), target: await macOf(mesh, SERVER) };
    return ethernet(link, packet(route, PROTO.TCP, segment));
  };

  const checkGuarded = async () => {
    const frame = hex(await lie());
    await unheard("spoofed", async () => {
      await using arrived = await mesh.bed.capture(SERVER, { filter: `tcp port ${HABITS.plain}` });
      await mesh.bed.exec(PLAIN, [...DENO, PROGRAM, "send", frame]);
      await assertQuiet(arrived);
    });
  };

  for (const position of ["first", "last"] as const) {
    it(`is no other program on the interface, which wants to be ${position}`, async () => {
      const { log } = await mesh.bed.node("node-1");
      const { veth } = await mesh.bed.pod(PLAIN);
      const putBack = async () =>
        (await Deno.readTextFile(log)).split("\n")
          .filter((line) => line.includes("guard-put-back") && line.includes(PLAIN)).length;
      const before = await putBack();
      const object = await Deno.makeTempFile({ prefix: "weft-node-test-", suffix: ".o" });
      try {
        await Deno.writeFile(object, await compileFixture("accept_all"));
        await using _hook = await Program.start(mesh, "node-1", [
          ...[...DENO, HOOK, object, "accept_all", veth, position],
        ]);
        if (position === "first") {
          await eventually("the guard is first again", async () => await putBack() > before);
        }
        await checkGuarded();
        await checkRefused(PLAIN);
        await checkServed(NEAR);
        if (position === "last") assert.equal(await putBack(), before);
      } finally {
        await Deno.remove(object);
      }
    });
  }

  it("is no pod from which the program that hands connections over was taken", async () => {
    const { bpffs } = await mesh.bed.node("node-1");
    const heard = await around.heard(SERVER);
    const counted = await around.refusals("not-steered");
    await mesh.bed.kill("node-1", "STOP");
    try {
      for (const { name } of Deno.readDirSync(`${bpffs}/links`)) {
        if (!name.endsWith("-lookup")) continue;
        const args = ["link", "detach", "pinned", `${bpffs}/links/${name}`];
        // deno-lint-ignore no-await-in-loop -- few
        const { success } = await new Deno.Command("bpftool", { args }).output();
        assert.ok(success, `bpftool ${args.join(" ")}`);
      }
      const command = ["curl", "-gs", "-m", "1", "-o", "/dev/null", "-w", "%{time_connect}"];
      const urls = addresses.map((address) => url(address, HABITS.who));
      const answers = await Promise.all(
        ["outside", "default/far"].flatMap((place) =>
          urls.map(async (each) => [place, await mesh.bed.exec(place, [...command, each])] as const)
        ),
      );
      for (const [place, { code, stdout }] of answers) {
        assert.notEqual(code, 0);
        // A far relay accepts for its own pod; what it cannot hand on comes to nothing.
        if (place === "outside") assert.deepEqual([code, Number(stdout)], [28, 0]);
      }
      assert.equal(await around.heard(SERVER), heard, "the application heard of it");
    } finally {
      await mesh.bed.kill("node-1", "CONT");
    }
    await eventually("the program is back", async () => {
      const answers = await tryAll(NEAR);
      return answers.every(({ error }) => error === undefined);
    });
    assert.ok(await around.refusals("not-steered") > counted, "it is not counted");
    await checkRefused("outside");
  });

  it("is no connection that is older than the policy", async () => {
    const late = await mesh.addresses("default/late");
    for (const address of late) {
      // deno-lint-ignore no-await-in-loop -- the policy goes before the next
      await using live = await mesh.hold("outside", address);
      // deno-lint-ignore no-await-in-loop
      await using idle = await mesh.hold(PLAIN, address);
      // deno-lint-ignore no-await-in-loop
      assert.equal(await live.ask("early"), "early");
      // deno-lint-ignore no-await-in-loop
      await using arrived = await mesh.bed.capture("default/late");
      // deno-lint-ignore no-await-in-loop
      await mesh.apply(policy("late", "STRICT"));
      // deno-lint-ignore no-await-in-loop
      assert.match(await live.ask("too late").catch(String), /^over: /);
      // deno-lint-ignore no-await-in-loop
      assert.match(await idle.end().catch(String), /ConnectionReset|end/);
      // deno-lint-ignore no-await-in-loop
      assert.ok(!await arrived.contains("too late"));
      // deno-lint-ignore no-await-in-loop
      await mesh.delete(policy("late", "STRICT"));
    }
  });

  it("is no address that another identity has now, with the connections of the first", async () => {
    const key = { kind: "Pod", namespace: "default", name: "old" };
    await using live = await mesh.hold("default/old", addresses[0]);
    assert.equal(await live.ask("as the old one"), "as the old one");
    const heir = async (labels: Readonly<Record<string, string>>) => {
      const source = await Source.read((await mesh.bed.describe()).source);
      const first = source.get(key) ?? source.get({ ...key, name: "heir" });
      const { metadata, spec, ...rest } = first?.value ?? {};
      source.remove(key);
      source.putValue({
        ...rest,
        metadata: { ...metadata, name: "heir", uid: crypto.randomUUID(), labels },
        spec: { ...spec, serviceAccountName: "heir" },
      });
      await mesh.change(() => source.write());
    };
    await heir({});
    assert.match(await live.end().catch(String), /ConnectionReset|end/);
    await unheard("mtls-required", async () => {
      await eventually("the heir is refused", async () => {
        const [answer] = await tryAll("default/old");
        return answer?.error === "ConnectionRefused";
      });
      await checkRefused("default/old");
    });
    await heir(ENROLLED);
    await checkServed("default/old");
    const { stdout } = await mesh.weft("node-2", "identity", "list");
    assert.match(stdout, /sa\/heir/);
    assert.ok(!stdout.includes("sa/old"), stdout);
  });

  it("is no address that two live pods claim", async () => {
    const source = `${(await mesh.bed.describe()).source}/thief.yaml`;
    const claim = (node: string, name: string, ips: readonly string[]) =>
      Deno.writeTextFile(
        source,
        JSON.stringify({
          apiVersion: "v1",
          kind: "Pod",
          metadata: { name, namespace: "default", labels: ENROLLED },
          spec: { nodeName: node },
          status: { phase: "Running", podIP: ips[0], podIPs: ips.map((ip) => ({ ip })) },
        }),
      );
    const far = await mesh.addresses(FAR);
    await using live = await mesh.hold(FAR, addresses[0]);
    await mesh.change(() => claim("node-1", "thief", far));
    assert.match(await live.end().catch(String), /ConnectionReset|end/);
    const [v4, v6] = addresses;
    const answers =
      `(src host ${v4} and tcp[13] & 2 != 0) or (src host ${v6} and ip6[53] & 2 != 0)`;
    await using handshakes = await mesh.bed.capture("node-1", { filter: answers });
    await unheard("address-conflict", () => checkRefused(FAR));
    await assertQuiet(handshakes, "a SYN was answered");
    await mesh.change(() => claim("node-2", "thief", far));
    await checkRefused(FAR);
    // Nor does a STRICT pod open when somebody who is not STRICT claims to have its address.
    const heard = await around.heard(SERVER);
    await mesh.change(() => claim("node-2", "thief", addresses));
    await checkRefused("outside");
    await checkRefused(PLAIN);
    await checkRefused("default/plain-far");
    // Where one node has both, the address is nobody's at all: it is met with silence.
    await mesh.change(() => claim("node-1", "thief", addresses));
    const urls = addresses.map((address) => url(address, HABITS.who));
    for (const place of ["outside", PLAIN, "default/plain-far"]) {
      // deno-lint-ignore no-await-in-loop -- one after the other is easier to read in a failure
      const answers = await mesh.curl(place, urls, ["-m", "1"]);
      for (const answer of answers) assert.match(answer, /^000 (7|28|52|56)$/);
    }
    assert.equal(await around.heard(SERVER), heard, "the application heard of it");
    await mesh.change(() => Deno.remove(source));
    await checkServed(FAR);
    await checkServed(NEAR);
  });
});

async function macOf(mesh: Mesh, place: string): Promise<string> {
  const { stdout } = await mesh.bed.exec(place, ["ip", "-j", "link", "show", "dev", "eth0"]);
  return (JSON.parse(stdout) as [{ readonly address: string }])[0].address;
}
