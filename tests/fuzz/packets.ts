/**
 * Packets to the guard: real ones of every kind, then damaged, run through the loaded programs
 * (BPF_PROG_TEST_RUN) in both directions.
 *
 * In: a seed and a number of cases, root. It fails when the guard says anything but pass, drop or
 * "answered"; when payload, or anything that is neither the beginning nor the end of a connection,
 * passes to a STRICT pod that no relay has; when a pod speaks as somebody else; or when a drop is
 * not counted exactly once. What a packet is, is read here a second time and more plainly than in
 * bpf/parse.h: from the bytes as a receiver would take them.
 *
 * @module
 */
import assert from "node:assert/strict";
import { WeftCounter } from "@/bpf/layout.gen.ts";
import { ADDRESSES, TestNode } from "@/tests/kernel/datapath_fixture.ts";
import {
  bytesOf,
  GuardBench,
  packet,
  type PacketWish,
  Tcp,
  Verdict,
} from "@/tests/kernel/datapath_packets.ts";
import { run } from "@/tests/kernel/ffi_fixture.ts";
import { forEachCase, type FuzzOptions, join, type Random } from "./random.ts";

const PORT = 8000;
const FAR4 = "192.0.2.1";
const FAR6 = "2001:db8::1";
/** The kernel runs no program on a frame without a whole IP header, and on none beyond a page. */
const FRAME_BYTES = { ethernet: 14, ip4: 34, ip6: 54, max: 3000 };

/** Runs the fuzzer. */
export async function fuzzPackets(options: FuzzOptions): Promise<void> {
  await using node = await TestNode.create();
  // A STRICT pod that is attacked, and a pod that attacks.
  node.apply({ a: { source: "mesh" }, b: { source: "mesh", mode: "strict" } }, [], {
    cidrs: ["10.99.0.0/24"],
  });
  await using _server = node.serve("b", PORT);
  await silence(node);
  using victim = new GuardBench(node, "b");
  using attacker = new GuardBench(node, "a");
  await forEachCase(options, (random) => {
    const isToVictim = random.chance(2);
    const frame = isToVictim ? toVictim(random) : fromAttacker(random, attacker);
    const before = refusals(node);
    const verdict = isToVictim ? victim.to(frame) : attacker.from(frame);
    const counted = refusals(node) - before;
    try {
      assert.ok(VERDICTS.has(verdict), `verdict ${verdict}`);
      checkCount(verdict, counted, readFrame(frame));
      if (verdict !== Verdict.NEXT) return;
      if (isToVictim) checkStrict(readFrame(frame));
      else checkSource(readFrame(frame), frame, attacker.mac);
    } catch (error) {
      const where = isToVictim ? "to the victim" : "from the attacker";
      throw new Error(`${where}: ${frame.toHex()}`, { cause: error });
    }
  });
}

/** No packet but ours is to be counted: the kernel itself talks on interfaces that are up. */
async function silence(node: TestNode): Promise<void> {
  for (const name of ["a", "b", "outside"]) {
    // deno-lint-ignore no-await-in-loop -- three commands
    await run("ip", "-n", node.space(name).name, "link", "set", "eth0", "down");
  }
}

const VERDICTS: ReadonlySet<number> = new Set(Object.values(Verdict));

/** All that was refused or dropped, under any reason. */
function refusals(node: TestNode): number {
  const reasons = node.datapath.counters().slice(0, WeftCounter.DIRECT);
  return reasons.reduce((sum, count) => sum + count, 0);
}

/** A drop has one cause. A SYN that is refused passes, to be answered with a RST. */
function checkCount(verdict: number, counted: number, frame: Frame): void {
  if (verdict !== Verdict.NEXT) assert.equal(counted, 1, "a drop is counted once");
  else assert.ok(counted <= (frame.begins ? 1 : 0), `${counted} refusals of what passed`);
}

/** To a STRICT pod: no relay has any connection, so nothing passes that says something. */
function checkStrict(frame: Frame): void {
  if (frame.kind === "arp" || frame.isDiscovery || frame.isIcmpError || frame.begins) return;
  const isEnd = frame.kind === "tcp" && (frame.flags & Tcp.RST) !== 0;
  assert.ok(isEnd && frame.payload <= 0, `${frame.kind} passes to a STRICT pod`);
}

