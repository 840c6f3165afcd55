/**
 * One application connection over a tunnel: bytes both ways, half-close, abort, back-pressure.
 *
 * In: the application's socket and a tunnel, framed (`weft/1`) or bare (a client that brought its
 * own certificate). Out: calls to a `StreamOwner` when it is over. Invariant: each direction ends
 * exactly once, by an end or by an abort of both; an end is passed on only behind all bytes before
 * it; and a side that does not take its bytes stops the reading of the other, so that a stream
 * holds at most one turn's bytes in each direction.
 *
 * "Up" is from the application into the tunnel, "down" the other way, on both nodes.
 *
 * @module
 */

import { Errno } from "../../../ffi/errno.ts";
import { KEPT_BYTES_MAX, SHORT_BYTES } from "../../limits.ts";
import type { Reporter } from "../io/reporter.ts";
import { READ_BYTES, type Workspace } from "../io/workspace.ts";
import {
  FRAME_HEADER_BYTES,
  FrameType,
  OPEN_FRAME_BYTES,
  type OpenFrame,
  writeFrameHeader,
  writeOpen,
} from "./frames.ts";
import type { PlainSocket, PlainUser } from "./plain_socket.ts";
import type { Tunnel } from "./tunnel.ts";

/** Bytes after which a direction goes on without frames. */
const RAW_AFTER_BYTES = 256 * 1024;
/** With its header, a whole number of records. */
const FRAMED_READ_BYTES = READ_BYTES - FRAME_HEADER_BYTES;

/** Who carries the stream. */
export interface StreamOwner {
  /** Both directions have ended. */
  onStreamEnd(): void;
  /** Server: the connect to the application has succeeded (zero) or failed. */
  onAppConnected?(errno: number): void;
  /**
   * The application's connection is beyond use; the stream has closed it, and `told` the other node
   * with RESET. Where it has not, only a reset of the tunnel tells it.
   */
  onStreamAborted(told: boolean): void;
}

export class Stream implements PlainUser {
  readonly app: PlainSocket;
  readonly #tunnel: Tunnel;
  readonly #space: Workspace;
  readonly #reporter: Reporter;
  readonly #owner: StreamOwner;
  readonly #framed: boolean;
  /** A frame that leaves in front of the next one. */
  #prefix: OpenFrame | "opened" | null = null;
  #upRaw: boolean;
  #upBytes = 0;
  #upEnded = false;
  #downEnded = false;
  #over = false;
  /** What was sent so far, while nobody has answered; null when it can no longer be said again. */
  #kept: Uint8Array<ArrayBuffer> | null = null;

  constructor(
    shop: { readonly space: Workspace; readonly reporter: Reporter },
    ends: { readonly app: PlainSocket; readonly tunnel: Tunnel; readonly framed: boolean },
    owner: StreamOwner,
  ) {
    this.app = ends.app;
    this.#tunnel = ends.tunnel;
    this.#space = shop.space;
    this.#reporter = shop.reporter;
    this.#owner = owner;
    this.#framed = ends.framed;
    this.#upRaw = !ends.framed;
    ends.app.user = this;
  }

  /** Whether the tunnel can carry another stream when this one has ended. */
  get reusable(): boolean {
    return this.#framed && !this.#upRaw;
  }

  /**
   * Client: sends OPEN, with the bytes that the application has spoken already; those in `said`
   * have been read before. With `keep` it remembers what it sends until `answered`.
   */
  open(
    frame: OpenFrame,
    { keep, said }: { keep: boolean; said: Uint8Array<ArrayBuffer> | null },
  ): void {
    this.#prefix = frame;
    if (keep) this.#kept = NOTHING;
    if (said !== null && said.length > 0) {
      this.#space.upBody.set(said);
      this.#sendUp(said.length);
    }
    this.app.resume();
    this.onReadable();
    this.flushPrefix();
    this.#tunnel.flush();
  }

  /** The other node has the stream: what was sent is never sent again. */
  answered(): void {
    this.#kept = null;
  }

