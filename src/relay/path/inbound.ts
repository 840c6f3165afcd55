/**
 * A connection that comes to a pod of this node: from its acceptance to whoever carries it.
 *
 * In: what the inbound listener accepted. Out: a `ServerTunnel` where a certificate is demanded, a
 * `Sniffer` where it is only welcome, plain bytes where the decision has become "directly"; else a
 * RST. Invariant: a connection whose row does not say STEERED is not carried: somebody dialled the
 * listener itself, or the guard has changed its mind.
 *
 * @module
 */

import {
  abortOnClose,
  closeSocket,
  type Endpoint,
  peerName,
  socketName,
} from "../../../ffi/linux/socket.ts";
import { decide, type Decision, type ModeClass, type SourceClass } from "../../compile/mod.ts";
import type { RefusalReason } from "../../reasons.ts";
import { type HandshakeSource, handshakeSource } from "../io/handshakes.ts";
import type { LocalPod } from "../pods.ts";
import type { Shop } from "../shop.ts";
import { passThrough } from "./pass_through.ts";
import { NOBODY, PlainSocket, type PlainUser } from "./plain_socket.ts";
import { ServerTunnel } from "./server_tunnel.ts";
import { Sniffer } from "./sniffer.ts";

/** What is fixed about one. */
export interface InboundFacts {
  readonly home: LocalPod;
  /** The original destination: the pod's address, and the port that was dialled. */
  readonly local: Endpoint;
  readonly remote: Endpoint;
}

/** Takes a connection from a pod's inbound listener. */
export function acceptInbound(shop: Shop, home: LocalPod, fd: number): void {
  const own = socketName(fd);
  const remote = peerName(fd);
  const local = own && remote && shop.door.inboundTarget(own, remote);
  if (local === undefined || remote === undefined) {
    abortOnClose(fd);
    return closeSocket(fd);
  }
  const facts = { home, local, remote };
  const { source, mode, decision } = judgeInbound(shop, facts);
  const pod = shop.world.pod(home.key);
  const credential = pod && shop.credentials.of(shop.world, pod);
  if (decision.verdict === "direct") return goDirect(shop, facts, fd);
  if (decision.verdict !== "relay") {
    return refuseAccepted(
      shop,
      facts,
      fd,
      decision.reason === "none" ? "not-steered" : decision.reason,
    );
  }
  if (credential === undefined) return refuseAccepted(shop, facts, fd, "agent-down");
  if (!shop.handshakes.hasRoom(sourceOf(shop, facts))) {
    // No relay is out there: what is silent is plaintext, and would pass as such a little later.
    if (mode === "permissive" && source === "outside") return goDirect(shop, facts, fd);
    return refuseAccepted(shop, facts, fd, "syn-budget");
  }
  if (mode === "permissive") new Sniffer(shop, facts, fd);
  else new ServerTunnel(shop, facts, fd, credential);
}

/** Why plain bytes may not reach the application, or undefined where they may. */
export function plaintextFault(shop: Shop, facts: InboundFacts): RefusalReason | undefined {
  const { mode, decision: { verdict, reason } } = judgeInbound(shop, facts);
  if (verdict === "direct" || (verdict === "relay" && mode === "permissive")) return undefined;
  return verdict === "relay" || reason === "none" ? "mtls-required" : reason;
}

/** Who pays while it is not known who the client is. */
export function sourceOf(shop: Shop, { remote }: InboundFacts): HandshakeSource {
  return handshakeSource(shop.world.place(remote.address), remote.address);
}

/** What the plan of now says. What reaches a relay is never attested: the guard lets that go by. */
function judgeInbound(
  shop: Shop,
  { local, remote }: InboundFacts,
): { readonly source: SourceClass; readonly mode: ModeClass; readonly decision: Decision } {
  const { mode, where: place } = shop.world.place(local.address).port(local.port);
  const source = shop.world.place(remote.address).source;
  const where = place === "attest" ? "encrypt" : place;
  return { source, mode, decision: decide({ stage: "inbound", source, mode, where }) };
}

/** Opens the application's connection to the original destination, in the client's name. */
export function openApplication(
  shop: Shop,
  { home, local, remote }: InboundFacts,
  sourcePort: number,
  user: PlainUser,
): PlainSocket | undefined {
  const client = { address: remote.address, port: sourcePort };
  const fd = home.openSocket(local, (raw) => shop.door.markInbound(raw, client));
  if (fd < 0) return undefined;
  const app = new PlainSocket(shop, fd, user, local);
  app.checkConnected();
  return app;
}

function goDirect(shop: Shop, facts: InboundFacts, fd: number): void {
  const { home, local, remote } = facts;
  const app = home.openSocket(local, (raw) => shop.door.markInbound(raw, remote));
  if (app < 0) return refuseAccepted(shop, facts, fd, "agent-down");
  shop.reporter.count("connections_open");
  passThrough(shop, new PlainSocket(shop, fd, NOBODY), app, local, { facts });
}

function refuseAccepted(
  shop: Shop,
  facts: InboundFacts,
  fd: number,
  reason: RefusalReason,
): void {
  refuseInbound(shop, facts, "refuse", reason);
  abortOnClose(fd);
  closeSocket(fd);
}

/** Tells the guard to let no more payload pass, and the world why. */
export function refuseInbound(
  shop: Shop,
  { home, local, remote }: InboundFacts,
  verdict: "refuse" | "cut",
  reason: RefusalReason,
): void {
  shop.door.refuse(local, remote, reason);
  const pod = home.key;
  shop.tell({ stage: "inbound", verdict, reason, source: remote, target: local, pod });
}
