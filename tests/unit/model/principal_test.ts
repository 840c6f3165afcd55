/**
 * SPIFFE IDs: what is accepted, what is refused and by which rule.
 *
 * @module
 */
import { describe, it } from "node:test";
import assert from "node:assert/strict";
import fc from "fast-check";
import {
  externalSpiffeIdOf,
  parseSpiffeId,
  principalOf,
  SPIFFE_ID_BYTES_MAX,
  spiffeIdOf,
  TRUST_DOMAIN_BYTES_MAX,
  trustDomainIdOf,
} from "@/src/model/principal.ts";

describe("parseSpiffeId()", () => {
  const accepted: readonly [id: string, trustDomain: string, segments: string[]][] = [
    ["spiffe://cluster.local/ns/default/sa/web", "cluster.local", ["ns", "default", "sa", "web"]],
    ["spiffe://td/a", "td", ["a"]],
    ["spiffe://td", "td", []],
    ["spiffe://t_d-1.example/A.b_c-9", "t_d-1.example", ["A.b_c-9"]],
    ["spiffe://td/...", "td", ["..."]],
    [`spiffe://${"a".repeat(TRUST_DOMAIN_BYTES_MAX)}`, "a".repeat(TRUST_DOMAIN_BYTES_MAX), []],
  ];
  for (const [text, trustDomain, segments] of accepted) {
    it(`accepts "${text.slice(0, 50)}"`, () => {
      assert.deepEqual(parseSpiffeId(text), { ok: true, id: { text, trustDomain, segments } });
    });
  }

  const refused: readonly [id: string, rule: RegExp][] = [
    ["", /scheme/],
    ["https://td/a", /scheme/],
    ["spiffe:/td/a", /scheme/],
    ["spiffe://", /trust domain is empty/],
    ["spiffe:///a", /trust domain is empty/],
    ["spiffe://td/", /segment is empty/],
    ["spiffe://td//a", /segment is empty/],
    ["spiffe://td/a/", /segment is empty/],
    ["spiffe://td/./a", /segment is "\."/],
    ["spiffe://td/a/..", /segment is "\.\."/],
    ["spiffe://td:443/a", /trust domain has a character/],
    ["spiffe://user@td/a", /trust domain has a character/],
    ["spiffe://td?q=1", /trust domain has a character/],
    ["spiffe://td/a?q=1", /path segment has a character/],
    ["spiffe://td/a#f", /path segment has a character/],
    ["spiffe://td/%61", /path segment has a character/],
    ["spiffe://td/a\n", /path segment has a character/],
    ["spiffe://tdé/a", /trust domain has a character/],
    [`spiffe://${"a".repeat(TRUST_DOMAIN_BYTES_MAX + 1)}/a`, /trust domain is longer/],
    [`spiffe://td/${"a".repeat(SPIFFE_ID_BYTES_MAX)}`, /longer than 2048/],
  ];
  for (const [text, rule] of refused) {
    it(`refuses ${JSON.stringify(text.slice(0, 40))}`, () => {
      const result = parseSpiffeId(text);
      assert.equal(result.ok, false);
      assert.match(result.ok ? "" : result.fault, rule);
    });
  }

  it("accepts nothing that does not format back to the same text", () => {
    fc.assert(fc.property(fc.string(), (tail) => {
      const result = parseSpiffeId(`spiffe://${tail}`);
      if (!result.ok) return;
      const { text, trustDomain, segments } = result.id;
      assert.equal(text, ["spiffe:/", trustDomain, ...segments].join("/"));
    }));
  });
});

describe("principalOf()", () => {
  const rows: readonly [id: string, principal: unknown][] = [
    ["spiffe://td/ns/a/sa/b", { kind: "workload", namespace: "a", serviceAccount: "b" }],
    ["spiffe://td/external/billing", { kind: "external", name: "billing" }],
    ["spiffe://td", { kind: "trust-domain" }],
    ["spiffe://td/ns/a/sa/b/c", { kind: "foreign", path: "/ns/a/sa/b/c" }],
    ["spiffe://td/ns/a/SA/b", { kind: "foreign", path: "/ns/a/SA/b" }],
    ["spiffe://td/external", { kind: "foreign", path: "/external" }],
  ];
  for (const [text, principal] of rows) {
    it(`reads "${text}"`, () => {
      const result = parseSpiffeId(text);
      assert.ok(result.ok);
      assert.deepEqual(principalOf(result.id), principal);
    });
  }
});

describe("spiffeIdOf()", () => {
  it("names the ServiceAccount of a namespace", () => {
    assert.equal(
      spiffeIdOf("shop", "web", "cluster.local"),
      "spiffe://cluster.local/ns/shop/sa/web",
    );
    assert.equal(externalSpiffeIdOf("crm", "td"), "spiffe://td/external/crm");
    assert.equal(trustDomainIdOf("td"), "spiffe://td");
  });

  it("refuses a part with a slash, which would become another identity", () => {
    assert.throws(() => spiffeIdOf("a/sa/b", "c", "td"), RangeError);
    assert.throws(() => externalSpiffeIdOf("a/b", "td"), RangeError);
    assert.throws(() => spiffeIdOf("a", "b", "td/ns"), RangeError);
  });

  it("refuses a part that is empty or climbs", () => {
    assert.throws(() => spiffeIdOf("", "b", "td"), RangeError);
    assert.throws(() => spiffeIdOf("..", "b", "td"), RangeError);
  });
});