  /**
   * Lets go of an application's connection that nobody has answered, so that another tunnel can
   * carry it from its first byte, which is in what it has said; undefined when it must end with
   * this one. An end needs no word: who reads on reads it again.
   */
  surrender(): Uint8Array<ArrayBuffer> | undefined {
    if (this.#kept === null || this.#over) return undefined;
    this.#over = true;
    this.app.pause();
    return this.#kept;
  }

  /**
   * Server: the application has accepted; OPENED goes with the next frame, or with `flushPrefix`.
   */
  opened(): void {
    this.#prefix = "opened";
    this.app.resume();
  }

  /** Starts to carry, without a frame that says so. */
  start(): void {
    this.app.resume();
  }

  /** Sends what waits for company no longer. */
  flushPrefix(): void {
    if (this.#prefix === null || this.#over) return;
    const size = this.#writePrefix();
    this.#tunnel.write(this.#space.up.subarray(OPEN_FRAME_BYTES - size), size);
  }

  /** From the tunnel to the application. */
  deliver(bytes: Uint8Array<ArrayBuffer>, start: number, end: number): void {
    if (this.#downEnded || this.#over) return;
    this.#reporter.count("bytes_received", end - start);
    this.app.deliver(bytes, start, end);
    if (this.app.stalled) this.#tunnel.pause();
  }

  /** The other node's application has ended its direction. */
  endDown(): void {
    if (this.#downEnded || this.#over) return;
    this.#downEnded = true;
    this.app.end();
    this.#finish();
  }

  /** Closes the application's connection, with RST, and tells nobody. */
  abort(): void {
    if (this.#over) return;
    this.#over = true;
    this.app.close("abort");
  }

  onReadable(): void {
    if (this.#upEnded || this.#over) return;
    if (this.#tunnel.stalled) return this.app.pause();
    const count = this.#upRaw
      ? this.app.receive(this.#space.upBody, READ_BYTES)
      : this.app.receive(this.#space.upBody, FRAMED_READ_BYTES);
    if (count > 0) this.#sendUp(count);
    else if (count === 0) this.#endUp();
    else if (count !== -Errno.EAGAIN) return this.onBroken();
    this.#tunnel.flush();
    if (this.#tunnel.stalled) this.app.pause();
  }

  /** The tunnel has sent all that it had. */
  onTunnelDrained(): void {
    if (!this.#upEnded && !this.#over) this.app.resume();
  }

  onDrained(): void {
    if (this.#over) return;
    this.#tunnel.resume();
    this.#finish();
  }

  onConnected(errno: number): void {
    if (!this.#over) this.#owner.onAppConnected?.(errno);
  }

  onBroken(): void {
    if (this.#over) return;
    this.flushPrefix(); // there is no RESET before OPENED
    const told = this.reusable && this.#upBytes <= SHORT_BYTES && !this.#tunnel.stalled;
    if (told) {
      this.#control(FrameType.RESET);
      this.#tunnel.flush();
    }
    this.abort();
    this.#owner.onStreamAborted(told);
  }

  #sendUp(count: number): void {
    this.#reporter.count("bytes_sent", count);
    if (this.#kept !== null) this.#keep(count);
    if (this.#upRaw) return this.#tunnel.write(this.#space.upBody, count);
    const { up, upFrame } = this.#space;
    writeFrameHeader(upFrame, 0, FrameType.DATA, count);
    const framed = FRAME_HEADER_BYTES + count;
    if (this.#prefix === null) this.#tunnel.write(upFrame, framed);
    else {
      const size = this.#writePrefix();
      this.#tunnel.write(up.subarray(OPEN_FRAME_BYTES - size), size + framed);
    }
    this.#upBytes += count;
    if (this.#upBytes >= RAW_AFTER_BYTES) this.#goRaw();
  }

  #keep(count: number): void {
    const kept = this.#kept ?? NOTHING;
    const size = kept.length + count;
    if (size > KEPT_BYTES_MAX) {
      this.#kept = null;
      return;
    }
    this.#kept = new Uint8Array(size);
    this.#kept.set(kept);
    this.#kept.set(this.#space.upBody.subarray(0, count), kept.length);
  }

  #goRaw(): void {
    this.#control(FrameType.RAW);
    this.#upRaw = true;
  }

  #endUp(): void {
    this.#upEnded = true;
    this.app.pause();
    this.flushPrefix();
    if (this.#upRaw) this.#tunnel.end();
    else this.#control(FrameType.FIN);
    this.#tunnel.flush();
    this.#finish();
  }

  #control(type: FrameType): void {
    writeFrameHeader(this.#space.upFrame, 0, type, 0);
    this.#tunnel.write(this.#space.upFrame, FRAME_HEADER_BYTES);
  }

  /** Writes the waiting frame so that it ends where DATA's header starts; returns its size. */
  #writePrefix(): number {
    const prefix = this.#prefix;
    this.#prefix = null;
    if (prefix === null) return 0;
    if (prefix === "opened") {
      const at = OPEN_FRAME_BYTES - FRAME_HEADER_BYTES;
      writeFrameHeader(this.#space.up, at, FrameType.OPENED, 0);
      return FRAME_HEADER_BYTES;
    }
    writeOpen(this.#space.up, 0, prefix);
    return OPEN_FRAME_BYTES;
  }

  #finish(): void {
    if (!this.#upEnded || !this.#downEnded || this.app.stalled || this.#over) return;
    this.#over = true;
    this.app.close("close");
    this.#owner.onStreamEnd();
  }
}

const NOTHING = new Uint8Array(0);
