/**
 * The connection table from the outside: what was there before the guard, what a new plan takes
 * back, and what ended without a word.
 *
 * The guard writes the rows; here they are only seeded when a pod is first attached (so that a
 * connection which the policy still allows is not cut), judged at once when the plan changes (the
 * guard would judge each at its next packet, an idle one never), and swept (a peer that vanished
 * sends no FIN).
 *
 * @module
 */

import {
  WEFT_CONN_ATTESTED,
  WEFT_CONN_DOUBTED,
  WEFT_CONN_ESTABLISHED,
  WeftConnKey,
  WeftConnRow,
  WeftSeenRow,
  WeftState,
} from "../../bpf/layout.gen.ts";
import { UpdateFlag } from "../../ffi/bpf/constants.ts";
import type { BpfMap } from "../../ffi/bpf/map.ts";
import type { BpfProgram } from "../../ffi/bpf/program.ts";
import { Errno } from "../../ffi/errno.ts";
import { SyscallError } from "../../ffi/errors.ts";
import { withNetns } from "../../ffi/linux/netns.ts";
import { monotonicNs } from "../../ffi/linux/process.ts";
import {
  destroySocket,
  listSockets,
  type SocketInfo,
  TcpState,
} from "../../ffi/linux/sock_diag.ts";
import type { LocalPod, ModeClass, Plan } from "../compile/mod.ts";
import { portKey } from "../compile/mod.ts";
import { CONNECTION_LIMITS } from "../limits.ts";
import { formatAddress } from "../model/mod.ts";
import type { AttachedPod } from "./pods.ts";
import { PROTO } from "./rows.ts";
import { fits } from "./table.ts";

/** A row without a socket is believed dead after this long without a packet. */
const SILENCE_NS = 60_000_000_000n;

/**
 * Gives the connections that a pod already has their rows, where they have none: one that the guard
 * has written says more, and who pays for it. Call before its guard is attached. A pod gets as many
 * as it may open, and no more than there is room for: the guard comes all the same, and without a
 * row a connection is cut under STRICT and passes elsewhere.
 */
export function seedConnections(
  pod: AttachedPod,
  plan: Plan,
  connections: BpfMap,
  revision: number,
): void {
  const sockets = podSockets(pod);
  const listening = new Set(
    sockets.filter(({ state }) => state === TcpState.LISTEN).map(({ localPort }) => localPort),
  );
  const old = sockets.filter((socket) => {
    if (socket.state === TcpState.LISTEN || isInternal(socket)) return false;
    const { localAddress, localPort } = socket;
    return !listening.has(localPort) ||
      modeAt(plan, formatAddress(localAddress), localPort) !== "strict";
  });
  for (const socket of old.slice(0, CONNECTION_LIMITS.opened)) {
    const row = WeftConnRow.encode({
      touchedNs: monotonicNs(),
      revision,
      reason: 0,
      state: listening.has(socket.localPort) ? WeftState.DIRECT : WeftState.OUTBOUND,
      flags: WEFT_CONN_ESTABLISHED,
      payer: new Uint8Array(16), // nobody: who opened it then is not known
      ack: 0,
      ifindex: 0,
    });
    if (!fits(() => seed(connections, WeftConnKey.encode(keyOf(socket)), row))) return;
  }
}

/** Resets the plaintext connections that the plan no longer allows; returns how many. */
export function cutConnections(
  pods: Iterable<AttachedPod>,
  plan: Plan,
  connections: BpfMap,
): number {
  const doomed = new Map<string, Set<string>>();
  for (const [key, value] of connections.entries()) {
    const row = WeftConnRow.decode(value);
    if (row.state !== WeftState.DIRECT || (row.flags & WEFT_CONN_ATTESTED) !== 0) continue;
    const conn = WeftConnKey.decode(key);
    const address = formatAddress(conn.local);
    if (modeAt(plan, address, conn.localPort) !== "strict") continue;
    const owner = plan.addresses.get(address)?.pod ?? "";
    doomed.set(owner, (doomed.get(owner) ?? new Set()).add(idOf(conn)));
  }
  let cut = 0;
  for (const pod of pods) {
    const ids = doomed.get(pod.key);
    if (!ids) continue;
    cut += withNetns(pod.netns, () => {
      const found = listSockets()
        .filter((socket) => ids.has(idOf(keyOf(socket))));
      return found.filter(destroySocket).length;
    });
  }
  return cut;
}

/**
 * Removes rows whose connection has no socket any more, by the program that also gives back their
 * place in a budget, unless the row is another's by then; returns how many.
 */
export function sweepConnections(
  { held, lost }: KnownPods,
  connections: BpfMap,
  forget: BpfProgram,
): number {
  const now = monotonicNs();
  const unseen = new Set(lost.flatMap(({ addresses }) => addresses));
  const silent = connections.entries().map(([key, value]): WeftSeenRow & WeftConnRow => ({
    key: WeftConnKey.decode(key),
    ...WeftConnRow.decode(value),
  })).filter(({ key, touchedNs, flags }) =>
    (now - touchedNs > SILENCE_NS || (flags & WEFT_CONN_DOUBTED) !== 0) &&
    !unseen.has(formatAddress(key.local))
  );
  if (silent.length === 0) return 0;
  const alive = new Set(held.flatMap(podSockets).map((socket) => idOf(keyOf(socket))));
  const dead = silent.filter(({ key }) => !alive.has(idOf(key)));
  return dead.filter((row) => forget.call(WeftSeenRow.encode(row)) === 1).length;
}

/** Removes the budgets of pods that are gone, once it is known who is not. */
export function sweepBudgets({ held, lost }: KnownPods, budgets: BpfMap): void {
  if (lost.length > 0) return;
  const alive = new Set(held.map(({ cookie }) => cookie));
  for (const [key] of budgets.entries()) {
    const view = new DataView(key.buffer, key.byteOffset);
    const cookie = (BigInt(view.getUint32(8, true)) << 32n) | BigInt(view.getUint32(12, true));
    if (!alive.has(cookie)) budgets.delete(key);
  }
}

/** The pods of this node, as far as a sweep is concerned. */
export interface KnownPods {
  /** Those whose sockets can be listed. */
  readonly held: readonly AttachedPod[];
  /** Those of the plan that cannot be found: they may live all the same. */
  readonly lost: readonly LocalPod[];
}

function seed(connections: BpfMap, key: Uint8Array, row: Uint8Array): void {
  try {
    connections.update(key, row, UpdateFlag.NOEXIST);
  } catch (error) {
    if (!(error instanceof SyscallError && error.errno === Errno.EEXIST)) throw error;
  }
}

/** The mode of a port of a local address. */
function modeAt(plan: Plan, address: string, port: number): ModeClass {
  return plan.ports.get(portKey(address, port, "TCP"))?.mode ??
    plan.addresses.get(address)?.mode ?? "unknown";
}

function podSockets(pod: AttachedPod): SocketInfo[] {
  return withNetns(pod.netns, () => listSockets());
}

/** Over the pod's own lo: the guard never sees it. */
function isInternal({ localAddress, remoteAddress }: SocketInfo): boolean {
  return String(localAddress) === String(remoteAddress) || (localAddress[12] === 127);
}

function keyOf({ localAddress, remoteAddress, localPort, remotePort }: SocketInfo): WeftConnKey {
  return { local: localAddress, remote: remoteAddress, localPort, remotePort, proto: PROTO.TCP };
}

function idOf(key: WeftConnKey): string {
  return `${key.local} ${key.localPort} ${key.remote} ${key.remotePort}`;
}
