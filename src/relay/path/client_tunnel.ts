/**
 * A tunnel that this node opened: handshake, the peer's identity, one stream after another.
 *
 * In: an `OutboundConnection` with its route. Out: a `Stream`, or the refusal of the connection.
 * Invariant: no byte of an application enters a tunnel before its peer has proved to be the one pod
 * that has the address, by ALPN a relay, and issued by the node where the address lives; and each
 * further stream is judged anew by the World of its moment.
 *
 * A server may give an idle tunnel up in the moment in which the next connection takes it. Its
 * close_notify before any answer proves that it has not opened the stream (it sends OPENED before
 * anything else), so that connection goes over a new tunnel, from its first byte. A tunnel that
 * breaks without a word proves nothing: its application gets a reset, because it may have been
 * heard, and must not be heard twice.
 *
 * A stream that is aborted here is over when the server has answered RESET by RESET, or has sent
 * one by itself: what came before belongs to nobody, and only then is the tunnel ready for another.
 *
 * @module
 */

import { Errno } from "../../../ffi/errno.ts";
import { connect, type Endpoint } from "../../../ffi/linux/socket.ts";
import { TlsConnection } from "../../../ffi/tls/connection.ts";
import { alertOf, describeFaults, hasBrokenTls } from "../../../ffi/tls/errors.ts";
import { decide } from "../../compile/mod.ts";
import { type Reason, reasonOf } from "../../reasons.ts";
import { Waiter } from "../io/deadlines.ts";
import type { LocalPod } from "../pods.ts";
import type { Live, Shop } from "../shop.ts";
import { PROTOCOL } from "../tls/credentials.ts";
import { PeerJudge } from "../tls/judge.ts";
import { isStillTrusted } from "../tls/roots.ts";
import { FrameReader, type FrameSink, FrameType, readRefused } from "./frames.ts";
import { keepAlive } from "./keepalive.ts";
import type { OutboundConnection, OutboundRoute } from "./outbound.ts";
import type { Idle } from "./pool.ts";
import { Stream, type StreamOwner } from "./stream.ts";
import { Tunnel, type TunnelUser } from "./tunnel.ts";

export class ClientTunnel extends Waiter implements TunnelUser, FrameSink, StreamOwner, Live, Idle {
  readonly poolKey: string;
  readonly pod: string;
  readonly #shop: Shop;
  readonly #home: LocalPod;
  readonly #target: Endpoint;
  readonly #tunnel: Tunnel;
  readonly #judge: PeerJudge;
  readonly #sessionKey: string;
  readonly #fingerprint: string;
  readonly #reader = new FrameReader();
  /** Waits for the handshake. */
  #first: OutboundConnection | null;
  #stream: Stream | null = null;
  /** Whose stream it is, where the tunnel has carried others before. */
  #guest: OutboundConnection | null = null;
  #source: Endpoint;
  /** Before OPENED, what comes is of the stream before. */
  #skipping = false;
  /** Between a RESET of ours and the server's. */
  #resetting = false;
  #sessionKept = false;
  #retired = false;

