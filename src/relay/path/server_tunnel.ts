/**
 * A tunnel that came to a pod of this node: the client's identity, then its streams.
 *
 * In: an accepted connection. Out: streams to the application, or a refusal with the alert, the row
 * and the event that name its cause. Invariant: before the client's certificate has passed every
 * check nothing is sent to the application, not even a SYN (but see `Sniffer`); and a frame for
 * which there is no stream is thrown away, never delivered to another.
 *
 * A client that agrees to `weft/1` is a relay and speaks frames. Any other has brought a
 * certificate of its own; its bytes go to the application as they are.
 *
 * @module
 */

import { abortOnClose } from "../../../ffi/linux/socket.ts";
import { TlsConnection } from "../../../ffi/tls/connection.ts";
import { alertOf, describeFaults, hasBrokenTls } from "../../../ffi/tls/errors.ts";
import { decide } from "../../compile/mod.ts";
import { REASONS, type RefusalReason } from "../../reasons.ts";
import { Waiter } from "../io/deadlines.ts";
import type { Live, Shop } from "../shop.ts";
import { type Credential, PROTOCOL } from "../tls/credentials.ts";
import { PeerJudge } from "../tls/judge.ts";
import { isStillTrusted } from "../tls/roots.ts";
import {
  FRAME_HEADER_BYTES,
  FrameReader,
  type FrameSink,
  FrameType,
  readOpen,
  writeFrameHeader,
  writeRefused,
} from "./frames.ts";
import { type InboundFacts, openApplication, sourceOf } from "./inbound.ts";
import { Lingering } from "./linger.ts";
import { NOBODY, type PlainSocket } from "./plain_socket.ts";
import { Stream, type StreamOwner } from "./stream.ts";
import { Tunnel, type TunnelUser } from "./tunnel.ts";

export class ServerTunnel extends Waiter implements TunnelUser, FrameSink, StreamOwner, Live {
  readonly #shop: Shop;
  readonly #facts: InboundFacts;
  readonly #tunnel: Tunnel;
  readonly #judge: PeerJudge;
  readonly #fingerprint: string;
  readonly #reader = new FrameReader();
  /** Among those whose handshake is under way. */
  readonly #place: Disposable;
  #isOpen = false;
  #framed = false;
  #stream: Stream | null = null;
  /** An application's connection that was opened before the client was known (PERMISSIVE). */
  #early: PlainSocket | null = null;
  #retired = false;
  /** Of the stream before: answers a RESET of the client's that has crossed it. */
  #resetSent = false;

