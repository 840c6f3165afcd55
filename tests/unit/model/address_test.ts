/**
 * Addresses: what is accepted, and that equal addresses have equal texts.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import {
  canonicalAddress,
  cidrContains,
  familyOf,
  formatAddress,
  isUnroutable,
  parseAddress,
  parseCidr,
} from "@/src/model/mod.ts";

describe("canonicalAddress()", () => {
  const cases: readonly [string, string | undefined][] = [
    ["10.0.0.1", "10.0.0.1"],
    ["255.255.255.255", "255.255.255.255"],
    ["010.0.0.1", undefined],
    ["10.1", undefined],
    ["10.0.0.256", undefined],
    ["10.0.0.1 ", undefined],
    ["10.0.0.-1", undefined],
    ["", undefined],
    ["0x0a.0.0.1", undefined],
    ["::ffff:10.0.0.1", "10.0.0.1"],
    ["::FFFF:0a00:0001", "10.0.0.1"],
    ["::1", "::1"],
    ["::", "::"],
    ["FD00:0:0:0:0:0:0:1", "fd00::1"],
    ["2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"],
    ["2001:0:0:1:0:0:0:1", "2001:0:0:1::1"],
    ["2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"],
    ["1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"],
    ["64:ff9b::192.0.2.33", "64:ff9b::c000:221"],
    ["1::2::3", undefined],
    ["1:2:3:4:5:6:7:8:9", undefined],
    ["1:2:3:4:5:6:7", undefined],
    ["1:2:3:4:5:6:7:8::", undefined],
    ["fe80::1%eth0", undefined],
    ["::10.0.0.1:1", undefined],
    [":1:2:3:4:5:6:7", undefined],
    ["12345::", undefined],
    [":::", undefined],
  ];
  for (const [text, want] of cases) {
    it(`reads "${text}" as ${want === undefined ? "no address" : `"${want}"`}`, () => {
      assert.equal(canonicalAddress(text), want);
    });
  }

  it("gives back the bytes of any address", () => {
    fc.assert(fc.property(fc.uint8Array({ minLength: 16, maxLength: 16 }), (bytes) => {
      assert.deepEqual(parseAddress(formatAddress(bytes)), bytes);
    }));
  });

  it("agrees with what the standard library makes of IPv6", () => {
    fc.assert(fc.property(fc.ipV6(), (text) => {
      const canonical = canonicalAddress(text);
      if (canonical === undefined || familyOf(canonical) === "IPv4") return;
      assert.equal(canonical, new URL(`http://[${text}]/`).hostname.slice(1, -1));
    }));
  });
});

describe("parseCidr()", () => {
  const cases: readonly [string, string | undefined, number][] = [
    ["10.0.1.0/24", "10.0.1.0/24", 120],
    ["10.0.1.9/24", "10.0.1.0/24", 120],
    ["10.0.1.9/32", "10.0.1.9/32", 128],
    ["0.0.0.0/0", "0.0.0.0/0", 96],
    ["fd00:1::/64", "fd00:1::/64", 64],
    ["fd00:1::5/61", "fd00:1::/61", 61],
    ["::/0", "::/0", 0],
    ["10.0.0.0/33", undefined, 0],
    ["10.0.0.0/024", undefined, 0],
    ["10.0.0.0/", undefined, 0],
    ["10.0.0.0", undefined, 0],
    ["fd00::/129", undefined, 0],
  ];
  for (const [text, want, bits] of cases) {
    it(`reads "${text}" as ${want ?? "no range"}`, () => {
      const range = parseCidr(text);
      assert.equal(range?.text, want);
      if (want !== undefined) assert.equal(range?.bits, bits);
    });
  }
});

describe("cidrContains()", () => {
  const contains = (cidr: string, address: string) => {
    const [range, bytes] = [parseCidr(cidr), parseAddress(address)];
    assert.ok(range !== undefined && bytes !== undefined);
    return cidrContains(range, bytes);
  };

  it("holds to the last bit of a prefix", () => {
    assert.equal(contains("10.0.0.0/23", "10.0.1.255"), true);
    assert.equal(contains("10.0.0.0/23", "10.0.2.0"), false);
    assert.equal(contains("fd00::/63", "fd00:0:0:1::9"), true);
    assert.equal(contains("fd00::/63", "fd00:0:0:2::9"), false);
    assert.equal(contains("10.0.0.7/32", "10.0.0.7"), true);
    assert.equal(contains("10.0.0.7/32", "10.0.0.6"), false);
  });

  it("keeps the families apart", () => {
    assert.equal(contains("0.0.0.0/0", "fd00::1"), false);
    assert.equal(contains("0.0.0.0/0", "192.0.2.1"), true);
    assert.equal(contains("fd00::/8", "10.0.0.1"), false);
    assert.equal(contains("::/0", "10.0.0.1"), false);
    assert.equal(contains("::/0", "fd00::1"), true);
  });
});

describe("isUnroutable()", () => {
  for (
    const address of ["127.0.0.1", "0.0.0.0", "169.254.1.1", "224.0.0.1", "255.255.255.255", "::1"]
      .concat("::", "fe80::1", "febf::1", "ff02::1")
  ) {
    it(`says so of ${address}`, () => assert.equal(isUnroutable(address), true));
  }
  for (const address of ["10.0.0.1", "169.253.0.1", "192.0.2.1", "fd00::1", "fec0::1", "::2"]) {
    it(`does not say so of ${address}`, () => assert.equal(isUnroutable(address), false));
  }
});
