/**
 * When certificates begin, end and are renewed. Pure: time and chance are arguments.
 *
 * In: now, a lifetime, the validity of the signer. Out: instants in milliseconds since the epoch.
 * Invariant: nothing outlives its signer, and everything is due for renewal with about half of its
 * life left. That half is the grace of the mesh: an outage of the root's machine may last four
 * days, of an agent's clock source 27 minutes, before anything expires; then nothing is graced.
 *
 * @module
 */

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;

/** Roots are replaced by hand, with overlap; ten years is what people expect of one. */
export const ROOT_LIFETIME_MS = 10 * 365 * DAY_MS;

/** A week lets an operator notice, over a long weekend, that the root's machine is gone. */
export const NODE_ISSUER_LIFETIME_MS = 7 * DAY_MS;

/** It is kept beside the root and renewed by whichever command needs it. */
export const EXTERNAL_ISSUER_LIFETIME_MS = 90 * DAY_MS;

/** Outside hosts have no agent that would renew theirs. */
export const EXTERNAL_SVID_LIFETIME_MS = DAY_MS;

/** As SPIRE and Istio have it. */
export const SVID_LIFETIME_MS = HOUR_MS;

/** Less than this and handshakes race with expiry. */
export const LIFETIME_MS_MIN = 10_000;

/** Validity begins this much earlier than it is issued, for verifiers whose clock is behind. */
export const BACKDATE_MS = 5 * MINUTE_MS;

/**
 * The same of a signer. A machine may start with a clock that is hours ahead until somebody sets
 * it: a root that were made then, and not back-dated by as much, would not hold for hours.
 */
export const SIGNER_BACKDATE_MS = DAY_MS;

/** Of a short life it is less, or the signer were due for renewal from the start. */
const SIGNER_BACKDATE_SHARE = 1 / 7;

/** Share of a lifetime by which renewals are spread, so that a node's pods do not renew at once. */
const JITTER = 0.1;

/** From when to when a certificate holds. */
export interface Validity {
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
}

/** The validity of what is issued now; back-dated, and never outside the signer's own. */
export function validityWithin(
  signer: Validity | null,
  { nowMs, lifetimeMs, isSigner = false }: {
    readonly nowMs: number;
    readonly lifetimeMs: number;
    /** what is issued signs others */
    readonly isSigner?: boolean;
  },
): Validity {
  const notAfterMs = Math.min(nowMs + lifetimeMs, signer?.notAfterMs ?? Infinity);
  const backdateMs = isSigner
    ? Math.min(SIGNER_BACKDATE_MS, (notAfterMs - nowMs) * SIGNER_BACKDATE_SHARE)
    : BACKDATE_MS;
  const notBeforeMs = Math.max(nowMs - backdateMs, signer?.notBeforeMs ?? -Infinity);
  return { notBeforeMs, notAfterMs };
}

/** When an SVID issued at `issuedMs` is renewed: at half of its life, give or take 5 % of it. */
export function svidRenewalMs(
  { issuedMs, notAfterMs }: { readonly issuedMs: number; readonly notAfterMs: number },
  random: number,
): number {
  const lifetimeMs = notAfterMs - issuedMs;
  return issuedMs + lifetimeMs * (0.5 + JITTER * (random - 0.5));
}

/** When a signing certificate is renewed: in the middle of its validity. */
export function issuerRenewalMs({ notBeforeMs, notAfterMs }: Validity): number {
  return notBeforeMs + (notAfterMs - notBeforeMs) / 2;
}

/** Whether a certificate holds at an instant; the end itself is outside. */
export function isValidAt({ notBeforeMs, notAfterMs }: Validity, nowMs: number): boolean {
  return notBeforeMs <= nowMs && nowMs < notAfterMs;
}
