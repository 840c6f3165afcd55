/**
 * Packets made by hand, and the guard of a pod run on them (BPF_PROG_TEST_RUN): what the tests of
 * budgets, events and the fuzzer share.
 *
 * A packet that the guard is run on goes nowhere: the kernel returns the verdict and throws it
 * away. So what no peer would send can be tried, and nothing has to be waited for.
 *
 * @module
 */

import assert from "node:assert/strict";
import { BpfLink } from "@/ffi/bpf/link.ts";
import { BpfMap } from "@/ffi/bpf/map.ts";
import { BpfProgram } from "@/ffi/bpf/program.ts";
import { u32Bytes } from "@/ffi/memory.ts";
import { parseAddress } from "@/src/model/mod.ts";
import type { PodName, TestNode } from "./datapath_fixture.ts";

/** What a guard may say. */
export const Verdict = { NEXT: -1, DROP: 2, REDIRECT: 7 } as const;

/** TCP flags. */
export const Tcp = { FIN: 1, SYN: 2, RST: 4, ACK: 16 } as const;

/** A packet, as far as it matters. */
export interface PacketWish {
  readonly source: string;
  readonly target: string;
  readonly sourcePort?: number;
  readonly targetPort?: number;
  /** @default TCP */
  readonly proto?: "tcp" | "udp" | "icmp";
  /** of TCP @default SYN */
  readonly flags?: number;
  readonly seq?: number;
  readonly ack?: number;
  readonly payload?: number;
  /** of the sender @default zeros */
  readonly mac?: Uint8Array;
  /** of ICMP @default an echo request */
  readonly icmpType?: number;
}

/** Bytes of an Ethernet frame with a packet of IPv4 or IPv6 in it. */
export function packet(wish: PacketWish): Uint8Array<ArrayBuffer> {
  const [source, target] = [bytesOf(wish.source), bytesOf(wish.target)];
  const isV4 = !wish.source.includes(":");
  const inner = transport(wish, isV4);
  const header = isV4 ? 20 : 40;
  const bytes = new Uint8Array(14 + header + inner.length);
  const view = new DataView(bytes.buffer);
  if (wish.mac) bytes.set(wish.mac, 6);
  view.setUint16(12, isV4 ? 0x0800 : 0x86dd);
  const proto = PROTOS[wish.proto ?? "tcp"][isV4 ? 0 : 1];
  if (isV4) {
    bytes.set([0x45, 0, 0, 0, 0, 0, 0, 0, 64, proto], 14);
    view.setUint16(16, header + inner.length);
    bytes.set(source.subarray(12), 26);
    bytes.set(target.subarray(12), 30);
  } else {
    bytes.set([0x60, 0, 0, 0, 0, 0, proto, 64], 14);
    view.setUint16(18, inner.length);
    bytes.set(source, 22);
    bytes.set(target, 38);
  }
  bytes.set(inner, 14 + header);
  return bytes;
}

const PROTOS = { tcp: [6, 6], udp: [17, 17], icmp: [1, 58] } as const;

function transport(wish: PacketWish, isV4: boolean): Uint8Array {
  const { proto = "tcp", sourcePort = 40_000, targetPort = 8000, payload = 0 } = wish;
  const bytes = new Uint8Array((proto === "tcp" ? 20 : 8) + payload);
  const view = new DataView(bytes.buffer);
  if (proto === "icmp") {
    bytes[0] = wish.icmpType ?? (isV4 ? 8 : 128);
    view.setUint16(4, sourcePort);
    return bytes;
  }
  view.setUint16(0, sourcePort);
  view.setUint16(2, targetPort);
  if (proto === "udp") {
    view.setUint16(4, bytes.length);
    return bytes;
  }
  view.setUint32(4, wish.seq ?? 0);
  view.setUint32(8, wish.ack ?? 0);
  bytes.set([0x50, wish.flags ?? Tcp.SYN, 0xff, 0xff], 12);
  return bytes;
}

/** The guard of one pod, both directions. */
export class GuardBench implements Disposable {
  readonly #node: TestNode;
  readonly #stack = new DisposableStack();
  readonly #programs: Readonly<Record<"to" | "from", BpfProgram>>;
  readonly ifindex: number;
  readonly mac: Uint8Array;

  constructor(node: TestNode, pod: PodName) {
    this.#node = node;
    const attached = node.datapath.pods.get(`default/${pod}`);
    assert.ok(attached, `pod ${pod} is attached`);
    this.ifindex = attached.veth.ifindex;
    this.mac = attached.veth.podMac;
    const open = (direction: "to" | "from"): BpfProgram => {
      using link = BpfLink.openPinned(`${node.pins}/links/pod-${attached.slot}-${direction}`);
      const program = link && BpfProgram.openById(link.info().programId);
      assert.ok(program, `the guard ${direction} pod ${pod} is attached`);
      return this.#stack.use(program);
    };
    this.#programs = { to: open("to"), from: open("from") };
  }

  /** Runs a packet to the pod; the verdict. It came in elsewhere: it is not the node's own. */
  to(bytes: Uint8Array<ArrayBuffer>): number {
    return this.#run("to", bytes);
  }

  /** Runs a packet from the pod, as it sends it. */
  from(bytes: Uint8Array<ArrayBuffer>): number {
    return this.#run("from", bytes);
  }

  /** A packet of the pod itself, with its MAC. */
  sends(wish: PacketWish): number {
    return this.from(packet({ mac: this.mac, ...wish }));
  }

  /** A packet to the pod. */
  gets(wish: PacketWish): number {
    return this.to(packet(wish));
  }

  /** Nanoseconds of one run, as the kernel measures them over `repeat` runs. */
  cost(direction: "to" | "from", dataIn: Uint8Array<ArrayBuffer>, repeat: number): number {
    const input = { dataIn, contextIn: skbContext(this.ifindex), repeat };
    return this.#node.inNode(() => this.#programs[direction].testRun(input)).durationNs;
  }

  [Symbol.dispose](): void {
    this.#stack.dispose();
  }

  #run(direction: "to" | "from", dataIn: Uint8Array<ArrayBuffer>): number {
    const contextIn = skbContext(this.ifindex);
    const input = { dataIn, contextIn };
    return this.#node.inNode(() => this.#programs[direction].testRun(input)).retval;
  }
}

/** Rows of one of the node's pinned maps. */
export function rowsOf(node: TestNode, map: string): [Uint8Array, Uint8Array][] {
  using opened = BpfMap.openPinned(`${node.pins}/maps/${map}`);
  assert.ok(opened, `map ${map} is pinned`);
  return opened.entries().map(([key, value]) => [key.slice(), value.slice()]);
}

/** A whole `struct __sk_buff`; a packet that came in elsewhere is not the node's own. */
function skbContext(ifindex: number): Uint8Array<ArrayBuffer> {
  const context = new Uint8Array(192);
  context.set(u32Bytes(1), 36);
  context.set(u32Bytes(ifindex), 40);
  return context;
}

/** The 16 bytes of an address. */
export function bytesOf(address: string): Uint8Array {
  const bytes = parseAddress(address);
  assert.ok(bytes);
  return bytes;
}