/** From a pod: as itself. */
function checkSource(frame: Frame, bytes: Uint8Array, mac: Uint8Array): void {
  assert.deepEqual(bytes.slice(6, 12), mac, "the MAC is the pod's");
  if (frame.kind === "arp") {
    assert.deepEqual(bytes.slice(22, 28), mac, "ARP names the pod's MAC");
    const sender = bytes.slice(28, 32);
    const isProbe = sender.every((byte) => byte === 0);
    assert.ok(isProbe || String(sender) === String(OWN[0].slice(12)), "ARP names the pod");
    return;
  }
  const isOwn = OWN.some((own) => String(own) === String(frame.source));
  const isUnnamed = frame.source.slice(12).every((byte) => byte === 0);
  const isDhcp = isUnnamed && frame.kind === "udp" && frame.ports === (68 << 16 | 67);
  const isLocal = frame.isDiscovery &&
    (frame.source[0] === 0xfe || frame.source.every((byte) => byte === 0));
  assert.ok(isOwn || isDhcp || isLocal, `a packet from ${frame.source} passes`);
  assert.ok(!frame.isRouter, "the pod plays the router");
}

const OWN = ADDRESSES.a.map(bytesOf) as [Uint8Array, Uint8Array];

function toVictim(random: Random): Uint8Array<ArrayBuffer> {
  const isV4 = random.chance(2);
  const target = ADDRESSES.b[isV4 ? 0 : 1];
  const source = random.pick(isV4 ? [FAR4, ADDRESSES.a[0], target] : [FAR6, ADDRESSES.a[1]]);
  return mangled(random, packet({ ...anything(random), source, target }));
}

function fromAttacker(random: Random, { mac }: GuardBench): Uint8Array<ArrayBuffer> {
  const isV4 = random.chance(2);
  const own = ADDRESSES.a[isV4 ? 0 : 1];
  const source = random.chance(3) ? ADDRESSES.b[isV4 ? 0 : 1] : own;
  const target = random.pick(isV4 ? [FAR4, ADDRESSES.b[0]] : [FAR6, ADDRESSES.b[1]]);
  const frame = packet({ ...anything(random), mac, source, target });
  return mangled(random, random.chance(8) ? arp(random, mac) : frame);
}

/** Few ports, so that packets meet the rows of others. */
function anything(random: Random): Omit<PacketWish, "source" | "target"> {
  const { SYN, ACK, FIN, RST } = Tcp;
  return {
    proto: random.pick(["tcp", "tcp", "tcp", "udp", "icmp"]),
    sourcePort: random.pick([40_000 + random.below(50), 53, 67, 68, 547]),
    targetPort: random.pick([PORT, PORT, 53, 67, 9]),
    flags: random.pick([
      SYN,
      SYN,
      SYN | ACK,
      ACK,
      ACK,
      ACK | FIN,
      RST,
      RST | ACK,
      random.below(256),
    ]),
    seq: random.below(3),
    ack: random.below(3),
    payload: random.pick([0, 0, 1, 100]),
    icmpType: random.pick([0, 3, 8, 11, 128, 129, 1, 133, 134, 135, 136, 137, random.below(256)]),
  };
}

function arp(random: Random, mac: Uint8Array): Uint8Array<ArrayBuffer> {
  const frame = new Uint8Array(42);
  frame.set(mac, 6);
  frame.set([8, 6, 0, 1, 8, 0, 6, 4, 0, 1 + random.below(2)], 12);
  frame.set(mac, 22);
  const claimed = random.pick([OWN[0], bytesOf(ADDRESSES.b[0]), new Uint8Array(16)]);
  frame.set(claimed.slice(12), 28);
  return frame;
}

/** As it is, or with the oddities of the wire, or damaged. */
function mangled(random: Random, frame: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  switch (random.below(5)) {
    case 0:
      return frame;
    case 1:
      return tagged(frame);
    case 2:
      return extended(random, frame);
    case 3:
      return fragmented(random, frame);
    default:
      return runnable(random.damage(frame, 1 + random.below(3)));
  }
}

function runnable(frame: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  const { ethernet, ip4, ip6, max } = FRAME_BYTES;
  const type = (frame[12] ?? 0) << 8 | (frame[13] ?? 0);
  const min = type === 0x0800 ? ip4 : type === 0x86dd ? ip6 : ethernet;
  if (frame.length >= min) return frame.slice(0, max);
  return runnable(join(frame, new Uint8Array(min - frame.length)));
}

/** Behind a VLAN tag. */
function tagged(frame: Uint8Array): Uint8Array<ArrayBuffer> {
  return join(frame.slice(0, 12), Uint8Array.of(0x81, 0, 0, 5), frame.slice(12));
}

