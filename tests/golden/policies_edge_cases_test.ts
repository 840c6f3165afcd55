/**
 * The edge cases of SEMANTICS B.17, in its order, one test each.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { worldOf } from "@/src/watch/policies/mod.ts";
import {
  ask,
  ccnp,
  cnp,
  type Document,
  engineOf,
  knp,
  labelled,
  node,
  ping,
  pod,
  tcp,
  toPorts,
  verdict,
} from "./policies_world.ts";

const SERVER = "default/server";
const OBJECTS = [
  node("n1", "172.16.0.1"),
  node("n2", "172.16.0.2"),
  pod(SERVER, {
    labels: { app: "server" },
    ip: "10.0.0.1",
    ports: [{ name: "http", containerPort: 8080 }],
  }),
  pod("default/a", { labels: { app: "a" }, ip: "10.0.0.2" }),
  pod("default/b", { labels: { app: "b" }, ip: "10.0.0.3" }),
  pod("other/a", { labels: { app: "a" }, ip: "10.0.0.4", node: "n2" }),
];
const WORLD = { ip: "192.0.2.1" };
const DROP_IN = "ingress default-deny";
const DROP_OUT = "egress default-deny";

/** Specs of policies that select the server. */
function server(...specs: Document[]) {
  return engineOf([
    ...OBJECTS,
    ...specs.map((spec, index) =>
      cnp(`p${index}`, { endpointSelector: labelled({ app: "server" }), ...spec })
    ),
  ]);
}

function from(end: Document, port: number, rest: Document = {}): Document {
  return { from: end, to: { pod: SERVER }, protocol: "TCP", port, ...rest };
}

function to(end: Document, port: number, rest: Document = {}): Document {
  return { from: { pod: SERVER }, to: end, protocol: "TCP", port, ...rest };
}

const A = [labelled({ app: "a" })];
const get = (path: string, headers: Document = {}): Document => ({
  http: { method: "GET", path, headers },
});
const http = (...rules: Document[]): Document => ({ rules: { http: rules } });

