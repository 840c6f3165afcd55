/**
 * Who is who: ranges and the regions that they make, labels found by an index, rows of bits.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { LabelLookup } from "@/src/compile/policy/peers/label_lookup.ts";
import { PrefixSet } from "@/src/compile/policy/peers/prefixes.ts";
import { type Identity, PeerTable } from "@/src/compile/policy/peers/table.ts";
import { type Cidr, cidrContains, parseAddress, parseCidr } from "@/src/model/mod.ts";
import { type LabelSelector, selectsLabels } from "@/src/model/network_policy/mod.ts";

function cidr(text: string): Cidr {
  const range = parseCidr(text);
  assert.ok(range);
  return range;
}

function bytes(text: string): Uint8Array {
  const address = parseAddress(text);
  assert.ok(address);
  return address;
}

const RANGES = ["0.0.0.0/0", "::/0", "10.0.0.0/8", "10.0.0.0/9", "10.128.0.0/9", "10.1.2.3/32"];
const rangeText = fc.constantFrom(
  ...RANGES,
  "fd00::/8",
  "fd00::/16",
  "192.0.2.0/25",
  "192.0.2.0/24",
);
const addressText = fc.constantFrom(
  ...["10.1.2.3", "10.1.2.4", "10.200.0.1", "192.0.2.1", "192.0.2.200", "1.1.1.1"],
  ...["fd00::1", "fd12::1", "2001:db8::1", "::1"],
);

describe("a PrefixSet", () => {
  it("names the ranges that hold an address", () => {
    fc.assert(
      fc.property(fc.uniqueArray(rangeText), addressText, (texts, address) => {
        const ranges = texts.map(cidr);
        const held = new PrefixSet(ranges).holding({ bytes: bytes(address), bits: 128 });
        const wanted = ranges.filter((range) => cidrContains(range, bytes(address)));
        assert.deepEqual([...held].sort(), wanted.map(({ text }) => text).sort());
      }),
    );
  });

  it("gives each region an address that no range inside it holds", () => {
    fc.assert(
      fc.property(fc.uniqueArray(rangeText), (texts) => {
        const set = new PrefixSet(texts.map(cidr));
        for (const { range, sample } of set.regions()) {
          const [narrowest] = set.holding({ bytes: bytes(sample), bits: 128 });
          assert.equal(narrowest, range.text);
        }
      }),
    );
  });

  it("has no region where ranges cover another", () => {
    const set = new PrefixSet(["10.0.0.0/8", "10.0.0.0/9", "10.128.0.0/9"].map(cidr));
    assert.deepEqual(set.regions().map(({ range }) => range.text), ["10.0.0.0/9", "10.128.0.0/9"]);
  });
});

const key = fc.constantFrom("app", "tier", "zone");
const source = fc.constantFrom("k8s", "unspec", "any");
const value = fc.constantFrom("a", "b", "");
const label = fc.record({ source: fc.constantFrom("k8s", "unspec"), key, value });
const requirement = fc.oneof(
  fc.record({
    source,
    key,
    operator: fc.constantFrom("In", "NotIn" as const),
    values: fc.array(value, { minLength: 1, maxLength: 2 }),
  }),
  fc.record({
    source,
    key,
    operator: fc.constantFrom("Exists", "DoesNotExist" as const),
    values: fc.constant([]),
  }),
);

describe("a LabelLookup", () => {
  it("finds what asking each thing would find", () => {
    fc.assert(
      fc.property(
        fc.array(fc.array(label, { maxLength: 4 })),
        fc.array(requirement, { maxLength: 3 }),
        (things, requirements) => {
          const selector: LabelSelector = { requirements };
          const wanted = things.flatMap((labels, index) =>
            selectsLabels(selector, labels) ? [index] : []
          );
          assert.deepEqual(new LabelLookup(things).matching(selector), wanted);
        },
      ),
    );
  });
});

describe("a PeerTable", () => {
  const identity = (fields: Partial<Identity>): Identity => ({
    labels: [],
    address: undefined,
    kind: "pod",
    ports: [],
    ...fields,
  });

  it("gives one bit to what means the same", () => {
    const table = new PeerTable();
    const labels = (key: string, values: string[]) => ({
      kind: "labels" as const,
      selector: { requirements: [{ source: "any", key, operator: "In" as const, values }] },
    });
    assert.equal(table.bitOf(labels("app", ["a", "b"])), 0);
    assert.equal(table.bitOf(labels("app", ["b", "a", "a"])), 0);
    assert.equal(table.bitOf(labels("app", ["a"])), 1);
    assert.equal(table.words, 2);
  });

  it("tells pods from what is outside, and a range from its exceptions", () => {
    const table = new PeerTable();
    const range = cidr("10.0.0.0/8");
    const except = [cidr("10.1.0.0/16")];
    const outside = table.bitOf({ kind: "cidr", cidr: range, except, scope: "outside" });
    const everywhere = table.bitOf({ kind: "cidr", cidr: range, except: [], scope: "everywhere" });
    const bitsOf = (fields: Partial<Identity>) => {
      const [row] = table.rowsOf([identity(fields)]);
      return [outside, everywhere].map((bit) => ((row?.[0] ?? 0) >>> bit) & 1);
    };
    assert.deepEqual(bitsOf({ address: "10.0.0.1", kind: "outside" }), [1, 1]);
    assert.deepEqual(bitsOf({ address: "10.1.0.1", kind: "outside" }), [0, 1]);
    assert.deepEqual(bitsOf({ address: "10.0.0.1", kind: "pod" }), [0, 1]);
    assert.deepEqual(bitsOf({ address: "11.0.0.1", kind: "outside" }), [0, 0]);
    assert.deepEqual(bitsOf({ kind: "pod" }), [0, 0]);
  });

  it("uses every bit of a word", () => {
    const table = new PeerTable();
    for (let number = 0; number < 70; number++) {
      const port = { transport: "TCP" as const, name: "http", number };
      table.bitOf({ kind: "named-port", peer: undefined, port });
    }
    const ports = Array.from({ length: 70 }, (_, port) => ({ name: "http", port, proto: "TCP" }));
    const [row] = table.rowsOf([identity({ ports })]);
    assert.deepEqual([...row ?? []], [0xffff_ffff, 0xffff_ffff, 0x3f, 0]);
  });
});
