/**
 * What a pod may not send: under another's address, as a router, and what is no TCP to a STRICT
 * pod.
 *
 * @module
 */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { HABITS } from "./support/habits.ts";
import { assertServed, ENROLLED, Mesh, pod, policy, url } from "./support/mesh.ts";

/** Sends an ICMPv6 message of a type (and code 0) with a body of zeros to all nodes. */
const SEND_ICMP6 = `
  use Socket qw(:DEFAULT pack_sockaddr_in6 inet_pton);
  my ($type, $to) = @ARGV;
  socket(my $s, AF_INET6, SOCK_RAW, 58) or die "socket: $!";
  setsockopt($s, 41, 18, pack("i", 255)) or die "hops: $!"; # IPV6_MULTICAST_HOPS
  setsockopt($s, 41, 16, pack("i", 255)) or die "hops: $!"; # IPV6_UNICAST_HOPS
  my $scope = 0;
  $scope = $1 if join("", qx(ip -o link show eth0)) =~ /^(\\d+)/;
  my $body = pack("CCn", $type, 0, 0) . ("\\0" x 20);
  send($s, $body, 0, pack_sockaddr_in6(0, inet_pton(AF_INET6, $to), $scope)) or die "send: $!";
  print "sent";`;

describe("the guard", { timeout: 60_000 }, () => {
  let mesh: Mesh;
  let addresses: readonly [string, string];

  before(async () => {
    mesh = await Mesh.up({
      documents: [
        pod({ name: "server", runs: "talker" }),
        pod({ name: "client", labels: ENROLLED }),
        pod({ name: "plain" }),
        policy("server", "STRICT", { ports: { [HABITS.plain]: "DISABLE" } }),
      ],
    });
    addresses = await mesh.addresses("default/server");
  });

  after(() => mesh[Symbol.asyncDispose]());

  const spoofed = async () => {
    const { refusals } = await mesh.status("node-1");
    return refusals.find(({ reason }) => reason === "spoofed")?.total ?? 0;
  };

  for (const family of [0, 1] as const) {
    for (const whose of ["default/client", "the node"]) {
      it(`drops what a pod sends as ${whose} (IPv${family * 2 + 4})`, async () => {
        const stolen = whose === "the node"
          ? (await mesh.bed.node("node-1")).addresses[family] ?? ""
          : (await mesh.addresses(whose))[family];
        const length = family === 0 ? 32 : 128;
        const address = `${stolen}/${length}`;
        const before = await spoofed();
        await using arrived = await mesh.bed.capture("default/server", {
          filter: `host ${stolen}`,
        });
        await mesh.bed.exec("default/plain", ["ip", "addr", "add", address, "dev", "lo", "nodad"]);
        try {
          const { code } = await mesh.bed.exec("default/plain", [
            ...["curl", "-gs", "-m", "1", "--interface", stolen],
            url(addresses[family], HABITS.plain),
          ]);
          assert.ok(code === 28 || code === 7, `curl ended with ${code}`);
        } finally {
          await mesh.bed.exec("default/plain", ["ip", "addr", "del", address, "dev", "lo"]);
        }
        const packets = await arrived.packets({ fields: ["tcp.dstport"] as const, filter: "tcp" });
        assert.deepEqual(packets, []);
        assert.ok(await spoofed() > before, "it is not counted");
      });
    }
  }

  it("lets no pod play the router", async () => {
    const before = await spoofed();
    await using arrived = await mesh.bed.capture("default/client", { filter: "icmp6" });
    const command = ["perl", "-e", SEND_ICMP6];
    const { stdout, stderr } = await mesh.bed.exec("default/plain", [...command, "134", "ff02::1"]);
    assert.equal(stdout, "sent", stderr);
    assert.ok(await spoofed() > before, "it is not counted");
    const advertised = await arrived.packets({
      fields: ["icmpv6.type"] as const,
      filter: "icmpv6.type == 134",
    });
    assert.deepEqual(advertised, []);
  });

  for (const from of ["default/plain", "default/client", "outside"]) {
    it(`lets no ping of ${from} to a STRICT pod`, async () => {
      const codes = await Promise.all(
        addresses.map(async (address) =>
          (await mesh.bed.exec(from, ["ping", "-c", "1", "-W", "1", address])).code
        ),
      );
      assert.deepEqual(codes, [1, 1]);
    });
  }

  it("lets the node ping its pod", async () => {
    const codes = await Promise.all(
      addresses.map(async (address) =>
        (await mesh.bed.exec("node-1", ["ping", "-c", "1", "-W", "1", address])).code
      ),
    );
    assert.deepEqual(codes, [0, 0]);
  });

  it("has not been confused by any of it", async () => {
    const answers = await Promise.all(
      addresses.map((address) => mesh.dial("default/client", "send", address, HABITS.who, 100)),
    );
    assertServed(answers);
  });
});
