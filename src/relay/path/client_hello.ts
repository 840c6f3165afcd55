/**
 * Reads just enough of the first bytes of a connection to tell a relay from everybody else.
 *
 * In: the bytes so far, hostile or not. Out: `relay` for a TLS ClientHello that offers ALPN
 * `weft/1`,
 * `other` for anything that can no longer become one, `more` when it is too early to say.
 * Invariant:
 * it never reads beyond what is there, and no answer but `more` changes with further bytes.
 *
 * @module
 */

export type Guess = "relay" | "other" | "more";

/** Bytes of a ClientHello that are waited for: ML-KEM's key share is 1.2 KiB of some 2 KiB. */
export const CLIENT_HELLO_BYTES_MAX = 8 * 1024;

/** Whether `bytes` begin a relay's handshake. */
export function guessClient(bytes: Uint8Array): Guess {
  const hello = attempt(() => findHello(bytes));
  if (hello === "other") return hello;
  if (hello === undefined) return bytes.length >= CLIENT_HELLO_BYTES_MAX ? "other" : "more";
  return attempt(() => readHello(hello)) ?? "other"; // it is all there, and yet too short: nonsense
}

/** Undefined when `read` wants more bytes than there are. */
function attempt<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (error === TOO_SHORT) return undefined;
    throw error;
  }
}

const TOO_SHORT = new Error("More bytes are needed");
const HANDSHAKE_RECORD = 22;
const CLIENT_HELLO = 1;
const ALPN = 16;
const WEFT = new TextEncoder().encode("weft/1");

/** A relay sends its ClientHello in one record; what is split over several is somebody else's. */
function findHello(bytes: Uint8Array): Reader | "other" {
  const record = new Reader(bytes, 0, bytes.length);
  if (record.u8() !== HANDSHAKE_RECORD || record.u8() !== 3) return "other";
  record.u8(); // the minor version is of no meaning
  const size = record.u16();
  if (record.u8() !== CLIENT_HELLO) return "other";
  const length = record.u24();
  return 4 + length > size ? "other" : record.part(length);
}

function readHello(hello: Reader): Guess {
  hello.skip(2 + 32); // version, random
  hello.skip(hello.u8()); // session id
  hello.skip(hello.u16()); // cipher suites
  hello.skip(hello.u8()); // compression methods
  const extensions = hello.part(hello.u16());
  while (extensions.left > 0) {
    const type = extensions.u16();
    const content = extensions.part(extensions.u16());
    if (type === ALPN) return offersWeft(content) ? "relay" : "other";
  }
  return "other";
}

function offersWeft(content: Reader): boolean {
  const names = content.part(content.u16());
  while (names.left > 0) {
    const name = names.part(names.u8());
    if (name.left === WEFT.length && WEFT.every((byte) => name.u8() === byte)) return true;
  }
  return false;
}

class Reader {
  readonly #bytes: Uint8Array;
  #at: number;
  readonly end: number;

  constructor(bytes: Uint8Array, start: number, end: number) {
    this.#bytes = bytes;
    this.#at = start;
    this.end = end;
  }

  get left(): number {
    return this.end - this.#at;
  }

  u8(): number {
    const byte = this.#at < this.end ? this.#bytes[this.#at] : undefined;
    if (byte === undefined) throw TOO_SHORT;
    this.#at++;
    return byte;
  }

  u16(): number {
    return this.u8() * 256 + this.u8();
  }

  u24(): number {
    return this.u16() * 256 + this.u8();
  }

  skip(count: number): void {
    if (this.#at + count > this.end) throw TOO_SHORT;
    this.#at += count;
  }

  /** The next `count` bytes, as a reader of their own. */
  part(count: number): Reader {
    const start = this.#at;
    this.skip(count);
    return new Reader(this.#bytes, start, start + count);
  }
}