  constructor(
    shop: Shop,
    facts: InboundFacts,
    fd: number,
    credential: Credential,
    early: PlainSocket | null = null,
  ) {
    super();
    this.#shop = shop;
    this.#facts = facts;
    this.#place = shop.handshakes.enter(sourceOf(shop, facts));
    this.#early = early;
    this.#fingerprint = this.#currentFingerprint();
    this.#judge = new PeerJudge(
      () => shop.world,
      () => shop.world.place(facts.remote.address),
    );
    const tls = new TlsConnection(credential.server, shop.space.ring);
    this.#tunnel = new Tunnel(shop, { fd, connected: true }, tls, this);
    shop.live.add(this);
    shop.reporter.count("tunnels_open");
    shop.deadlines.handshake.set(this, shop.loop.nowMs);
  }

  /** Takes what a `Sniffer` has received. */
  begin(bytes: Uint8Array): void {
    this.#tunnel.begin(bytes);
  }

  judge(...shown: Parameters<PeerJudge["judge"]>): number {
    return this.#judge.judge(...shown);
  }

  onHandshake(): void {
    const { tls } = this.#tunnel;
    this.queue?.clear(this);
    this.#place[Symbol.dispose]();
    this.#shop.reporter.count("handshakes");
    if (tls.resumed) {
      this.#shop.reporter.count("handshakes_resumed");
      const leaf = tls.peerCertificate;
      if (leaf === undefined || this.#judge.judge(leaf, 0) !== 0) {
        return this.#refuse(this.#judge.reason ?? "no-certificate", this.#judge.detail);
      }
    }
    this.#isOpen = true;
    this.#framed = tls.protocol === PROTOCOL;
    if (this.#framed) this.#waitForOpen();
    else this.#startStream(this.#facts.remote.port);
  }

  onHandshakeFailed(): void {
    this.#shop.reporter.count("handshakes_failed");
    const { faults, helloSeen } = this.#tunnel.tls;
    const { reason, detail } = this.#judge;
    const alert = alertOf(faults);
    if (reason !== null) return this.#refuse(reason, detail);
    if (alert !== undefined) {
      return this.#refuse("handshake-failed", `the client sent alert ${alert}`);
    }
    if (faults.some((fault) => fault.reason === SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE)) {
      return this.#refuse("no-certificate");
    }
    if (!helloSeen || this.#tunnel.firstByte !== TLS_HANDSHAKE_RECORD) {
      return this.#refuse("not-tls", "the first bytes are no TLS ClientHello");
    }
    this.#refuse("handshake-failed", describeFaults(faults));
  }

  onPlaintext(bytes: Uint8Array<ArrayBuffer>, size: number): void {
    if (this.#framed) this.#reader.feed(bytes, size, this);
    else this.#stream?.deliver(bytes, 0, size);
  }

  onData(bytes: Uint8Array<ArrayBuffer>, start: number, end: number): void {
    this.#stream?.deliver(bytes, start, end);
  }

  onFrame(type: FrameType, payload: DataView): void {
    if (this.#tunnel.closed) return; // by a frame before it in the same record
    if (type === FrameType.OPEN) this.#onOpen(payload);
    else if (type === FrameType.FIN) this.#stream?.endDown();
    else if (type === FrameType.RESET) this.#dropStream();
    else this.onMalformed(`frame of type ${type} from a client`);
  }

  onMalformed(detail: string): void {
    this.#cut("malformed", detail);
  }

  onEnd(): void {
    const bare = !this.#framed || this.#reader.raw;
    if (bare && this.#stream !== null) return this.#stream.endDown();
    this.#stream?.abort();
    this.#endStream();
    this.#close("close");
  }

  onBroken(detail: string): void {
    if (!this.#isOpen) return this.#refuse("handshake-failed", detail);
    if (hasBrokenTls(this.#tunnel.tls.faults)) return this.onMalformed(detail);
    this.#stream?.abort();
    this.#endStream();
    this.#close("abort");
  }

  onDrained(): void {
    this.#stream?.onTunnelDrained();
  }

  onDeadline(): void {
    if (!this.#isOpen) return this.#refuse("handshake-timeout");
    if (this.#stream !== null) { // OPENED has found no company
      this.#stream.flushPrefix();
      return this.#tunnel.flush();
    }
    this.#close("close");
  }

  onAppConnected(errno: number): void {
    if (errno !== 0) return this.#refuseStream();
    if (!this.#framed) return this.#stream?.start();
    this.#stream?.opened();
    this.#shop.deadlines.company.set(this, this.#shop.loop.nowMs);
  }

  onStreamEnd(): void {
    const reusable = this.#stream?.reusable === true && !this.#reader.raw && !this.#retired;
    this.#endStream();
    if (reusable) this.#waitForOpen();
    else this.#close("close");
  }

  onStreamAborted(told: boolean): void {
    this.#endStream();
    if (!told || this.#reader.raw || this.#retired) return this.#close("abort");
    this.#resetSent = true;
    this.#waitForOpen();
  }

  recheck(rootsRemoved: boolean): void {
    const { home, remote, local } = this.#facts;
    const { world, credentials } = this.#shop;
    const pod = world.pod(home.key);
    if (pod === undefined || pod.netnsCookie !== home.netnsCookie) {
      return this.#cut("agent-down", "the pod is not known any more");
    }
    if (!this.#isOpen) return; // judged when the certificate comes
    const { svid } = this.#judge;
    if (svid === null) return this.#cut("unknown-identity", "no certificate");
    if (rootsRemoved && !isStillTrusted(this.#tunnel.tls, credentials.roots)) {
      return this.#cut("certificate-untrusted", "its root is not trusted any more");
    }
    const { source } = world.place(remote.address);
    const decision = decide({
      stage: "inbound",
      source,
      ...world.place(local.address).port(local.port),
    });
    const objection = decision.verdict === "refuse" || decision.verdict === "wait"
      ? decision.reason
      : this.#judge.recheck(svid, { nowMs: svid.notBeforeMs }); // outlives its certificate
    if (objection !== null) return this.#cut(objection, "the configuration has changed");
    if (this.#fingerprint === this.#currentFingerprint()) return;
    this.#retired = true;
    if (this.#stream === null) this.#close("close");
  }

  stop(): void {
    if (this.#isOpen && this.#stream === null) return this.#close("close"); // see ClientTunnel
    this.#stream?.abort();
    this.#endStream();
    this.#close("abort");
  }

  #currentFingerprint(): string {
    const { local, remote } = this.#facts;
    const { world } = this.#shop;
    return `${world.place(local.address).fingerprint} ${world.place(remote.address).fingerprint}`;
  }

  #waitForOpen(): void {
    if (this.#retired) return this.#close("close");
    this.#shop.deadlines.idleServer.set(this, this.#shop.loop.nowMs);
  }

  #onOpen(payload: DataView): void {
    const open = readOpen(payload);
    if (open === undefined) return this.onMalformed("OPEN without its fields");
    if (this.#stream !== null) return this.onMalformed("OPEN within a stream");
    this.#resetSent = false;
    const objection = this.#objectionToOpen();
    if (objection !== null) return this.#writeRefused(objection);
    this.#startStream(open.sourcePort);
  }

  /** Each stream is judged anew, also for the age of the certificate. */
  #objectionToOpen(): RefusalReason | null {
    const { svid } = this.#judge;
    return svid === null ? "no-certificate" : this.#judge.recheck(svid);
  }

  #startStream(sourcePort: number): void {
    this.queue?.clear(this);
    this.#shop.reporter.count("connections_open");
    const early = this.#early;
    this.#early = null;
    const app = early ?? openApplication(this.#shop, this.#facts, sourcePort, NOBODY);
    if (app === undefined) {
      this.#shop.reporter.count("connections_open", -1);
      return this.#refuseStream();
    }
    this.#stream = new Stream(this.#shop, {
      app,
      tunnel: this.#tunnel,
      framed: this.#framed,
    }, this);
    if (app.connected) this.onAppConnected(app.connectErrno);
  }

  /** The application does not accept. */
  #refuseStream(): void {
    this.#stream?.abort();
    this.#endStream();
    this.#tell("refuse", "not-listening");
    if (this.#framed) this.#writeRefused("not-listening");
    else this.#close("abort");
  }

  #writeRefused(reason: RefusalReason): void {
    const { upFrame } = this.#shop.space;
    this.#tunnel.write(upFrame, writeRefused(upFrame, 0, REASONS[reason].number));
    this.#tunnel.flush();
    this.#waitForOpen();
  }

  /**
   * The client has aborted its stream, and waits for one RESET to hear that nothing more of it is
   * to come. A second one it would take for the answer to its next.
   */
  #dropStream(): void {
    const stream = this.#stream;
    if (stream === null) return this.#resetSent ? undefined : this.#writeReset();
    stream.abort();
    this.#endStream();
    if (!stream.reusable || this.#retired) return this.#close("abort");
    this.#writeReset();
    this.#waitForOpen();
  }

  #writeReset(): void {
    const { upFrame } = this.#shop.space;
    writeFrameHeader(upFrame, 0, FrameType.RESET, 0);
    this.#tunnel.write(upFrame, FRAME_HEADER_BYTES);
    this.#tunnel.flush();
  }

  /**
   * Before a client is known: row, event, and for who spoke TLS an alert (sent already) with a last
   * second to read it. Who did not gets a reset, as from a port that is closed.
   */
  #refuse(reason: RefusalReason, detail?: string): void {
    const { local, remote } = this.#facts;
    this.#leave();
    const fd = this.#tunnel.surrender();
    this.#shop.door.refuse(local, remote, reason);
    this.#tell("refuse", reason, detail);
    if (this.#tunnel.firstByte === TLS_HANDSHAKE_RECORD) new Lingering(this.#shop, fd);
    else {
      abortOnClose(fd);
      this.#shop.loop.close(fd);
    }
  }

  #cut(reason: RefusalReason | "none", detail: string): void {
    this.#stream?.abort();
    this.#endStream();
    if (reason !== "none") {
      this.#shop.door.refuse(this.#facts.local, this.#facts.remote, reason);
      this.#tell("cut", reason, detail);
    }
    this.#close("abort");
  }

  #tell(verdict: "refuse" | "cut", reason: RefusalReason, detail?: string): void {
    const { home, local, remote } = this.#facts;
    this.#shop.tell({
      stage: "inbound",
      verdict,
      reason,
      source: remote,
      target: local,
      pod: home.key,
      peerId: this.#judge.svid?.spiffeId ?? undefined,
      detail,
    });
  }

  #endStream(): void {
    if (this.#stream === null) return;
    this.#stream = null;
    this.queue?.clear(this);
    this.#shop.reporter.count("connections_open", -1);
    this.#tunnel.resume();
  }

  #close(how: "close" | "abort"): void {
    if (this.#tunnel.closed) return;
    this.#leave();
    if (how === "close") this.#tunnel.end();
    this.#tunnel.close(how);
  }

  #leave(): void {
    this.queue?.clear(this);
    this.#place[Symbol.dispose]();
    this.#early?.close("abort");
    this.#early = null;
    if (this.#shop.live.delete(this)) this.#shop.reporter.count("tunnels_open", -1);
  }
}

const TLS_HANDSHAKE_RECORD = 22;
const SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE = 199;
