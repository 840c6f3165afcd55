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
  WEFT_CONN_ESTABLISHED,
  WeftConnKey,
  WeftConnRow,
  WeftState,
} from "../../bpf/layout.gen.ts";
import type { BpfMap } from "../../ffi/bpf/map.ts";
import type { BpfProgram } from "../../ffi/bpf/program.ts";
import { withNetns } from "../../ffi/linux/netns.ts";
import { monotonicNs } from "../../ffi/linux/process.ts";
import {
  destroySocket,
  listSockets,
  type SocketInfo,
  TcpState,
} from "../../ffi/linux/sock_diag.ts";
import type { ModeClass, Plan } from "../compile/mod.ts";
import { portKey } from "../compile/mod.ts";
import { CONNECTION_LIMITS } from "../limits.ts";
import { formatAddress } from "../model/mod.ts";
import type { AttachedPod } from "./pods.ts";
import { PROTO } from "./rows.ts";
import { fits } from "./table.ts";

/** A row without a socket is believed dead after this long without a packet. */
const SILENCE_NS = 60_000_000_000n;

/**
 * Gives the connections that a pod already has their rows. Call before its guard is attached. A pod
 * gets as many as it may open, and no more than there is room for: the guard comes all the same,
 * and without a row a connection is cut under STRICT and passes elsewhere.
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
    if (!fits(() => connections.update(WeftConnKey.encode(keyOf(socket)), row))) return;
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
 * place in a budget; returns how many.
 */
export function sweepConnections(
  pods: readonly AttachedPod[],
  connections: BpfMap,
  forget: BpfProgram,
): number {
  const now = monotonicNs();
  const silent = connections.entries().filter(([, value]) =>
    now - WeftConnRow.decode(value).touchedNs > SILENCE_NS
  );
  if (silent.length === 0) return 0;
  const alive = new Set(pods.flatMap(podSockets).map((socket) => idOf(keyOf(socket))));
  const dead = silent.filter(([key]) => !alive.has(idOf(WeftConnKey.decode(key))));
  for (const [key] of dead) forget.call(key.slice());
  return dead.length;
}

/** Removes the budgets of pods that are gone. */
export function sweepBudgets(pods: readonly AttachedPod[], budgets: BpfMap): void {
  const alive = new Set(pods.map(({ cookie }) => cookie));
  for (const [key] of budgets.entries()) {
    const view = new DataView(key.buffer, key.byteOffset);
    const cookie = (BigInt(view.getUint32(8, true)) << 32n) | BigInt(view.getUint32(12, true));
    if (!alive.has(cookie)) budgets.delete(key);
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
