/**
 * When certificates begin, end and are renewed.
 *
 * @module
 */
import { describe, it } from "node:test";
import assert from "node:assert/strict";
import fc from "fast-check";
import { BACKDATE_MS, issuerRenewalMs, svidRenewalMs, validityWithin } from "@/src/identity/mod.ts";

const HOUR_MS = 3_600_000;

describe("validityWithin()", () => {
  it("back-dates by five minutes and lasts the lifetime from now", () => {
    const nowMs = 1_000 * HOUR_MS;
    assert.deepEqual(validityWithin(null, { nowMs, lifetimeMs: HOUR_MS }), {
      notBeforeMs: nowMs - BACKDATE_MS,
      notAfterMs: nowMs + HOUR_MS,
    });
  });

  it("never leaves the validity of the signer", () => {
    const time = fc.integer({ min: 0, max: 1e12 });
    fc.assert(fc.property(time, time, time, time, (begin, length, nowMs, lifetimeMs) => {
      const signer = { notBeforeMs: begin, notAfterMs: begin + length };
      const { notBeforeMs, notAfterMs } = validityWithin(signer, { nowMs, lifetimeMs });
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
