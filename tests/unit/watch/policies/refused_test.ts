/**
 * Documents that are refused, and where they say what is wrong.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { parse } from "yaml";
import { validateDocument } from "@/src/watch/policies/mod.ts";

const CNP = "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: p}\n";
const CCNP =
  "apiVersion: cilium.io/v2\nkind: CiliumClusterwideNetworkPolicy\nmetadata: {name: p}\n";
const KNP = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p}\n";

/** The paths of what is wrong. */
function paths(yaml: string): string[] | undefined {
  const report = validateDocument({ file: "p.yaml", value: parse(yaml), lineOf: () => 1 });
  return report?.errors.map(({ path }) => path);
}

function rule(text: string): string {
  return `${CNP}spec:\n  endpointSelector: {}\n  ${text}\n`;
}

describe("a CiliumNetworkPolicy", () => {
  const REFUSED: Readonly<Record<string, [yaml: string, path: string]>> = {
    "has neither spec nor specs": [CNP, "spec"],
    "has no section with entries": [rule("ingress: []"), "spec"],
    "has no selector": [`${CNP}spec: {ingress: [{}]}`, "spec.endpointSelector"],
    "has a nodeSelector": [`${CNP}spec: {nodeSelector: {}, ingress: [{}]}`, "spec.nodeSelector"],
    "has an unknown field": [rule("ingress: [{fromEndpoint: []}]"), "spec.ingress[0].fromEndpoint"],
    "combines two kinds of peers": [
      rule("ingress: [{fromEndpoints: [{}], fromEntities: [all]}]"),
      "spec.ingress[0].fromEntities",
    ],
    "combines toFQDNs and toCIDR": [
      rule("egress: [{toCIDR: [10.0.0.0/8], toFQDNs: [{matchName: a.b}]}]"),
      "spec.egress[0].toFQDNs",
    ],
    "combines icmps and toPorts": [
      rule('ingress: [{icmps: [{fields: [{type: 8}]}], toPorts: [{ports: [{port: "80"}]}]}]'),
      "spec.ingress[0].icmps",
    ],
    "asks for groups of a cloud": [
      rule("egress: [{toGroups: [{aws: {}}]}]"),
      "spec.egress[0].toGroups",
    ],
    "has toRequires": [rule("egress: [{toRequires: [{}]}]"), "spec.egress[0].toRequires"],
    "has toFQDNs in a deny rule": [
      rule("egressDeny: [{toFQDNs: [{matchName: a.b}]}]"),
      "spec.egressDeny[0].toFQDNs",
    ],
    "has rules in a deny rule": [
      rule('ingressDeny: [{toPorts: [{ports: [{port: "80"}], rules: {http: [{}]}}]}]'),
      "spec.ingressDeny[0].toPorts[0].rules",
    ],
    "has kafka rules": [
      rule('ingress: [{toPorts: [{ports: [{port: "80"}], rules: {kafka: []}}]}]'),
      "spec.ingress[0].toPorts[0].rules.kafka",
    ],
    "has an unknown entity": [
      rule("ingress: [{fromEntities: [trololo]}]"),
      "spec.ingress[0].fromEntities[0]",
    ],
    "has an unknown operator": [
      rule("ingress: [{fromEndpoints: [{matchExpressions: [{key: a, operator: Is}]}]}]"),
      "spec.ingress[0].fromEndpoints[0].matchExpressions[0].operator",
    ],
    "has In without values": [
      rule("ingress: [{fromEndpoints: [{matchExpressions: [{key: a, operator: In}]}]}]"),
      "spec.ingress[0].fromEndpoints[0].matchExpressions[0].values",
    ],
    "has two sources before a key": [
      rule('ingress: [{fromEndpoints: [{matchLabels: {"k8s:k8s:app": a}}]}]'),
      'spec.ingress[0].fromEndpoints[0].matchLabels["k8s:k8s:app"]',
    ],
    "has an except outside of its range": [
      rule("egress: [{toCIDRSet: [{cidr: 10.0.0.0/8, except: [11.0.0.0/16]}]}]"),
      "spec.egress[0].toCIDRSet[0].except[0]",
    ],
    "has an address where a range must be": [
      rule("egress: [{toCIDRSet: [{cidr: 10.0.0.1}]}]"),
      "spec.egress[0].toCIDRSet[0].cidr",
    ],
    "has a range and a group in one": [
      rule("egress: [{toCIDRSet: [{cidr: 10.0.0.0/8, cidrGroupRef: a}]}]"),
      "spec.egress[0].toCIDRSet[0]",
    ],
    "has no port": [
      rule("ingress: [{toPorts: [{ports: [{}]}]}]"),
      "spec.ingress[0].toPorts[0].ports[0].port",
    ],
    "has a port too high": [
      rule('ingress: [{toPorts: [{ports: [{port: "65536"}]}]}]'),
      "spec.ingress[0].toPorts[0].ports[0].port",
    ],
    "has a range that ends before it begins": [
      rule('ingress: [{toPorts: [{ports: [{port: "80", endPort: 79}]}]}]'),
      "spec.ingress[0].toPorts[0].ports[0].endPort",
    ],
    "has a range from port 0": [
      rule('ingress: [{toPorts: [{ports: [{port: "0", endPort: 79}]}]}]'),
      "spec.ingress[0].toPorts[0].ports[0].endPort",
    ],
    "has a port of a protocol without ports": [
      rule('ingress: [{toPorts: [{ports: [{port: "1", protocol: GRE}]}]}]'),
      "spec.ingress[0].toPorts[0].ports[0].port",
    ],
    "has more than 40 ports": [
      rule(`ingress: [{toPorts: [{ports: [${'{port: "1"},'.repeat(41)}]}]}]`),
      "spec.ingress[0].toPorts[0].ports",
    ],
    "has a message of another family": [
      rule("ingress: [{icmps: [{fields: [{type: PacketTooBig}]}]}]"),
      "spec.ingress[0].icmps[0].fields[0].type",
    ],
    "has a range of ports for DNS rules": [
      rule(
        'egress: [{toPorts: [{ports: [{port: "53", endPort: 54}], rules: {dns: [{matchName: a}]}}]}]',
      ),
      "spec.egress[0].toPorts[0].ports[0].endPort",
    ],
    "has http and dns rules in one": [
      rule(
        'egress: [{toPorts: [{ports: [{port: "53", protocol: TCP}], rules: {http: [{}], dns: []}}]}]',
      ),
      "spec.egress[0].toPorts[0].rules",
    ],
    "names another version": [
      rule("ingress: [{}]").replace("cilium.io/v2", "cilium.io/v3"),
      "apiVersion",
    ],
    "names another group": [
      rule("ingress: [{}]").replace("cilium.io/v2", "networking.k8s.io/v1"),
      "apiVersion",
    ],
    "has no name": [rule("ingress: [{}]").replace("name: p", ""), "metadata.name"],
  };
  for (const [what, [yaml, path]] of Object.entries(REFUSED)) {
    it(`that ${what} is refused`, () => assert.deepEqual(paths(yaml), [path]));
  }

  it("is refused for all of its faults at once", () => {
    const yaml = rule("ingress: [{fromCIDR: [x]}, {toPorts: [{ports: [{port: '!'}]}]}]");
    assert.deepEqual(paths(yaml), [
      "spec.ingress[0].fromCIDR[0]",
      "spec.ingress[1].toPorts[0].ports[0].port",
    ]);
  });

  it("may say null where it means nothing", () => {
    assert.deepEqual(paths(rule("ingress: [{fromEndpoints: null, toPorts: null}]")), []);
  });
});