describe("edge case", () => {
  it("1: a CNP with ingress [{}] drops everything", () => {
    const engine = server({ ingress: [{}] });
    assert.equal(verdict(engine, tcp("default/a", SERVER, 80)), DROP_IN);
    assert.equal(verdict(engine, from(WORLD, 80)), DROP_IN);
    assert.equal(verdict(engine, ping({ pod: "default/a" }, { pod: SERVER })), DROP_IN);
  });

  it("2: a NetworkPolicy with ingress [{}] allows everything", () => {
    const engine = engineOf([...OBJECTS, knp("p", { podSelector: {}, ingress: [{}] })]);
    assert.equal(verdict(engine, tcp("other/a", SERVER, 80)), "allow");
    assert.equal(verdict(engine, from(WORLD, 80)), "allow");
    assert.equal(verdict(engine, ping({ pod: "default/a" }, { pod: SERVER })), "allow");
  });

  it("3: fromEndpoints [] with a port allows nobody", () => {
    const engine = server({ ingress: [{ fromEndpoints: [], toPorts: toPorts("80") }] });
    assert.equal(verdict(engine, tcp("default/a", SERVER, 80)), DROP_IN);
    assert.equal(verdict(engine, from(WORLD, 80)), DROP_IN);
  });

  it("4: a port alone allows the world", () => {
    const engine = server({ ingress: [{ toPorts: toPorts("80") }] });
    assert.equal(verdict(engine, from(WORLD, 80)), "allow");
    assert.equal(verdict(engine, from(WORLD, 81)), DROP_IN);
  });

  it("5: egressDeny alone drops what it does not list, too", () => {
    const engine = server({ egressDeny: [{ toEndpoints: A }] });
    assert.equal(verdict(engine, tcp(SERVER, "default/b", 80)), DROP_OUT);
  });

  it("6: egressDeny without default deny drops what it lists alone", () => {
    const engine = server({
      enableDefaultDeny: { egress: false },
      egressDeny: [{ toEndpoints: A }],
    });
    assert.equal(verdict(engine, tcp(SERVER, "default/b", 80)), "allow");
    assert.equal(verdict(engine, tcp(SERVER, "default/a", 80)), "egress policy-denied");
  });

  it("7: one policy with default deny is enough, whatever others say", () => {
    const rule = { ingress: [{ fromEndpoints: A }] };
    const engine = server(rule, { enableDefaultDeny: { ingress: false }, ...rule });
    assert.equal(verdict(engine, tcp("default/b", SERVER, 80)), DROP_IN);
  });

  it("8: an endpointSelector with any: and another namespace selects nothing", () => {
    const other = labelled({ "any:io.kubernetes.pod.namespace": "other" });
    const engine = engineOf([
      ...OBJECTS,
      cnp("p", { endpointSelector: other, ingress: [{}] }),
    ]);
    assert.equal(verdict(engine, tcp("default/a", SERVER, 80)), "allow");
    assert.equal(verdict(engine, tcp("default/a", "other/a", 80)), "allow");
  });

  it("9: one with k8s: and another namespace selects the policy's own", () => {
    const other = labelled({ "k8s:io.kubernetes.pod.namespace": "other" });
    const policy = cnp("p", { endpointSelector: other, ingress: [{}] });
    const engine = engineOf([...OBJECTS, policy]);
    assert.equal(verdict(engine, tcp("default/a", SERVER, 80)), DROP_IN);
    assert.equal(verdict(engine, tcp("default/a", "other/a", 80)), "allow");
    const { remarks } = worldOf([{ file: "p.yaml", value: policy, lineOf: () => 7 }]);
    assert.deepEqual(remarks.map(({ severity, path }) => [severity, path]), [
      ["warning", 'spec.endpointSelector.matchLabels["k8s:io.kubernetes.pod.namespace"]'],
    ]);
  });

  it("10: fromEndpoints [{}] of a CNP is its own namespace; the host has its own way in", () => {
    const engine = server({ ingress: [{ fromEndpoints: [{}] }] });
    assert.equal(verdict(engine, tcp("default/a", SERVER, 80)), "allow");
    assert.equal(verdict(engine, tcp("other/a", SERVER, 80)), DROP_IN);
    assert.equal(verdict(engine, from(WORLD, 80)), DROP_IN);
    assert.deepEqual(ask(engine, from({ entity: "host" }, 80)), { verdict: "allow" });
    assert.equal(verdict(engine, from({ ip: "172.16.0.2" }, 80)), DROP_IN);
  });

  it("11: fromEndpoints [{}] of a CCNP is every pod, not the world", () => {
    const engine = engineOf([
      ...OBJECTS,
      ccnp("p", { endpointSelector: {}, ingress: [{ fromEndpoints: [{}] }] }),
    ]);
    assert.equal(verdict(engine, tcp("other/a", SERVER, 80)), "allow");
    assert.equal(verdict(engine, from(WORLD, 80)), DROP_IN);
  });

  it("12: a rule without Layer 7 lets through what another would refuse", () => {
    const engine = server({
      ingress: [
        { fromEndpoints: A, toPorts: toPorts("80", "TCP", http({ method: "GET", path: "/" })) },
        { toPorts: toPorts("80", "TCP") },
      ],
    });
    assert.equal(verdict(engine, tcp("default/a", SERVER, 80, get("/x"))), "allow");
  });

  it("13: a peer that is allowed everything is not bound by Layer 7 rules for all", () => {
    const engine = server({
      ingress: [
        { fromEndpoints: A },
        { toPorts: toPorts("80", "TCP", http({ method: "GET", path: "/" })) },
      ],
    });
    assert.equal(verdict(engine, tcp("default/a", SERVER, 80, get("/x"))), "allow");
    assert.deepEqual(ask(engine, tcp("default/b", SERVER, 80, get("/x"))), {
      verdict: "deny",
      direction: "ingress",
      reason: "http-denied",
      httpStatus: 403,
    });
  });

  it("14: a deny rule for a named port that nobody has denies nothing", () => {
    const engine = server({
      enableDefaultDeny: { ingress: false },
      ingressDeny: [{ toPorts: toPorts("metrics", "TCP") }],
    });
    assert.equal(verdict(engine, tcp("default/a", SERVER, 8080)), "allow");
    const known = server({
      enableDefaultDeny: { ingress: false },
      ingressDeny: [{ toPorts: toPorts("http", "TCP") }],
    });
    assert.equal(verdict(known, tcp("default/a", SERVER, 8080)), "ingress policy-denied");
  });

  it("15: a path is matched with its query, in full", () => {
    const engine = server({
      ingress: [{ toPorts: toPorts("80", "TCP", http({ path: "/public" })) }],
    });
    assert.equal(verdict(engine, tcp("default/a", SERVER, 80, get("/public"))), "allow");
    assert.equal(
      verdict(engine, tcp("default/a", SERVER, 80, get("/public?x=1"))),
      "ingress http-denied",
    );
  });

  it("16: a header's name is matched in any case, its value exactly", () => {
    const engine = server({
      ingress: [{ toPorts: toPorts("80", "TCP", http({ headers: ["X: 42"] })) }],
    });
    assert.equal(verdict(engine, tcp("default/a", SERVER, 80, get("/", { x: "42" }))), "allow");
    assert.equal(
      verdict(engine, tcp("default/a", SERVER, 80, get("/", { X: "421" }))),
      "ingress http-denied",
    );
  });

  it("17: a port without a protocol is one of UDP, too", () => {
    const engine = server({ ingress: [{ toPorts: toPorts("80") }] });
    assert.equal(verdict(engine, { ...tcp("default/a", SERVER, 80), protocol: "UDP" }), "allow");
    assert.equal(verdict(engine, { ...tcp("default/a", SERVER, 80), protocol: "SCTP" }), "allow");
  });

  it("18: toCIDR with the address of a pod does not allow the pod", () => {
    const engine = server({ egress: [{ toCIDR: ["10.0.0.2/32"] }] });
    assert.equal(verdict(engine, tcp(SERVER, "default/a", 80)), DROP_OUT);
    assert.equal(verdict(engine, to({ ip: "10.0.0.2" }, 80)), DROP_OUT);
  });

  it("19: toFQDNs without a DNS rule allows nothing", () => {
    const names = { toFQDNs: [{ matchName: "example.com" }] };
    const query = to({ ip: "192.0.2.1", fqdn: "example.com" }, 443);
    assert.equal(verdict(server({ egress: [names] }), query), DROP_OUT);
    const dns = { toPorts: toPorts("53", "ANY", { rules: { dns: [{ matchPattern: "*.com" }] } }) };
    assert.equal(verdict(server({ egress: [names, dns] }), query), "allow");
  });

  it("20: a rule for ports does not allow a ping", () => {
    const engine = server({ ingress: [{ toPorts: toPorts("80") }] });
    assert.equal(verdict(engine, ping({ pod: "default/a" }, { pod: SERVER })), DROP_IN);
  });

  it("21: a rule for a peer allows its ping", () => {
    const engine = server({ ingress: [{ fromEndpoints: A }] });
    assert.equal(verdict(engine, ping({ pod: "default/a" }, { pod: SERVER })), "allow");
  });

  it("22: a denied port cuts a hole into an allowed range", () => {
    const engine = server({
      ingress: [{ toPorts: [{ ports: [{ port: "80", endPort: 90 }] }] }],
      ingressDeny: [{ toPorts: toPorts("85") }],
    });
    assert.deepEqual(
      [79, 80, 84, 85, 86, 90, 91].map((port) => verdict(engine, tcp("default/a", SERVER, port))),
      [DROP_IN, "allow", "allow", "ingress policy-denied", "allow", "allow", DROP_IN],
    );
  });

  it("23: toServices with a Service that does not exist allows nothing", () => {
    const engine = server({
      egress: [{
        toServices: [{ k8sService: { serviceName: "absent", namespace: "default" } }],
        toPorts: toPorts("80"),
      }],
    });
    assert.equal(verdict(engine, tcp(SERVER, "default/a", 80)), DROP_OUT);
    assert.equal(verdict(engine, to(WORLD, 80)), DROP_OUT);
  });

  it("24: where authentication is required, an authenticated flow alone passes", () => {
    const engine = server({
      ingress: [{ fromEndpoints: A, authentication: { mode: "required" } }],
    });
    assert.equal(verdict(engine, tcp("default/a", SERVER, 80)), "ingress auth-required");
    assert.equal(
      verdict(engine, tcp("default/a", SERVER, 80, { authenticated: true })),
      "allow",
    );
    assert.equal(verdict(engine, tcp("default/b", SERVER, 80, { authenticated: true })), DROP_IN);
  });

  it("25: two Layer 7 parsers on one port close it for all peers", () => {
    const engine = server(
      { egress: [{ toEndpoints: A, toPorts: toPorts("53", "TCP", http({})) }] },
      { egress: [{ toPorts: toPorts("53", "ANY", { rules: { dns: [{ matchPattern: "*" }] } }) }] },
      { egress: [{ toEndpoints: [labelled({ app: "b" })] }] },
    );
    for (const peer of ["default/a", "default/b", "other/a"]) {
      assert.equal(verdict(engine, tcp(SERVER, peer, 53)), "egress policy-conflict");
    }
    assert.equal(
      verdict(engine, { ...tcp(SERVER, "default/a", 53), protocol: "UDP" }),
      "allow",
    );
    assert.equal(verdict(engine, tcp(SERVER, "default/b", 54)), "allow");
  });

  it("26: NotIn selects what has no such key", () => {
    const absent = { matchExpressions: [{ key: "zone", operator: "NotIn", values: ["x"] }] };
    const engine = server({ ingress: [{ fromEndpoints: [absent] }] });
    assert.equal(verdict(engine, tcp("default/a", SERVER, 80)), "allow");
    assert.equal(verdict(engine, from(WORLD, 80)), DROP_IN);
  });

  it("27: one invalid entry of specs refuses the whole object", () => {
    const spec = { endpointSelector: labelled({ app: "server" }), ingress: [{}] };
    const policy = cnp("p", spec, { ...spec, ingress: [{ fromCIDR: ["300.0.0.0/8"] }] });
    const engine = engineOf([...OBJECTS, policy], { lenient: true });
    assert.equal(verdict(engine, tcp("default/a", SERVER, 80)), "allow");
  });

  it("28: the port of the backend counts, not that of the Service", () => {
    const engine = server({ ingress: [{ toPorts: toPorts("80") }] });
    // The query is what is left of it after translation: port 8080 of the pod.
    assert.equal(verdict(engine, tcp("default/a", SERVER, 8080)), DROP_IN);
  });
});
