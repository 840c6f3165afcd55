/**
 * The guard says what `decide` says: for every source, mode and place, a SYN is run through the
 * loaded program (BPF_PROG_TEST_RUN) and the row that it leaves is compared.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { MAPS, WeftConnKey, type WeftConnRow, WeftReason, WeftState } from "@/bpf/layout.gen.ts";
import { BpfLink } from "@/ffi/bpf/link.ts";
import { BpfMap } from "@/ffi/bpf/map.ts";
import { BpfProgram } from "@/ffi/bpf/program.ts";
import { u32Bytes } from "@/ffi/memory.ts";
import {
  type AddressEntry,
  decide,
  type Decision,
  MODES,
  type SourceClass,
  SOURCES,
  WHERES,
} from "@/src/compile/mod.ts";
import { parseAddress } from "@/src/model/mod.ts";
import { REASONS } from "@/src/reasons.ts";
import { ADDRESSES, TestNode } from "./datapath_fixture.ts";

const PORT = 8000;
const TARGET = ADDRESSES.b[0];
/** `unknown` and `outside` are addresses without a row, in and outside the pod CIDR. */
const SOURCE_ADDRESSES: Readonly<Record<SourceClass, string>> = {
  unknown: "10.99.7.1",
  outside: "192.0.2.1",
  node: "192.0.2.2",
  plain: "10.99.8.1",
  own_cert: "10.99.8.2",
  mesh: "10.99.8.3",
  conflict: "10.99.8.4",
};

describe("the guard", () => {
  it("leaves for every SYN the row that decide() asks for", async () => {
    await using node = await TestNode.create();
    await using _server = node.serve("b", PORT);
    for (const mode of MODES) {
      for (const where of WHERES) {
        node.apply({ b: { source: "mesh", mode, where } }, [], {
          cidrs: ["10.99.0.0/16"],
          addresses: remoteRows(),
        });
        using guard = guardOf(node);
        for (const source of SOURCES) {
          const cell = `${source} to ${mode}, ${where}`;
          // From another node, attestation is out of the question: the port is encrypted.
          const place = where === "attest" ? "encrypt" : where;
          const wanted = decide({ stage: "inbound", source, mode, where: place });
          assert.deepEqual(guard.run(SOURCE_ADDRESSES[source]), expectedRow(wanted), cell);
        }
      }
    }
  });
});

function remoteRows(): Map<string, AddressEntry> {
  const flags = { local: false, ports: false, strict: false, host: false };
  const rows = SOURCES.filter((source) => source !== "unknown" && source !== "outside");
  return new Map(
    rows.map((source) => [
      SOURCE_ADDRESSES[source],
      { source, mode: "none", where: "remote", flags },
    ]),
  );
}

/** What the row says, or that there is none: then the SYN was dropped in silence. */
type Outcome = { state: number; reason: number } | "silence";

function expectedRow({ verdict, reason }: Decision): Outcome {
  switch (verdict) {
    case "direct":
      return { state: WeftState.DIRECT, reason: WeftReason.NONE };
    case "relay":
      return { state: WeftState.PENDING, reason: WeftReason.NONE };
    case "wait":
      return "silence";
    case "refuse":
      assert.notEqual(reason, "none");
      return { state: WeftState.REFUSE, reason: REASONS[reason as keyof typeof REASONS].number };
    default:
      verdict satisfies never;
      throw new Error("unreachable");
  }
}

function guardOf(node: TestNode): { run(source: string): Outcome } & Disposable {
  const stack = new DisposableStack();
  const pod = node.datapath.pods.get("default/b");
  assert.ok(pod);
  const link = stack.use(BpfLink.openPinned(`${node.pins}/links/pod-${pod.slot}-to`));
  assert.ok(link);
  const program = stack.use(BpfProgram.openById(link.info().programId));
  const halfOpen = stack.use(BpfMap.openPinned(`${node.pins}/maps/half_open`));
  assert.ok(program && halfOpen);
  return {
    run(source) {
      const remotePort = nextPort++;
      const key = WeftConnKey.encode({
        local: bytesOf(TARGET),
        remote: bytesOf(source),
        localPort: PORT,
        remotePort,
        proto: 6,
      });
      const dataIn = synPacket(source, remotePort);
      const contextIn = skbContext(pod.veth.ifindex);
      const { retval } = node.inNode(() => program.testRun({ dataIn, contextIn }));
      const row = halfOpen.lookup(key);
      if (!row) {
        assert.equal(retval, TCX_DROP);
        return "silence";
      }
      assert.equal(retval, TCX_NEXT);
      const { state, reason } = MAPS.half_open.value.decode(row) as WeftConnRow;
      return { state, reason };
    },
    [Symbol.dispose]: () => stack.dispose(),
  };
}

/** Never the same twice: every SYN begins a connection of its own. */
let nextPort = 40_000;
const TCX_NEXT = -1;
const TCX_DROP = 2;

/** A whole `struct __sk_buff`; a packet that came in elsewhere is not the node's own. */
function skbContext(ifindex: number): Uint8Array<ArrayBuffer> {
  const context = new Uint8Array(192);
  context.set(u32Bytes(1), 36);
  context.set(u32Bytes(ifindex), 40);
  return context;
}

function synPacket(source: string, port: number): Uint8Array<ArrayBuffer> {
  const packet = new Uint8Array(14 + 20 + 20);
  const view = new DataView(packet.buffer);
  view.setUint16(12, 0x0800);
  packet.set([0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6], 14);
  packet.set(bytesOf(source).subarray(12), 26);
  packet.set(bytesOf(TARGET).subarray(12), 30);
  view.setUint16(34, port);
  view.setUint16(36, PORT);
  packet.set([0x50, 0x02, 0xff, 0xff], 46);
  return packet;
}

function bytesOf(address: string): Uint8Array {
  const bytes = parseAddress(address);
  assert.ok(bytes);
  return bytes;
}