describe("a CiliumClusterwideNetworkPolicy", () => {
  it("has a nodeSelector or an endpointSelector, not both", () => {
    assert.deepEqual(paths(`${CCNP}spec: {nodeSelector: {}, ingress: [{}]}`), []);
    assert.deepEqual(
      paths(`${CCNP}spec: {nodeSelector: {}, endpointSelector: {}, ingress: [{}]}`),
      ["spec.nodeSelector"],
    );
  });

  it("has no Layer 7 rules for hosts, and no namespace", () => {
    const ports = 'toPorts: [{ports: [{port: "80", protocol: TCP}], rules: {http: [{}]}}]';
    assert.deepEqual(
      paths(`${CCNP}spec: {nodeSelector: {}, ingress: [{${ports}}]}`),
      ["spec.ingress[0].toPorts[0].rules"],
    );
    assert.deepEqual(
      paths(
        `${CCNP}spec: {endpointSelector: {}, ingress: [{}]}`.replace(
          "name: p",
          "name: p, namespace: x",
        ),
      ),
      ["metadata.namespace"],
    );
  });
});

describe("a NetworkPolicy", () => {
  const REFUSED: Readonly<Record<string, [spec: string, path: string]>> = {
    "has an unknown field": ["{podSelector: {}, ingres: []}", "spec.ingres"],
    "has a peer that is nobody": ["{ingress: [{from: [{}]}]}", "spec.ingress[0].from[0]"],
    "has a block beside a selector": [
      "{ingress: [{from: [{podSelector: {}, ipBlock: {cidr: 10.0.0.0/8}}]}]}",
      "spec.ingress[0].from[0].ipBlock",
    ],
    "has an endPort for a name": [
      "{ingress: [{ports: [{port: http, endPort: 90}]}]}",
      "spec.ingress[0].ports[0].endPort",
    ],
    "has an endPort too low": [
      "{ingress: [{ports: [{port: 80, endPort: 79}]}]}",
      "spec.ingress[0].ports[0].endPort",
    ],
    "has a number in quotes": [
      '{ingress: [{ports: [{port: "80"}]}]}',
      "spec.ingress[0].ports[0].port",
    ],
    "has another policy type": ["{policyTypes: [Both]}", "spec.policyTypes[0]"],
  };
  for (const [what, [spec, path]] of Object.entries(REFUSED)) {
    it(`that ${what} is refused`, () => assert.deepEqual(paths(`${KNP}spec: ${spec}`), [path]));
  }
});

describe("a document of another kind", () => {
  it("is no policy", () => {
    assert.equal(paths("apiVersion: v1\nkind: Pod\nmetadata: {name: p}"), undefined);
    assert.equal(paths("apiVersion: v1\nkind: Secret\nmetadata: {name: p}"), undefined);
    assert.equal(paths("replicas: 3"), undefined);
  });

  it("is refused where its kind is missing", () => {
    assert.deepEqual(paths("metadata: {name: p}\nspec: {}"), ["apiVersion", "kind"]);
  });
});
