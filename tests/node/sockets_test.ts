/**
 * Sockets of every kind: however a socket was made, its connection goes through mutual TLS or is
 * refused; both ends have their true names, and the wire shows nothing.
 *
 * @module
 */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { BOUND } from "./sockets_ports.ts";
import type { Report, Spec } from "./sockets_program.ts";
import { Program } from "./sockets_running.ts";
import { HABITS } from "./support/habits.ts";
import { ENROLLED, Mesh, pod, policy, service } from "./support/mesh.ts";

const CLIENT = "default/client";
const PLAIN = "default/plain";
const SERVER = "default/server";
const DENO = [Deno.execPath(), "run", "-A", "--quiet", "--no-config", "--no-lock"];
const PROGRAM = file("./sockets_program.ts");
/** Size of a capture without a packet. */
const EMPTY_CAPTURE = 24;
const NO_MPTCP = await Deno.readTextFile("/proc/sys/net/mptcp/enabled").then(
  (text) => text.trim() === "1" ? false : "MPTCP is switched off",
  () => "this kernel has no MPTCP",
);

/** What `sockets_server.ts` binds, its port, and by which families it can be reached. */
const NARROW = [
  ["localhost (IPv4)", BOUND.localhost4, []],
  ["localhost (IPv6)", BOUND.localhost6, []],
  ["its address (IPv4)", BOUND.address4, [0]],
  ["its address (IPv6)", BOUND.address6, [1]],
  ["IPv4", BOUND.only4, [0]],
  ["IPv6", BOUND.only6, [1]],
] as readonly (readonly [string, number, readonly number[]])[];

