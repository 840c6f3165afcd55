/**
 * OpenSSL's error queue, turned into values.
 *
 * The queue belongs to the thread, and `SSL_get_error` reads it: a stale entry makes the next,
 * healthy connection look broken. So whoever sees a failure drains it, and then it is empty
 * whenever an operation starts; clearing it before each one would cost every record.
 *
 * @module
 */

import { readCstring } from "../memory.ts";
import { libcrypto } from "./symbols.ts";

/** OpenSSL could not do what it must always be able to do: load a key, make an object. */
export class TlsError extends Error {
  override readonly name = "TlsError";
  readonly code = "tls";
  readonly faults: readonly TlsFault[];

  constructor(action: string, faults: readonly TlsFault[] = drainFaults()) {
    super(`${action}: ${describeFaults(faults)}`);
    this.faults = faults;
  }
}

/** One entry of the queue. */
export interface TlsFault {
  /** SSL_R_* or the like; meaningful together with the library. */
  readonly reason: number;
  readonly text: string;
}

/** Empties the queue of this thread; the first entry is the oldest. */
export function drainFaults(): TlsFault[] {
  const faults: TlsFault[] = [];
  const crypto = libcrypto();
  for (;;) {
    const error = crypto.ERR_get_error();
    if (error === 0n) return faults;
    const reason = Number(error & REASON_MASK);
    faults.push({ reason, text: readCstring(crypto.ERR_reason_error_string(error)) });
  }
}

/** The faults in one line. */
export function describeFaults(faults: readonly TlsFault[]): string {
  return faults.map((fault) => fault.text || `reason ${fault.reason}`).join("; ") ||
    "no reason given";
}

/** The alert that the peer sent, if that is what broke the connection. */
export function alertOf(faults: readonly TlsFault[]): number | undefined {
  const alert = faults.find(({ reason }) => reason >= ALERT_FIRST && reason <= ALERT_LAST);
  return alert && alert.reason - ALERT_FIRST;
}

/** Whether the peer has broken the rules of TLS, rather than gone or given up with an alert. */
export function hasBrokenTls(faults: readonly TlsFault[]): boolean {
  return faults.length > 0 && alertOf(faults) === undefined;
}

/** Returns a pointer that is not NULL, or throws. */
export function checkTls(pointer: Deno.PointerValue, action: string): Deno.PointerObject {
  if (pointer === null) throw new TlsError(action);
  return pointer;
}

/** ERR_GET_REASON */
const REASON_MASK = 0x7f_ffffn;
/** SSL_AD_REASON_OFFSET: a received alert is its number above this. */
const ALERT_FIRST = 1000;
const ALERT_LAST = 1255;
