/**
 * How rules combine: the tables of merged rules, deny rules and default deny (SEMANTICS B.1 to
 * B.3).
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { validateDocument } from "@/src/watch/policies/mod.ts";
import {
  ask,
  cnp,
  type Document,
  engineOf,
  labelled,
  ping,
  pod,
  readTable,
  tcp,
  verdict,
} from "./policies_world.ts";

const SERVER = "default/server";
const PODS = [
  pod(SERVER, { labels: { app: "server" }, ip: "10.0.0.1" }),
  pod("default/foo", { labels: { role: "foo", app: "client" }, ip: "10.0.0.2" }),
  pod("default/bar", { labels: { role: "bar" }, ip: "10.0.0.3" }),
];

interface MergeTable {
  readonly rules: Readonly<Record<string, Document>>;
  readonly flows: readonly (readonly [string, number, string])[];
  readonly cases: readonly { n: number; rules: readonly string[]; expect: readonly string[] }[];
}

const EXPECTED: Readonly<Record<string, string>> = {
  "allow": "allow",
  "deny-policy": "ingress policy-denied",
  "deny-default": "ingress default-deny",
  "deny-l7": "ingress http-denied",
};

describe("merged rules", () => {
  const table = readTable<MergeTable>("cnp-merge-rules.json");
  for (const { n, rules, expect } of table.cases) {
    it(`of set ${n} (${rules.join(", ") || "none"}) decide all flows`, () => {
      const endpointSelector = labelled({ app: "server" });
      const specs = [{ ingress: [{}] }, ...rules.map((name) => table.rules[name])]
        .map((spec) => ({ endpointSelector, ...spec }));
      for (const order of [specs, specs.toReversed()]) {
        const engine = engineOf([...PODS, cnp("merged", ...order)]);
        assert.deepEqual(
          table.flows.map(([peer, port, request]) => {
            const [method, path] = request.split(" ");
            const payload = path === undefined ? {} : { http: { method, path } };
            return verdict(engine, tcp(`default/${peer}`, SERVER, port, payload));
          }),
          expect.map((word) => EXPECTED[word]),
        );
      }
    });
  }
});

interface DenyTable {
  readonly policies: Readonly<Record<string, Document>>;
  readonly columns: readonly {
    readonly allow: Readonly<Record<string, number>>;
    readonly deny: Readonly<Record<string, number>>;
    readonly expect: Readonly<Record<string, string>>;
  }[];
}

describe("the deny table", () => {
  const { policies, columns } = readTable<DenyTable>("cnp-deny-table.json");
  for (const [index, { allow, deny, expect }] of columns.entries()) {
    it(`has column ${index + 1}`, () => {
      const names = [
        ...Object.keys(allow).filter((name) => allow[name] === 1),
        ...Object.keys(deny).filter((name) => deny[name] === 1).map((name) => `deny.${name}`),
      ];
      const specs = names.map((name) => ({
        endpointSelector: labelled({ app: "server" }),
        ...policies[name],
      }));
      const engine = engineOf([...PODS, cnp("table", ...specs)]);
      const http = { http: { method: "GET", path: "/" } };
      const queries: Readonly<Record<string, Document>> = {
        tcp81: tcp("default/foo", SERVER, 81),
        http80: tcp("default/foo", SERVER, 80, http),
        icmpEcho: ping({ pod: "default/foo" }, { pod: SERVER }),
      };
      for (const [flow, wanted] of Object.entries(expect)) {
        const answer = ask(engine, queries[flow]);
        assert("verdict" in answer);
        assert.equal(answer.verdict, wanted === "allowed" ? "allow" : "deny", flow);
      }
    });
  }
});

interface DefaultDenyTable {
  readonly perRule: readonly {
    readonly spec: Document;
    readonly defaultDenyIngress: boolean | null;
    readonly defaultDenyEgress: boolean | null;
    readonly invalid?: boolean;
  }[];
  readonly combination: readonly { readonly rules: readonly string[]; unlistedPeer: string }[];
}

describe("default deny", () => {
  const table = readTable<DefaultDenyTable>("cnp-default-deny.json");
  for (const { spec, defaultDenyIngress, defaultDenyEgress, invalid } of table.perRule) {
    it(`of the spec ${JSON.stringify(spec)} is on where the table says`, () => {
      const policy = cnp("p", { endpointSelector: labelled({ app: "server" }), ...spec });
      const report = validateDocument({ file: "p.yaml", value: policy, lineOf: () => 1 });
      assert.equal(report?.valid, invalid !== true);
      if (invalid) return;
      // An entry of a deny list that names nobody denies nobody.
      const engine = engineOf([...PODS, policy]);
      const word = (direction: string, on: boolean | null) =>
        on ? `${direction} default-deny` : "allow";
      assert.deepEqual(
        [
          verdict(engine, tcp("default/bar", SERVER, 80)),
          verdict(engine, tcp(SERVER, "default/bar", 80)),
        ],
        [word("ingress", defaultDenyIngress), word("egress", defaultDenyEgress)],
      );
    });
  }

  for (const { rules, unlistedPeer } of table.combination) {
    it(`of [${rules.join("; ")}] decides about a peer that no rule lists`, () => {
      const specs = rules.map((text) => ({
        endpointSelector: labelled({ app: "server" }),
        enableDefaultDeny: { ingress: text.includes("=true") },
        ingress: [{ fromEndpoints: [labelled({ role: "foo" })] }],
      }));
      const policies = specs.map((spec, index) => cnp(`p${index}`, spec));
      const engine = engineOf([...PODS, ...policies]);
      const wanted = unlistedPeer.startsWith("allow") ? "allow" : "ingress default-deny";
      assert.equal(verdict(engine, tcp("default/bar", SERVER, 80)), wanted);
      assert.equal(verdict(engine, tcp("default/foo", SERVER, 80)), "allow");
    });
  }

  it("is on or off in one direction whatever it is in the other", () => {
    const section = { on: true, off: false, absent: undefined };
    for (const [, ingress] of Object.entries(section)) {
      for (const [, egress] of Object.entries(section)) {
        const spec = {
          endpointSelector: labelled({ app: "server" }),
          enableDefaultDeny: { ingress: ingress ?? null, egress: egress ?? null },
          ...(ingress !== undefined && { ingress: [{}] }),
          ...(egress !== undefined && { egress: [{}] }),
        };
        if (ingress === undefined && egress === undefined) continue;
        const engine = engineOf([...PODS, cnp("p", spec)]);
        assert.equal(
          verdict(engine, tcp("default/bar", SERVER, 80)),
          ingress ? "ingress default-deny" : "allow",
        );
        assert.equal(
          verdict(engine, tcp(SERVER, "default/bar", 80)),
          egress ? "egress default-deny" : "allow",
        );
      }
    }
  });

  it("holds for every pod under always, and for none under never", () => {
    const policy = cnp("p", {
      endpointSelector: labelled({ app: "server" }),
      ingressDeny: [{ fromEntities: ["all"] }],
    });
    const query = tcp("default/bar", SERVER, 80);
    assert.equal(verdict(engineOf(PODS, { enforcement: "default" }), query), "allow");
    assert.equal(
      verdict(engineOf(PODS, { enforcement: "always" }), query),
      "egress default-deny",
    );
    assert.equal(
      verdict(engineOf([...PODS, policy], { enforcement: "default" }), query),
      "ingress policy-denied",
    );
    assert.equal(
      verdict(engineOf([...PODS, policy], { enforcement: "never" }), query),
      "allow",
    );
  });
});