/** With options (IPv4), or behind extension headers (IPv6), more than anybody follows at times. */
function extended(random: Random, frame: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  const count = 1 + random.below(6);
  if (frame[12] !== 0x86) {
    const options = new Uint8Array(4 * count).fill(1);
    const result = join(frame.slice(0, 34), options, frame.slice(34));
    result[14] = 0x45 + count;
    const length = result.length - 14;
    result.set([length >> 8, length & 0xff], 16);
    return result;
  }
  const next = frame[20] ?? 0;
  const kinds = Array.from({ length: count }, () => random.pick([0, 43, 60, 44]));
  const headers = kinds.map((_, at) => Uint8Array.of(kinds[at + 1] ?? next, 0, 0, 0, 0, 0, 0, 0));
  const result = join(frame.slice(0, 54), ...headers, frame.slice(54));
  result[20] = kinds[0] ?? next;
  return result;
}

/** A first, middle or last part of something longer. */
function fragmented(random: Random, frame: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  if (frame[12] === 0x86) return extended(random, frame);
  const result = frame.slice();
  result.set(random.pick([[0x20, 0], [0x20, 5], [0, 5], [0x40, 0]]), 20);
  return result;
}

/** A frame as a receiver takes it. */
interface Frame {
  readonly kind: "arp" | "tcp" | "udp" | "icmp" | "other";
  readonly source: Uint8Array;
  readonly flags: number;
  /** Bytes of payload; not more than there are. */
  readonly payload: number;
  /** Both, in one number. */
  readonly ports: number;
  /** A SYN that is no answer. */
  readonly begins: boolean;
  readonly isDiscovery: boolean;
  readonly isRouter: boolean;
  readonly isIcmpError: boolean;
}

function readFrame(bytes: Uint8Array): Frame {
  const type = (bytes[12] ?? 0) << 8 | (bytes[13] ?? 0);
  if (type === 0x0806) return { ...NOTHING, kind: "arp" };
  if (type === 0x0800) return readIp4(bytes.slice(14));
  if (type === 0x86dd) return readIp6(bytes.slice(14));
  return NOTHING;
}

function readIp4(ip: Uint8Array): Frame {
  const source = new Uint8Array(16);
  source.set([0xff, 0xff], 10);
  source.set(ip.slice(12, 16), 12);
  const total = (ip[2] ?? 0) << 8 | (ip[3] ?? 0);
  const end = total === 0 ? ip.length : Math.min(total, ip.length);
  const inner = ip.slice(((ip[0] ?? 0) & 15) * 4, end);
  const isFragment = (((ip[6] ?? 0) << 8 | (ip[7] ?? 0)) & 0x3fff) !== 0;
  const frame = { ...NOTHING, source };
  return isFragment ? frame : readTransport(frame, ip[9] ?? 0, inner, 1);
}

function readIp6(ip: Uint8Array): Frame {
  let [next, at] = [ip[6] ?? 0, 40];
  while ([0, 43, 60].includes(next) && at + 2 <= ip.length) {
    [next, at] = [ip[at] ?? 0, at + 8 * ((ip[at + 1] ?? 0) + 1)];
  }
  return readTransport({ ...NOTHING, source: ip.slice(8, 24) }, next, ip.slice(at), 58);
}

function readTransport(frame: Frame, proto: number, inner: Uint8Array, icmp: number): Frame {
  const [first = 0] = inner;
  const ports = (first << 24 | (inner[1] ?? 0) << 16 | (inner[2] ?? 0) << 8 | (inner[3] ?? 0)) >>>
    0;
  if (proto === 6) {
    const flags = inner[13] ?? 0;
    const payload = inner.length - ((inner[12] ?? 0) >> 4) * 4;
    const begins = (flags & (Tcp.SYN | Tcp.ACK)) === Tcp.SYN;
    return { ...frame, kind: "tcp", flags, payload, ports, begins };
  }
  if (proto === 17) return { ...frame, kind: "udp", ports };
  if (proto !== icmp) return frame;
  const isV4 = icmp === 1;
  return {
    ...frame,
    kind: "icmp",
    isDiscovery: !isV4 && (first >= 130 && first <= 137 || first === 143),
    isRouter: !isV4 && (first === 134 || first === 137),
    isIcmpError: isV4 ? [3, 11, 12].includes(first) : first < 128,
  };
}

const NOTHING: Frame = {
  kind: "other",
  source: new Uint8Array(16),
  flags: 0,
  payload: 0,
  ports: 0,
  begins: false,
  isDiscovery: false,
  isRouter: false,
  isIcmpError: false,
};
