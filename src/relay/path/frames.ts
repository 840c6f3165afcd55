/**
 * The frames of ALPN `weft/1`: a 5-byte header (type, big-endian length), then that many bytes.
 *
 * In: decrypted bytes in pieces of any size. Out: calls to a `FrameSink`. Invariant: nothing that
 * a peer sends makes the reader keep more than `CONTROL_BYTES_MAX` bytes, or throw: a frame that
 * breaks the rules is reported once, and then the reader takes no more. DATA is never collected;
 * it passes in the pieces in which it came.
 *
 * @module
 */

export const FRAME_HEADER_BYTES = 5;

export const FrameType = {
  /** client: a new application connection */
  OPEN: 1,
  /** server: the application accepted */
  OPENED: 2,
  /** server: it did not; carries the number of the reason */
  REFUSED: 3,
  DATA: 4,
  /** this direction has ended */
  FIN: 5,
  /**
   * both directions are aborted; a server answers it by RESET, unless it has sent one for the same
   * stream, and behind its one RESET nothing follows
   */
  RESET: 6,
  /** from here on this direction is bare bytes */
  RAW: 7,
} as const;
export type FrameType = typeof FrameType[keyof typeof FrameType];

/** Payload of a frame other than DATA. */
const CONTROL_BYTES_MAX = 64;
/** Payload of DATA: more than any relay sends at once, less than what a length can say. */
const DATA_BYTES_MAX = 1 << 20;

/** Takes what a reader finds. */
export interface FrameSink {
  /** A piece of DATA, or of bare bytes. */
  onData(bytes: Uint8Array<ArrayBuffer>, start: number, end: number): void;
  /** Any other frame but RAW. `payload` is valid during the call. */
  onFrame(type: FrameType, payload: DataView): void;
  /** The peer broke the rules. */
  onMalformed(detail: string): void;
}

export class FrameReader {
  /** Whether all that follows is bare bytes. */
  raw = false;
  /** DATA that is still to come of the frame begun. */
  #dataLeft = 0;
  /** Header and payload of a frame that came in pieces, or is not DATA. */
  readonly #partial = new Uint8Array(FRAME_HEADER_BYTES + CONTROL_BYTES_MAX);
  readonly #view = new DataView(this.#partial.buffer);
  #partialSize = 0;
  #broken = false;

  /** Reads `bytes[0..size)`. */
  feed(bytes: Uint8Array<ArrayBuffer>, size: number, sink: FrameSink): void {
    let at = 0;
    while (at < size && !this.#broken) {
      if (this.raw) return sink.onData(bytes, at, size);
      if (this.#dataLeft > 0) at = this.#passData(bytes, at, size, sink);
      else at = this.#collect(bytes, at, size, sink);
    }
  }

  #passData(
    bytes: Uint8Array<ArrayBuffer>,
    at: number,
    size: number,
    sink: FrameSink,
  ): number {
    const end = Math.min(size, at + this.#dataLeft);
    this.#dataLeft -= end - at;
    sink.onData(bytes, at, end);
    return end;
  }

  /** Collects a header, and the payload of a control frame. */
  #collect(bytes: Uint8Array<ArrayBuffer>, at: number, size: number, sink: FrameSink): number {
    let position = at;
    if (this.#partialSize < FRAME_HEADER_BYTES) {
      position = this.#copy(bytes, position, size, FRAME_HEADER_BYTES);
      if (this.#partialSize < FRAME_HEADER_BYTES) return position;
      if (!this.#headerIsValid(sink)) return size;
      if (this.#partial[0] === FrameType.DATA) {
        this.#dataLeft = this.#view.getUint32(1);
        this.#partialSize = 0;
        return position;
      }
    }
    const wanted = FRAME_HEADER_BYTES + this.#view.getUint32(1);
    position = this.#copy(bytes, position, size, wanted);
    if (this.#partialSize < wanted) return position;
    this.#partialSize = 0;
    this.#emit(wanted, sink);
    return position;
  }

  #copy(bytes: Uint8Array, at: number, size: number, wanted: number): number {
    let position = at;
    while (this.#partialSize < wanted && position < size) {
      this.#partial[this.#partialSize++] = bytes[position++] ?? 0;
    }
    return position;
  }

  #headerIsValid(sink: FrameSink): boolean {
    const type = this.#partial[0] ?? 0;
    const length = this.#view.getUint32(1);
    const lengthMax = type === FrameType.DATA ? DATA_BYTES_MAX : CONTROL_BYTES_MAX;
    if (type >= FrameType.OPEN && type <= FrameType.RAW && length <= lengthMax) return true;
    this.#broken = true;
    sink.onMalformed(`frame of type ${type} with ${length} bytes`);
    return false;
  }

  #emit(size: number, sink: FrameSink): void {
    const type = this.#partial[0] as FrameType;
    if (type === FrameType.RAW) this.raw = true;
    else {
      const payload = new DataView(
        this.#partial.buffer,
        FRAME_HEADER_BYTES,
        size - FRAME_HEADER_BYTES,
      );
      sink.onFrame(type, payload);
    }
  }
}

/** Writes a frame's header at `offset`; returns where its payload starts. */
export function writeFrameHeader(
  bytes: Uint8Array,
  offset: number,
  type: FrameType,
  length: number,
): number {
  bytes[offset] = type;
  bytes[offset + 1] = length >>> 24;
  bytes[offset + 2] = (length >>> 16) & 0xff;
  bytes[offset + 3] = (length >>> 8) & 0xff;
  bytes[offset + 4] = length & 0xff;
  return offset + FRAME_HEADER_BYTES;
}

/** What OPEN says about the application's connection. */
export interface OpenFrame {
  /** The application's own port, which its peer is to see. */
  readonly sourcePort: number;
  /** Names the connection in the logs of both sides. */
  readonly flowId: bigint;
}

const OPEN_BYTES = 10;
/** The whole frame. */
export const OPEN_FRAME_BYTES = FRAME_HEADER_BYTES + OPEN_BYTES;

/** Writes OPEN at `offset`; returns where it ends. */
export function writeOpen(bytes: Uint8Array, offset: number, open: OpenFrame): number {
  const start = writeFrameHeader(bytes, offset, FrameType.OPEN, OPEN_BYTES);
  const view = new DataView(bytes.buffer, bytes.byteOffset + start, OPEN_BYTES);
  view.setUint16(0, open.sourcePort);
  view.setBigUint64(2, open.flowId);
  return start + OPEN_BYTES;
}

/** Reads the payload of OPEN; undefined when it is none. Longer ones are of a later version. */
export function readOpen(payload: DataView): OpenFrame | undefined {
  if (payload.byteLength < OPEN_BYTES) return undefined;
  return { sourcePort: payload.getUint16(0), flowId: payload.getBigUint64(2) };
}

/** Writes REFUSED at `offset`; returns where it ends. */
export function writeRefused(bytes: Uint8Array, offset: number, reason: number): number {
  const start = writeFrameHeader(bytes, offset, FrameType.REFUSED, 2);
  bytes[start] = reason >>> 8;
  bytes[start + 1] = reason & 0xff;
  return start + 2;
}

/** Reads the payload of REFUSED: the number of a reason. */
export function readRefused(payload: DataView): number {
  return payload.byteLength >= 2 ? payload.getUint16(0) : 0;
}
