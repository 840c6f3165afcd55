/**
 * Who a peer is: the tables of selectors, entities and DNS patterns (SEMANTICS B.5 to B.7, B.12).
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  ANY,
  type Entity,
  hasLabel,
  isEntity,
  matchesName,
  namePattern,
  parseLabel,
  parseLabelKey,
  UNSPECIFIED,
} from "@/src/model/network_policy/mod.ts";
import { validateDocument } from "@/src/watch/policies/mod.ts";
import {
  ccnp,
  cnp,
  type Document,
  engineOf,
  labelled,
  node,
  pod,
  readTable,
  verdict,
} from "./policies_world.ts";

interface SelectorTable {
  readonly parseSelectLabel: readonly { in: string; source: string; key: string; value: string }[];
  readonly has: readonly { labels: readonly string[]; key: string; match: boolean }[];
  readonly operators: readonly { expr: string; labels: Record<string, string>; match: boolean }[];
  readonly verdicts: readonly { spec: string; from?: string; subject?: string; expect: string }[];
  readonly sanitize: readonly { selector: Document; becomes?: string; invalid?: boolean }[];
}

const table = readTable<SelectorTable>("cnp-selectors.json");

describe("labels of selectors", () => {
  for (const { in: text, ...wanted } of table.parseSelectLabel) {
    it(`are read from "${text}"`, () => assert.deepEqual(parseLabel(text, ANY), wanted));
  }

  for (const { labels, key, match } of table.has) {
    it(`named "${key}" are ${match ? "" : "not "}among ${labels.join(", ")}`, () => {
      const parsed = labels.map((text) => parseLabel(text, UNSPECIFIED));
      assert.equal(hasLabel(parsed, parseLabelKey(key)), match);
    });
  }

  for (const { selector, becomes, invalid } of table.sanitize) {
    it(`written ${JSON.stringify(selector)} are ${invalid ? "refused" : becomes}`, () => {
      const policy = cnp("p", { endpointSelector: selector, ingress: [{}] });
      const report = validateDocument({ file: "p.yaml", value: policy, lineOf: () => 1 });
      assert.equal(report?.valid, invalid !== true);
      if (becomes === undefined) return;
      const [text] = Object.entries(selector["matchLabels"] as Record<string, string>);
      assert.deepEqual(
        { ...parseLabelKey(text?.[0] ?? ""), value: text?.[1] },
        parseLabel(becomes, ANY),
      );
    });
  }
});

describe("operators", () => {
  for (const { expr, labels, match } of table.operators) {
    it(`"${expr}" ${match ? "selects" : "does not select"} ${JSON.stringify(labels)}`, () => {
      const engine = engineOf([
        pod("default/server", { labels: { app: "server" }, ip: "10.0.0.1" }),
        pod("default/peer", { labels, ip: "10.0.0.2" }),
        cnp("p", {
          endpointSelector: labelled({ app: "server" }),
          ingress: [{ fromEndpoints: [selectorOf(expr)] }],
        }),
      ]);
      const query = {
        from: { pod: "default/peer" },
        to: { pod: "default/server" },
        protocol: "TCP",
        port: 80,
      };
      assert.equal(verdict(engine, query), match ? "allow" : "ingress default-deny");
    });
  }
});

/** "foo In [a,b]", "matchLabels a=1 + matchExpressions b Exists" */
function selectorOf(text: string): Document {
  const both = /^matchLabels (\w+)=(\w+) \+ matchExpressions (.*)$/.exec(text);
  const [, key = "", operator, values] = /^(\w+) (\w+)(?: \[(.*)\])?$/.exec(both?.[3] ?? text) ??
    [];
  return {
    ...(both !== null && { matchLabels: { [both[1] ?? ""]: both[2] } }),
    matchExpressions: [{
      key,
      operator,
      ...(values !== undefined && { values: values.split(",") }),
    }],
  };
}

