/**
 * When certificates begin, end and are renewed.
 *
 * @module
 */
import { describe, it } from "node:test";
import assert from "node:assert/strict";
import fc from "fast-check";
import {
  BACKDATE_MS,
  issuerRenewalMs,
  LIFETIME_MS_MIN,
  svidRenewalMs,
  validityWithin,
} from "@/src/identity/mod.ts";

const HOUR_MS = 3_600_000;

describe("validityWithin()", () => {
  it("back-dates by five minutes and lasts the lifetime from now", () => {
    const nowMs = 1_000 * HOUR_MS;
    assert.deepEqual(validityWithin(null, { nowMs, lifetimeMs: HOUR_MS }), {
      notBeforeMs: nowMs - BACKDATE_MS,
      notAfterMs: nowMs + HOUR_MS,
    });
  });

  it("back-dates a signer by a day, and one that lives shorter than a week by a seventh", () => {
    const nowMs = 1_000 * HOUR_MS;
    const backdate = (lifetimeMs: number) =>
      nowMs - validityWithin(null, { nowMs, lifetimeMs, isSigner: true }).notBeforeMs;
    assert.equal(backdate(90 * 24 * HOUR_MS), 24 * HOUR_MS);
    assert.equal(backdate(7 * 24 * HOUR_MS), 24 * HOUR_MS);
    assert.equal(backdate(7 * HOUR_MS), HOUR_MS);
  });

  it("never makes a signer that is due for renewal at once, also in its signer's last hours", () => {
    const nowMs = 1_000 * HOUR_MS;
    const lifetime = fc.integer({ min: LIFETIME_MS_MIN, max: 100 * 24 * HOUR_MS });
    fc.assert(fc.property(lifetime, lifetime, lifetime, (lifetimeMs, sinceMs, leftMs) => {
      const signer = { notBeforeMs: nowMs - sinceMs, notAfterMs: nowMs + leftMs };
      const validity = validityWithin(signer, { nowMs, lifetimeMs, isSigner: true });
      assert.ok(issuerRenewalMs(validity) - nowMs >= (validity.notAfterMs - nowMs) * 0.4);
    }));
  });

  it("never leaves the validity of the signer", () => {
    const time = fc.integer({ min: 0, max: 1e12 });
    const cases = [time, time, time, time, fc.boolean()] as const;
    fc.assert(fc.property(...cases, (begin, length, nowMs, lifetimeMs, isSigner) => {
      const signer = { notBeforeMs: begin, notAfterMs: begin + length };
      const { notBeforeMs, notAfterMs } = validityWithin(signer, { nowMs, lifetimeMs, isSigner });
      assert.ok(notBeforeMs >= signer.notBeforeMs && notAfterMs <= signer.notAfterMs);
    }));
  });
});

describe("svidRenewalMs()", () => {
  it("is half of the life, give or take a twentieth", () => {
    const svid = { issuedMs: 0, notAfterMs: HOUR_MS };
    assert.equal(svidRenewalMs(svid, 0), 0.45 * HOUR_MS);
    assert.equal(svidRenewalMs(svid, 0.5), 0.5 * HOUR_MS);
    assert.ok(svidRenewalMs(svid, 0.999) < 0.55 * HOUR_MS);
  });
});

describe("issuerRenewalMs()", () => {
  it("is the middle of the validity", () => {
    assert.equal(issuerRenewalMs({ notBeforeMs: 100, notAfterMs: 300 }), 200);
  });
});
