/**
 * Services: UDP as well as TCP, none without a backend, and a pod that asks for itself.
 *
 * @module
 */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { HABITS } from "./support/habits.ts";
import { assertServed, ENROLLED, Mesh, pod, policy, service } from "./support/mesh.ts";

/** Asks a DNS server for `server`'s address: the four bytes, and who has answered. */
const ASK_DNS = `
  use Socket;
  my ($how, $server) = @ARGV;
  my $query = pack("n6", 7, 0x100, 1, 0, 0, 0);
  $query .= pack("C/a*", $_) for qw(server default svc cluster local);
  $query .= pack("Cnn", 0, 1, 1);
  socket(my $s, AF_INET, SOCK_DGRAM, 0) or die "socket: $!";
  my $to = pack_sockaddr_in(53, inet_aton($server));
  alarm 5;
  for (1, 2) {
    if ($how eq "connected") { connect($s, $to) or die "connect: $!"; send($s, $query, 0) or die "send: $!"; }
    else { send($s, $query, 0, $to) or die "send: $!"; }
    my $from = recv($s, my $answer, 512, 0) or die "recv: $!";
    $from = getpeername($s) if $how eq "connected";
    my ($port, $address) = unpack_sockaddr_in($from);
    print join(".", unpack("C4", substr($answer, -4))), " from ", inet_ntoa($address), ":$port\\n";
  }`;

const SEND = `
  use Socket;
  my ($server) = @ARGV;
  socket(my $s, AF_INET, SOCK_DGRAM, 0) or die;
  print send($s, "x", 0, pack_sockaddr_in(53, inet_aton($server))) ? "sent" : "refused";`;

describe("a Service", { timeout: 60_000 }, () => {
  let mesh: Mesh;

  before(async () => {
    mesh = await Mesh.up({
      documents: [
        pod({ name: "server", runs: "talker" }),
        pod({ name: "open", runs: "talker" }),
        pod({ name: "client", labels: ENROLLED }),
        pod({ name: "plain" }),
        policy("server", "STRICT"),
        service("server", [{ port: 80, targetPort: HABITS.who }]),
        service("open", [{ port: 80, targetPort: HABITS.who }]),
        service("nobody", [
          { name: "tcp", port: 80, protocol: "TCP" },
          { name: "udp", port: 53, protocol: "UDP" },
        ]),
      ],
    });
  });

  after(() => mesh[Symbol.asyncDispose]());

  for (const from of ["default/client", "default/plain", "node-1"]) {
    for (const how of ["connected", "unconnected"]) {
      it(`answers datagrams of a socket that is ${how}, as itself, to ${from}`, async () => {
        const dns = "10.96.0.10";
        const { stdout, stderr } = await mesh.bed.exec(from, ["perl", "-e", ASK_DNS, how, dns]);
        const expected = `${await clusterAddress("server")} from ${dns}:53\n`;
        assert.equal(stdout, expected.repeat(2), stderr);
      });
    }
  }

  for (const from of ["default/client", "default/plain"]) {
    it(`without backends refuses ${from} at once`, async () => {
      const answers = await mesh.curl(from, ["http://nobody/"], ["-m", "1"]);
      assert.deepEqual(answers, ["000 7"]);
      const nobody = await clusterAddress("nobody");
      const { stdout } = await mesh.bed.exec(from, ["perl", "-e", SEND, nobody]);
      assert.equal(stdout, "refused");
    });
  }

  for (const name of ["server", "open"]) {
    // Its bare name is its own host name, which is in its /etc/hosts.
    it(`leads "${name}" to itself`, async () => {
      const answer = await mesh.dial(`default/${name}`, "send", `${name}.default.svc`, 80, 100);
      assertServed([answer]);
    });
  }

  it("is what a client believes to have reached", async () => {
    const address = await clusterAddress("server");
    const { peer, text } = await mesh.dial("default/client", "read", address, 80);
    assert.deepEqual([peer?.hostname, peer?.port], [address, 80]);
    assert.match(text ?? "", /^{"client":/);
  });

  const clusterAddress = async (name: string): Promise<string> => {
    const { stdout } = await mesh.bed.exec("default/plain", ["getent", "ahostsv4", name]);
    return stdout.split(" ")[0] ?? "";
  };
});