describe("scopes of selectors", () => {
  const everywhere = {};
  const server = labelled({ app: "server" });
  const POLICIES: Readonly<Record<string, Document>> = {
    "CNP in ns default, endpointSelector {any:io.kubernetes.pod.namespace: foo}": cnp("p", {
      endpointSelector: labelled({ "any:io.kubernetes.pod.namespace": "foo" }),
      ingress: [{}],
    }),
    "CNP in ns default, fromEndpoints [{}]": cnp("p", {
      endpointSelector: server,
      ingress: [{ fromEndpoints: [{}] }],
    }),
    "CNP in ns default, fromEndpoints [{matchLabels {k8s:io.kubernetes.pod.namespace: other}}]":
      cnp("p", {
        endpointSelector: server,
        ingress: [{ fromEndpoints: [labelled({ "k8s:io.kubernetes.pod.namespace": "other" })] }],
      }),
    'CNP, fromEndpoints [{matchLabels {reserved:host: ""}}]': cnp("p", {
      endpointSelector: server,
      ingress: [{ fromEndpoints: [labelled({ "reserved:host": "" })] }],
    }),
    "CCNP, fromEndpoints [{}]": ccnp("p", {
      endpointSelector: server,
      ingress: [{ fromEndpoints: [{}] }],
    }),
    "CCNP, endpointSelector {}": ccnp("p", { endpointSelector: everywhere, ingress: [{}] }),
  };
  const FROM: Readonly<Record<string, Document>> = {
    "pod in default": { pod: "default/peer" },
    "pod in other": { pod: "other/peer" },
    "pod in any ns": { pod: "other/peer" },
    "world": { ip: "192.0.2.1" },
    "host": { entity: "host" },
  };
  const objects = [
    node("n1", "172.16.0.1"),
    pod("default/server", { labels: { app: "server" }, ip: "10.0.0.1" }),
    pod("default/peer", { ip: "10.0.0.2" }),
    pod("other/peer", { ip: "10.0.0.3" }),
  ];
  for (const { spec, from, subject, expect } of table.verdicts) {
    it(`of ${spec}: ${from ?? subject ?? ""} ${expect}`, () => {
      const policy = POLICIES[spec];
      assert(policy !== undefined, spec);
      const engine = engineOf([...objects, policy]);
      const source = FROM[from ?? "pod in default"];
      if (subject === "host endpoint") {
        const query = {
          from: { ip: "192.0.2.1" },
          to: { entity: "host" },
          protocol: "TCP",
          port: 80,
        };
        assert.equal(verdict(engine, query), "allow");
        return;
      }
      const isDenied = subject !== undefined || (expect.startsWith("deny") && from !== "host");
      const query = { from: source, to: { pod: "default/server" }, protocol: "TCP", port: 80 };
      assert.equal(verdict(engine, query), isDenied ? "ingress default-deny" : "allow");
    });
  }
});

interface EntityTable {
  readonly cases: readonly {
    readonly entities: readonly Entity[];
    readonly identityLabels: readonly string[];
    readonly match: boolean;
  }[];
}

describe("entities", () => {
  for (const row of readTable<EntityTable>("cnp-entities.json").cases) {
    const { entities, identityLabels, match } = row;
    const verb = match ? "hold" : "do not hold";
    it(`${entities.join(", ")} ${verb} ${identityLabels.join(", ")}`, () => {
      const labels = identityLabels.map((text) => parseLabel(text, UNSPECIFIED));
      assert.equal(entities.some((entity) => isEntity(entity, labels, "cluster1")), match);
      const engine = engineOf([
        pod("default/server", { ip: "10.0.0.1" }),
        cnp("p", { endpointSelector: {}, egress: [{ toEntities: entities }] }),
      ]);
      const to = { labels: identityLabels.map((text) => text.replace("=cluster1", "=default")) };
      const query = { from: { pod: "default/server" }, to, protocol: "TCP", port: 80 };
      assert.equal(verdict(engine, query), match ? "allow" : "egress default-deny");
    });
  }
});

interface NameTable {
  readonly patterns: readonly {
    readonly matchPattern: string;
    readonly accept: readonly string[];
    readonly reject: readonly string[];
  }[];
  readonly sanitize: readonly { in: string; out: string }[];
  readonly selectorAccept: readonly Document[];
  readonly selectorReject: readonly { toFQDNs?: Document; dns?: Document }[];
}

describe("DNS patterns", () => {
  const names = readTable<NameTable>("cnp-fqdn-patterns.json");
  for (const { matchPattern, accept, reject } of names.patterns) {
    for (const name of accept) {
      it(`"${matchPattern}" matches "${name}"`, () => {
        assert.equal(matchesName(namePattern(matchPattern), name), true);
      });
    }
    for (const name of reject) {
      it(`"${matchPattern}" does not match "${name}"`, () => {
        assert.equal(matchesName(namePattern(matchPattern), name), false);
      });
    }
  }

  for (const { in: text, out } of names.sanitize) {
    it(`"${text}" is "${out}"`, () => assert.equal(namePattern(text).text, out));
  }

  for (const selector of names.selectorAccept) {
    it(`accept ${JSON.stringify(selector)}`, () => {
      assert.equal(isValid({ toFQDNs: [selector] }), true);
      assert.equal(isValid(dnsRule(selector)), true);
    });
  }

  for (const { toFQDNs, dns } of names.selectorReject) {
    it(`refuse ${JSON.stringify(toFQDNs ?? dns)} in ${toFQDNs ? "toFQDNs" : "dns rules"}`, () => {
      assert.equal(isValid(toFQDNs ? { toFQDNs: [toFQDNs] } : dnsRule(dns)), false);
    });
  }
});

function dnsRule(selector: unknown): Document {
  return { toPorts: [{ ports: [{ port: "53" }], rules: { dns: [selector] } }] };
}

function isValid(rule: Document): boolean {
  const value = cnp("p", { endpointSelector: {}, egress: [rule] });
  return validateDocument({ file: "p.yaml", value, lineOf: () => 1 })?.valid === true;
}