  /** Carries `connection` over an idle tunnel to the same port, or over a new one. */
  static carry(shop: Shop, connection: OutboundConnection, route: OutboundRoute): void {
    const { home, target } = connection.facts;
    const poolKey = `${home.key} ${route.place.address} ${target.port}`;
    const fingerprint = `${route.credential.fingerprint} ${route.place.fingerprint}`;
    while (connection.said === null) {
      const idle = shop.pool.take(poolKey) as ClientTunnel | undefined;
      if (idle === undefined) break;
      if (idle.#fingerprint === fingerprint && idle.#mayReuse()) return idle.#reuse(connection);
      idle.#close("close");
    }
    const fd = home.openSocket(target, (raw) => shop.door.markOutbound(raw));
    if (fd < 0) return connection.refuse("peer-not-ready", "no socket left");
    keepAlive(fd);
    const errno = -connect(fd, target);
    new ClientTunnel(shop, connection, route, { fd, connected: errno === 0 }, {
      poolKey,
      fingerprint,
    });
  }

  private constructor(
    shop: Shop,
    connection: OutboundConnection,
    { credential }: OutboundRoute,
    socket: { readonly fd: number; readonly connected: boolean },
    names: { readonly poolKey: string; readonly fingerprint: string },
  ) {
    super();
    const { home, source, target } = connection.facts;
    this.poolKey = names.poolKey;
    this.pod = home.key;
    this.#shop = shop;
    this.#home = home;
    this.#source = source;
    this.#target = target;
    this.#fingerprint = names.fingerprint;
    this.#sessionKey = `${names.poolKey} ${names.fingerprint}`;
    this.#first = connection;
    this.#judge = new PeerJudge(() => shop.world, () => shop.world.place(target.address));
    using session = shop.credentials.takeSession(this.#sessionKey);
    const tls = new TlsConnection(credential.client, shop.space.ring, session);
    this.#tunnel = new Tunnel(shop, socket, tls, this);
    shop.live.add(this);
    shop.reporter.count("tunnels_open");
    shop.deadlines.handshake.set(this, shop.loop.nowMs);
  }

  judge(...shown: Parameters<PeerJudge["judge"]>): number {
    return this.#judge.judge(...shown);
  }

  onHandshake(): void {
    const { tls } = this.#tunnel;
    this.queue?.clear(this);
    this.#shop.reporter.count("handshakes");
    if (tls.resumed) {
      this.#shop.reporter.count("handshakes_resumed");
      const leaf = tls.peerCertificate;
      if (leaf === undefined || this.#judge.judge(leaf, 0) !== 0) {
        return this.#refuseFirst(this.#judge.reason ?? "no-certificate", this.#judge.detail);
      }
    }
    if (tls.protocol !== PROTOCOL) {
      return this.#refuseFirst(
        "handshake-failed",
        "the peer is no relay: it did not agree to weft/1",
      );
    }
    const connection = this.#first;
    this.#first = null;
    if (connection === null || connection.done) return this.#becomeIdle();
    this.#start(connection);
  }

  onHandshakeFailed(): void {
    this.#shop.reporter.count("handshakes_failed");
    const detail = this.#judge.detail || this.#tunnel.describeFailure();
    this.#refuseFirst(this.#judge.reason ?? "handshake-failed", detail);
  }

  onPlaintext(bytes: Uint8Array<ArrayBuffer>, size: number): void {
    this.#reader.feed(bytes, size, this);
    if (!this.#sessionKept && !this.#tunnel.closed) this.#keepSession();
  }

  onData(bytes: Uint8Array<ArrayBuffer>, start: number, end: number): void {
    if (!this.#skipping) this.#stream?.deliver(bytes, start, end);
  }

  onFrame(type: FrameType, payload: DataView): void {
    if (this.#tunnel.closed) return; // by a frame before it in the same record
    if (this.#resetting) {
      if (type === FrameType.RESET) this.#becomeIdle();
    } else if (type === FrameType.OPENED) this.#onOpened();
    else if (type === FrameType.REFUSED) this.#onRefused(readRefused(payload));
    else if (type !== FrameType.FIN && type !== FrameType.RESET) {
      this.onMalformed(`frame of type ${type} from a server`);
    } else if (this.#skipping) return;
    else if (type === FrameType.FIN) this.#stream?.endDown();
    else this.#abortStream();
  }

  onMalformed(detail: string): void {
    this.#cut("malformed", detail);
  }

  /** close_notify: the end of a raw direction; anywhere else the peer is leaving. */
  onEnd(): void {
    if (this.#reader.raw && this.#stream !== null) return this.#stream.endDown();
    if (this.#stream === null) return this.#close("close");
    if (!this.#moveOn()) this.#failStream();
  }

  onBroken(detail: string, errno?: number): void {
    if (this.#first !== null) return this.#refuseFirst(reasonOfErrno(errno), detail);
    if (this.#stream === null) return this.#close("abort");
    this.#failStream();
  }

  onDrained(): void {
    this.#stream?.onTunnelDrained();
  }

  /** A handshake or the answer to RESET took too long, or an idle tunnel is not wanted any more. */
  onDeadline(): void {
    if (this.#first !== null) return this.#refuseFirst("handshake-timeout");
    this.#close("close");
  }

  onStreamEnd(): void {
    const reusable = this.#stream?.reusable === true && !this.#reader.raw && !this.#retired;
    this.#endStream();
    if (reusable) this.#becomeIdle();
    else this.#close("close");
  }

  onStreamAborted(told: boolean): void {
    this.#endStream();
    if (!told || this.#reader.raw || this.#retired) return this.#close("abort");
    this.#skipping = this.#resetting = true;
    this.#shop.deadlines.handshake.set(this, this.#shop.loop.nowMs);
  }

  evict(): void {
    this.#close("close");
  }

  recheck(rootsRemoved: boolean): void {
    const reason = this.#objection(rootsRemoved);
    if (reason !== null) return this.#cut(reason, "the configuration has changed");
    const { world } = this.#shop;
    if (this.#fingerprint.endsWith(` ${world.place(this.#target.address).fingerprint}`)) return;
    this.#retired = true;
    if (this.#shop.pool.remove(this)) this.#close("close");
  }

  stop(): void {
    this.#stream?.abort();
    this.#endStream();
    this.#close("abort");
  }

  /** Why the stream may not go on; null when it may. */
  #objection(rootsRemoved: boolean): Reason | null {
    const { world, credentials } = this.#shop;
    const pod = world.pod(this.pod);
    if (pod === undefined || pod.netnsCookie !== this.#home.netnsCookie) return "agent-down";
    if (this.#first !== null) return null; // judged when the certificate comes
    const port = world.place(this.#target.address).port(this.#target.port);
    const decision = decide({ stage: "outbound", source: pod.source, ...port });
    if (decision.verdict === "refuse") return decision.reason;
    const { svid } = this.#judge;
    if (svid === null) return "unknown-identity";
    if (rootsRemoved && !isStillTrusted(this.#tunnel.tls, credentials.roots)) {
      return "certificate-untrusted";
    }
    return this.#judge.recheck(svid, { nowMs: svid.notBeforeMs }); // outlives its certificate
  }

  #mayReuse(): boolean {
    const { svid } = this.#judge;
    return svid !== null && this.#judge.recheck(svid) === null;
  }

  #reuse(connection: OutboundConnection): void {
    this.queue?.clear(this);
    this.#shop.reporter.count("tunnels_reused");
    this.#guest = connection;
    this.#start(connection);
  }

  #start(connection: OutboundConnection): void {
    const { source } = connection.facts;
    this.#source = source;
    this.#skipping = true;
    const app = connection.release();
    this.#stream = new Stream(this.#shop, { app, tunnel: this.#tunnel, framed: true }, this);
    this.#stream.open(
      { sourcePort: source.port, flowId: nextFlowId() },
      { keep: this.#guest !== null, said: connection.said },
    );
  }

  #onOpened(): void {
    this.#skipping = false;
    this.#guest = null;
    this.#stream?.answered();
  }

  /** The server has left before it took the stream: it goes over a new tunnel. */
  #moveOn(): boolean {
    const guest = this.#guest;
    const said = guest === null ? undefined : this.#stream?.surrender();
    if (guest === null || said === undefined) return false;
    this.#stream = null; // and is still open
    this.#close("close");
    this.#shop.reporter.count("tunnels_left");
    guest.again(said);
    return true;
  }

  #onRefused(reason: number): void {
    this.#skipping = true; // the server reads on to the next OPEN
    if (this.#stream === null) return;
    this.#tell("refuse", reasonOf(reason) as Reason, "the peer's node refused it");
    this.#abortStream();
  }

  /** The application's connection ends with RST; the tunnel may serve another. */
  #abortStream(): void {
    const stream = this.#stream;
    if (stream === null) return;
    const reusable = stream.reusable && !this.#reader.raw && !this.#retired;
    stream.abort();
    this.#endStream();
    this.#skipping = true;
    if (reusable) this.#becomeIdle();
    else this.#close("abort");
  }

  /** The tunnel is lost, and the stream with it. */
  #failStream(): void {
    const { faults } = this.#tunnel.tls;
    const alert = alertOf(faults);
    // A server judges the client's certificate last: its alert comes after our Finished.
    if (alert !== undefined) {
      this.#tell("refuse", "handshake-failed", `the peer sent alert ${alert}`);
    } else if (hasBrokenTls(faults)) this.#tell("cut", "malformed", describeFaults(faults));
    else this.#shop.reporter.count("cut");
    this.stop();
  }

  #refuseFirst(reason: Reason, detail?: string): void {
    const connection = this.#first;
    this.#first = null;
    this.#close("close");
    connection?.refuse(reason, detail, this.#judge.svid?.spiffeId ?? undefined);
  }

  #cut(reason: Reason, detail: string): void {
    const connection = this.#first;
    this.#first = null;
    if (this.#stream !== null) this.#tell("cut", reason, detail);
    this.stop();
    connection?.refuse(reason, detail);
  }

  #tell(verdict: "refuse" | "cut", reason: Reason, detail: string): void {
    this.#shop.tell({
      stage: "outbound",
      verdict,
      reason,
      source: this.#source,
      target: this.#target,
      pod: this.pod,
      peerId: this.#judge.svid?.spiffeId ?? undefined,
      detail,
    });
  }

  #endStream(): void {
    if (this.#stream === null) return;
    this.#stream = null;
    this.#guest = null;
    this.#shop.reporter.count("connections_open", -1);
    this.#tunnel.resume();
  }

  #becomeIdle(): void {
    this.#resetting = false;
    if (this.#tunnel.closed) return;
    if (this.#retired) return this.#close("close");
    this.#shop.deadlines.idleClient.set(this, this.#shop.loop.nowMs);
    this.#shop.pool.put(this);
  }

  #keepSession(): void {
    const session = this.#tunnel.tls.takeSession();
    if (session === undefined) return;
    this.#sessionKept = true;
    this.#shop.credentials.keepSession(this.#sessionKey, session);
  }

  #close(how: "close" | "abort"): void {
    if (this.#tunnel.closed) return;
    this.#shop.pool.remove(this);
    this.queue?.clear(this);
    this.#shop.live.delete(this);
    this.#shop.reporter.count("tunnels_open", -1);
    if (how === "close") this.#tunnel.end();
    this.#tunnel.close(how);
  }
}

/** What TCP said to a connection that has not begun. */
function reasonOfErrno(errno: number | undefined): Reason {
  if (errno === Errno.ECONNREFUSED) return "not-listening"; // passed on: the peer's node knows more
  return errno === undefined || errno === Errno.ECONNRESET ? "handshake-failed" : "peer-not-ready";
}

let flows = 0n;

/** Unique in this worker, for logs. */
function nextFlowId(): bigint {
  return ++flows;
}
