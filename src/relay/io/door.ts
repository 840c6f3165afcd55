/**
 * The relay's door to the kernel: the rows that it takes, reads and writes.
 *
 * In: descriptors of `load`'s maps. Out: answers about one connection at a time. Invariant: a
 * connection without its row is nobody's: it is closed, never carried. The relay writes nothing but
 * its listeners, its signs of life, the marks on its own sockets, and REFUSE.
 *
 * @module
 */

import {
  WEFT_WORKERS_MAX,
  WeftConnKey,
  WeftConnRow,
  WeftRole,
  WeftSocket,
  WeftState,
  WeftSteerKey,
  WeftSteerRow,
} from "../../../bpf/layout.gen.ts";
import { UpdateFlag } from "../../../ffi/bpf/constants.ts";
import { BpfMap } from "../../../ffi/bpf/map.ts";
import { Errno } from "../../../ffi/errno.ts";
import { SyscallError } from "../../../ffi/errors.ts";
import { Fd } from "../../../ffi/fd.ts";
import { monotonicNs } from "../../../ffi/linux/process.ts";
import { u32Bytes, u64Bytes } from "../../../ffi/memory.ts";
import type { Endpoint } from "../../../ffi/linux/socket.ts";
import { REASONS, type RefusalReason } from "../../reasons.ts";
import type { RelayDoor } from "../messages.ts";

/**
 * What the relay asks of the kernel. The second implementation is that of the tests without eBPF.
 */
export interface Door {
  /** Takes the row of an accepted outbound connection: what the application dialled, resolved. */
  takeSteered(
    netnsCookie: bigint,
    source: Endpoint,
    targetPort: number,
  ): { readonly target: Endpoint; readonly dialled: Endpoint } | undefined;
  /** The original destination of an accepted inbound connection that the guard has handed over. */
  inboundTarget(local: Endpoint, remote: Endpoint): Endpoint | undefined;
  /** No payload of this inbound connection passes any more. */
  refuse(local: Endpoint, remote: Endpoint, reason: RefusalReason): void;
  /** Marks a socket towards a peer as the relay's own, before it connects. */
  markOutbound(fd: number): void;
  /**
   * Marks a socket towards an application, before it connects, with the client that it stands
   * for.
   */
  markInbound(fd: number, client: Endpoint): void;
  /** From now on the kernel hands a pod's connections to this listener. */
  offerListener(slot: number, direction: "outbound" | "inbound", worker: number, fd: number): void;
  /** A worker lives: without this, in a while, the kernel gives it nothing more. */
  beat(worker: number): void;
}

export class MapDoor implements Door, Disposable {
  readonly #sockets: BpfMap;
  readonly #steered: BpfMap;
  readonly #listeners: BpfMap;
  readonly #beats: BpfMap;
  readonly #connections: BpfMap;
  readonly #halfOpen: BpfMap;

  constructor(door: RelayDoor) {
    this.#sockets = borrow(door.sockets);
    this.#steered = borrow(door.steered);
    this.#listeners = borrow(door.listeners);
    this.#beats = borrow(door.beats);
    this.#connections = borrow(door.connections);
    this.#halfOpen = borrow(door.halfOpen);
  }

  takeSteered(
    netnsCookie: bigint,
    source: Endpoint,
    targetPort: number,
  ): { target: Endpoint; dialled: Endpoint } | undefined {
    const key = { netnsCookie, source: source.address, sourcePort: source.port, targetPort };
    const row = this.#steered.take(WeftSteerKey.encode(key));
    if (row === undefined) return undefined;
    const { target, targetPort: port, dialled, dialledPort } = WeftSteerRow.decode(row);
    return {
      target: { address: target, port },
      dialled: { address: dialled, port: dialledPort },
    };
  }

  inboundTarget(local: Endpoint, remote: Endpoint): Endpoint | undefined {
    const key = connectionKey(local, remote);
    const row = this.#connections.lookup(key) ?? this.#halfOpen.lookup(key);
    const isSteered = row !== undefined && WeftConnRow.decode(row).state === WeftState.STEERED;
    // sk_lookup leaves the name of the socket as it was dialled.
    return isSteered ? local : undefined;
  }

  refuse(local: Endpoint, remote: Endpoint, reason: RefusalReason): void {
    const key = connectionKey(local, remote);
    for (const map of [this.#connections, this.#halfOpen]) {
      const bytes = map.lookup(key);
      if (bytes === undefined) continue;
      const row = WeftConnRow.decode(bytes);
      const refused = { ...row, state: WeftState.REFUSE, reason: REASONS[reason].number };
      updateExisting(map, key, WeftConnRow.encode(refused));
    }
  }

  markOutbound(fd: number): void {
    this.#mark(fd, WeftRole.RELAY_OUT, NOBODY);
  }

  markInbound(fd: number, client: Endpoint): void {
    this.#mark(fd, WeftRole.RELAY_IN, client);
  }

  offerListener(
    slot: number,
    direction: "outbound" | "inbound",
    worker: number,
    fd: number,
  ): void {
    const index = (slot * 2 + (direction === "outbound" ? 0 : 1)) * WEFT_WORKERS_MAX + worker;
    this.#mark(fd, WeftRole.LISTENER, NOBODY); // by which the guard knows who dials its port
    this.beat(worker); // first: nobody must find the listener of a worker that seems dead
    this.#listeners.update(u32Bytes(index), u64Bytes(BigInt(fd)));
  }

  beat(worker: number): void {
    this.#beats.update(u32Bytes(worker), u64Bytes(monotonicNs()));
  }

  [Symbol.dispose](): void {
    for (
      const map of [
        this.#sockets,
        this.#steered,
        this.#listeners,
        this.#beats,
        this.#connections,
        this.#halfOpen,
      ]
    ) map[Symbol.dispose]();
  }

  #mark(fd: number, role: WeftRole, name: Endpoint): void {
    const value = WeftSocket.encode({
      name: name.address,
      namePort: name.port,
      target: NOBODY.address,
      targetPort: 0,
      role,
      flags: 0,
    });
    this.#sockets.update(u32Bytes(fd), value);
  }
}

const NOBODY: Endpoint = { address: new Uint8Array(16), port: 0 };
const TCP = 6;

function connectionKey(local: Endpoint, remote: Endpoint): Uint8Array<ArrayBuffer> {
  return WeftConnKey.encode({
    local: local.address,
    localPort: local.port,
    remote: remote.address,
    remotePort: remote.port,
    proto: TCP,
  });
}

/** Never brings back a row that the guard has just deleted. */
function updateExisting(map: BpfMap, key: Uint8Array, value: Uint8Array): void {
  try {
    map.update(key, value, UpdateFlag.EXIST);
  } catch (error) {
    if (!(error instanceof SyscallError && error.errno === Errno.ENOENT)) throw error;
  }
}

/** A handle of this thread's own; the descriptor given stays its owner's. */
function borrow(raw: number): BpfMap {
  const owner = Fd.adopt(raw, "relay door");
  const own = owner.duplicate();
  owner.take();
  return BpfMap.adopt(own);
}