describe("a socket", { timeout: 120_000 }, () => {
  let mesh: Mesh;
  let addresses: readonly [string, string];
  /** binds in narrow ways, beside the talker in the same pod */
  let server: Program;

  before(async () => {
    mesh = await Mesh.up({
      nodes: 2,
      documents: [
        pod({ name: "server", runs: "talker", node: "node-1" }),
        pod({ name: "client", labels: ENROLLED, node: "node-2" }),
        pod({ name: "plain", node: "node-2" }),
        policy("server", "STRICT"),
        service("server", [{ port: 80, targetPort: HABITS.echo }]),
      ],
    });
    addresses = await mesh.addresses(SERVER);
    const narrow = 'echo 1 >/proc/sys/net/ipv6/bindv6only && exec "$@"';
    server = await Program.start(mesh, SERVER, [
      ...["sh", "-c", narrow, "sh", ...DENO, file("./sockets_server.ts"), ...addresses],
    ]);
  });

  after(async () => {
    await server[Symbol.asyncDispose]();
    await mesh[Symbol.asyncDispose]();
  });

  const run = async (
    place: string,
    specs: readonly Spec[],
    prefix: readonly string[] = [],
  ): Promise<Report[]> => {
    return await Promise.all(specs.map(async (spec) => {
      const command = [...prefix, ...DENO, PROGRAM, JSON.stringify(spec)];
      const { stdout, stderr } = await mesh.bed.exec(place, command);
      assert.notEqual(stdout, "", stderr);
      return JSON.parse(stdout) as Report;
    }));
  };

  const refusals = async (reason: string) => {
    const reports = await Promise.all(mesh.nodes.map((node) => mesh.status(node)));
    const rows = reports.flatMap((status) => status.refusals);
    return rows.filter((row) => row.reason === reason).reduce((sum, { total }) => sum + total, 0);
  };

  let said = 0;
  /** What to send: different each time, so that a capture cannot show an earlier one. */
  const words = () => `what only ${++said} may read`;

  /** Dials the server's addresses with such sockets; nothing that is said may be on the wire. */
  const dial = async (
    place: string,
    specs: readonly Partial<Spec>[],
    dialled: readonly string[] = addresses,
    command = run,
  ): Promise<Report[]> => {
    const whole = specs.flatMap((spec) =>
      dialled.map((host) => ({ host, port: HABITS.echo, say: words(), ...spec }))
    );
    const outsiders = (await mesh.addresses(PLAIN)).map((address) => `src host ${address}`);
    await using wire = await mesh.bed.capture("node-1", { filter: "tcp" });
    await using refused = await mesh.bed.capture("node-1", { filter: outsiders.join(" or ") });
    const reports = await command(place, whole);
    const shown = await Promise.all(whole.map(({ say }) => wire.contains(say)));
    assert.ok(!shown.includes(true), "the wire shows what was said");
    await refused.stop();
    assert.equal((await Deno.stat(refused.file)).size, EMPTY_CAPTURE, "a refused pod was heard");
    for (const [index, { answer }] of reports.entries()) {
      const { say = "" } = whole[index] ?? {};
      if (answer) assert.equal(answer, `${say}end after ${say.length}`);
    }
    return reports;
  };

  /** Fails unless the ends are the addresses, and the server has seen the client's own end. */
  const checkNames = async (
    reports: readonly Report[],
    own: readonly string[],
    dialled: readonly string[] = addresses,
    port: number = HABITS.echo,
  ) => {
    const seen = await clientsOf(mesh, SERVER);
    for (const { client } of server.lines) if (client !== undefined) seen.add(client);
    for (const [index, { peer, local = "", error, during }] of reports.entries()) {
      assert.equal(error, undefined, `${error} at ${during}`);
      assert.equal(peer, `${dialled[index % dialled.length]} ${port}`);
      assert.equal(local.split(" ")[0], own[index % own.length]);
      assert.ok(seen.has(local.replace("::ffff:", "")), `${local} is none of ${[...seen]}`);
    }
  };

  /** What was accepted for a server that is elsewhere ends when that one refuses. */
  const checkEnded = (reports: readonly Report[]) => {
    for (const { error, answer } of reports) {
      assert.match(error ?? "served", /^ECONN(REFUSED|RESET)$/);
      assert.ok(!answer);
    }
  };

  const checkRefused = (reports: readonly Report[]) => {
    for (const { error, during, answer } of reports) {
      assert.deepEqual([error, during, answer], ["ECONNREFUSED", "connect", undefined]);
    }
  };

  const checkBoth = async (spec: (own: string) => Partial<Spec>) => {
    const [own, others] = await Promise.all([mesh.addresses(CLIENT), mesh.addresses(PLAIN)]);
    for (const family of [0, 1] as const) {
      const dialled = [addresses[family]];
      // deno-lint-ignore no-await-in-loop -- one after the other is easier to read in a failure
      const reports = await dial(CLIENT, [spec(own[family])], dialled);
      // deno-lint-ignore no-await-in-loop
      await checkNames(reports, [own[family]], dialled);
      // deno-lint-ignore no-await-in-loop
      checkRefused(await dial(PLAIN, [spec(others[family])], dialled));
    }
  };

  it("that is bound to its address is carried in the mesh, and refused outside of it", () =>
    checkBoth((address) => ({ bind: { address } })));

  it("that is bound to a port is carried in the mesh, and refused outside of it", async () => {
    const port = 7999;
    await checkBoth(() => ({ bind: { port } }));
    const seen = await clientsOf(mesh, SERVER);
    for (const own of await mesh.addresses(CLIENT)) assert.ok(seen.has(`${own} ${port}`));
  });

  const kinds: readonly (readonly [string, Partial<Spec>])[] = [
    ["that is bound to a device", { bind: { device: "eth0" } }],
    ["that does not block", { how: "non-blocking" }],
    ["that a ring connects", { how: "ring" }],
    ["that a polled ring connects", { how: "polled ring" }],
  ];
  for (const [what, spec] of kinds) {
    it(`${what} is carried in the mesh, and refused outside of it`, () => checkBoth(() => spec));
  }

  it(
    "of MPTCP is carried in the mesh, and refused outside of it",
    { skip: NO_MPTCP },
    () => checkBoth(() => ({ protocol: "mptcp" })),
  );

  it("that sends with its SYN is carried in the mesh, and refused outside of it", async () => {
    // As client, and without a cookie of the server's: its first packet has data.
    const allow = ["sh", "-c", "echo 5 >/proc/sys/net/ipv4/tcp_fastopen"];
    await Promise.all([CLIENT, PLAIN].map((place) => mesh.bed.exec(place, allow)));
    await checkBoth(() => ({ how: "fast open" }));
  });

  it("of IPv6 that dials IPv4 is carried in the mesh, and refused outside of it", async () => {
    const [v4] = addresses;
    const [own] = await mesh.addresses(CLIENT);
    const reports = await dial(CLIENT, [{ mapped: true }], [v4]);
    await checkNames(reports, [`::ffff:${own}`], [`::ffff:${v4}`]);
    checkRefused(await dial(PLAIN, [{ mapped: true }], [v4]));
  });

  it("of UDP that is connected is told that STRICT does not take it", async () => {
    const before = await refusals("not-authenticated");
    const spec = { protocol: "udp", port: BOUND.datagrams, answered: true } as const;
    for (const place of [CLIENT, PLAIN]) {
      // deno-lint-ignore no-await-in-loop -- one after the other is easier to read in a failure
      const own = await mesh.addresses(place);
      // deno-lint-ignore no-await-in-loop
      const reports = await run(place, addresses.map((host) => ({ host, say: words(), ...spec })));
      for (const [index, { error, during, peer, local }] of reports.entries()) {
        assert.match(`${during} ${error}`, /^receive (EHOSTUNREACH|EACCES)$/);
        assert.equal(peer, `${addresses[index]} ${spec.port}`);
        assert.equal(local?.split(" ")[0], own[index]);
      }
    }
    assert.ok(server.lines.every(({ datagram }) => datagram === undefined), "one has arrived");
    assert.ok(await refusals("not-authenticated") >= before + 4, "it is not counted");
  });

  it("that was made before its process came into the pod's cgroup is no exception", async () => {
    for (const place of [CLIENT, PLAIN]) {
      // deno-lint-ignore no-await-in-loop -- one after the other is easier to read in a failure
      const { netns, cgroup } = await mesh.bed.pod(place);
      // deno-lint-ignore no-await-in-loop
      const reports = await dial(
        place,
        [{ then: { cgroup } }],
        addresses,
        (_, specs) => run("node-2", specs, ["nsenter", `--net=${netns}`]),
      );
      if (place === PLAIN) checkRefused(reports);
      // deno-lint-ignore no-await-in-loop
      else await checkNames(reports, await mesh.addresses(CLIENT));
    }
  });

  it("is the namespace's in which it was made, wherever its process went", async () => {
    const [client, node] = await Promise.all([mesh.bed.pod(CLIENT), mesh.bed.node("node-2")]);
    const stays = await dial(CLIENT, [
      { then: { netns: node.netns, cgroup: `${node.cgroup}/host` } },
    ]);
    await checkNames(stays, client.addresses);
    const before = await refusals("not-tls");
    const { netns, cgroup } = client;
    const foreign = await run(
      "node-2",
      addresses.map((host) => ({
        ...{ host, port: HABITS.echo, say: words(), then: { netns, cgroup } },
      })),
    );
    for (const { answer, local } of foreign) {
      assert.ok(node.addresses.some((address) => local?.startsWith(`${address} `)), local);
      assert.equal(answer || undefined, undefined);
    }
    assert.ok(await refusals("not-tls") >= before + 2, "it is not counted");
  });

  for (const [from, to] of [[CLIENT, PLAIN], [PLAIN, CLIENT]] as const) {
    it(`that ${from} gives to ${to} remains what it was`, async () => {
      const own = await mesh.addresses(from);
      for (const family of [0, 1] as const) {
        const path = `${mesh.bed.directory}/given-${said}`;
        const take = async (place: string, [spec]: readonly Spec[]) => {
          assert.ok(spec !== undefined);
          await using _giver = await Program.start(mesh, from, [
            ...[...DENO, PROGRAM, JSON.stringify({ ...spec, give: path })],
          ]);
          return await run(place, [{ ...spec, take: path }]);
        };
        const dialled = [addresses[family]];
        // deno-lint-ignore no-await-in-loop -- one after the other is easier to read in a failure
        const reports = await dial(to, [{}], dialled, take);
        if (from === PLAIN) checkRefused(reports);
        // deno-lint-ignore no-await-in-loop
        else await checkNames(reports, [own[family]], dialled);
      }
    });
  }

  it("leads a pod to itself, by address", async () => {
    const reports = await dial(SERVER, [{}]);
    await checkNames(reports, addresses);
  });

  it("leads a pod to itself, by Service", async () => {
    const names = await Promise.all(["v4", "v6"].map(async (family) => {
      const { stdout } = await mesh.bed.exec(PLAIN, ["getent", `ahosts${family}`, "server"]);
      return stdout.split(" ")[0] ?? "";
    }));
    const reports = await dial(SERVER, [{ port: 80 }], names);
    await checkNames(reports, addresses, names, 80);
  });

  for (const [name, port, served] of NARROW) {
    it(`of an application that binds only ${name} is reached exactly there`, async () => {
      const open = addresses.filter((_, family) => served.includes(family));
      const closed = addresses.filter((_, family) => !served.includes(family));
      const own = (await mesh.addresses(CLIENT)).filter((_, family) => served.includes(family));
      if (open.length > 0) {
        const reports = await dial(CLIENT, [{ port }], open);
        await checkNames(reports, own, open, port);
        assert.ok(server.lines.some(({ local }) => local === `${open[0]} ${port}`));
      }
      checkEnded(await dial(CLIENT, [{ port }], closed));
      // Nobody is listening there, and whoever asks the kernel is told so.
      checkRefused(await dial("outside", [{ port }], closed));
    });
  }
});

/** The clients that an application's own log names. */
async function clientsOf(mesh: Mesh, name: string): Promise<Set<string>> {
  const log = await Deno.readTextFile((await mesh.bed.pod(name)).log);
  const lines = log.split("\n").filter((line) => line.startsWith("{"));
  return new Set(lines.map((line) => (JSON.parse(line) as { client: string }).client));
}

function file(name: string): string {
  return fileURLToPath(import.meta.resolve(name));
}
