/**
 * What stands above the peers: ports and messages, authentication, payloads, names, and the rule
 * that an answer names (SEMANTICS B.9 to B.14, D.3).
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { DROP_OUT, from, ip, OBJECTS, SERVER, server, to } from "./policies_server.ts";
import {
  ask,
  ccnp,
  cnp,
  type Document,
  engineOf,
  labelled,
  ping,
  pod,
  tcp,
  toPorts,
  verdict,
} from "./policies_world.ts";

describe("ports", () => {
  const web = pod("default/web", {
    labels: { app: "web" },
    ip: "10.0.0.9",
    ports: [{ name: "http", containerPort: 8080 }, {
      name: "dns",
      containerPort: 53,
      protocol: "UDP",
    }],
  });

  it("by name are those of the destination, with their protocol", () => {
    const engine = server([{ egress: [{ toPorts: toPorts("HTTP") }] }], [web]);
    assert.equal(verdict(engine, to({ pod: "default/web" }, 8080)), "allow");
    assert.equal(verdict(engine, to({ pod: "default/web" }, 80)), DROP_OUT);
    assert.equal(verdict(engine, to({ pod: "default/a" }, 8080)), DROP_OUT);
    assert.equal(
      verdict(engine, { ...to({ pod: "default/web" }, 8080), protocol: "UDP" }),
      DROP_OUT,
    );
  });

  it('"0" are all of a protocol, and [{}] all but ICMP', () => {
    const tcpOnly = server([{ egress: [{ toPorts: toPorts("0", "TCP") }] }]);
    assert.equal(verdict(tcpOnly, to({ pod: "default/a" }, 1)), "allow");
    assert.equal(verdict(tcpOnly, { ...to({ pod: "default/a" }, 1), protocol: "UDP" }), DROP_OUT);
    const all = server([{ egress: [{ toPorts: [{}] }] }]);
    assert.equal(verdict(all, { ...to({ pod: "default/a" }, 1), protocol: "SCTP" }), "allow");
    assert.equal(verdict(all, ping({ pod: SERVER }, { pod: "default/a" })), DROP_OUT);
  });

  it("of icmps are the messages that are listed, of their family", () => {
    const engine = server([{
      egress: [{ icmps: [{ fields: [{ type: "EchoRequest" }, { type: 133, family: "IPv6" }] }] }],
    }]);
    const query = (protocol: string, family: string, type: number) => ({
      from: { pod: SERVER },
      to: { pod: "default/a" },
      protocol,
      icmp: { family, type },
    });
    assert.equal(verdict(engine, query("ICMP", "IPv4", 8)), "allow");
    assert.equal(verdict(engine, query("ICMP", "IPv4", 0)), DROP_OUT);
    assert.equal(verdict(engine, query("ICMPv6", "IPv6", 133)), "allow");
    assert.equal(verdict(engine, query("ICMPv6", "IPv6", 8)), DROP_OUT);
    assert.equal(verdict(engine, to({ pod: "default/a" }, 8)), DROP_OUT);
  });
});

describe("authentication", () => {
  const A = [labelled({ app: "a" })];
  const mode = (mode: string): Document => ({ authentication: { mode } });
  const asked = (engine: ReturnType<typeof server>, port: number) =>
    verdict(engine, from({ pod: "default/a" }, port));

  it("that a narrower rule disables is not asked for on its ports", () => {
    const engine = server([{
      ingress: [
        { fromEndpoints: A, ...mode("required") },
        { fromEndpoints: A, toPorts: toPorts("80", "TCP"), ...mode("disabled") },
      ],
    }]);
    assert.equal(asked(engine, 80), "allow");
    assert.equal(asked(engine, 81), "ingress auth-required");
  });

  it("of a broader rule holds for a narrower one that says nothing", () => {
    const engine = server([{
      ingress: [
        { fromEndpoints: [{}], ...mode("required") },
        { fromEndpoints: A, toPorts: toPorts("80", "TCP") },
      ],
    }]);
    assert.equal(asked(engine, 80), "ingress auth-required");
  });

  it("is the strongest among rules of the same breadth, in any order", () => {
    const rules = ["disabled", "required"].map((name) => ({ fromEndpoints: A, ...mode(name) }));
    for (const ingress of [rules, rules.toReversed()]) {
      assert.equal(asked(server([{ ingress }]), 80), "ingress auth-required");
    }
  });

  it("of test-always-fail fails whoever it is", () => {
    const engine = server([{ ingress: [{ fromEndpoints: A, ...mode("test-always-fail") }] }]);
    const query = from({ pod: "default/a" }, 80, { authenticated: true });
    assert.equal(verdict(engine, query), "ingress auth-required");
  });
});

describe("payloads", () => {
  const http = (rule: Document, more: Document = {}): Document => ({
    egress: [{ toPorts: toPorts("80", "TCP", { rules: { http: [rule] }, ...more }) }],
  });
  const request = (headers: Document): Document => ({
    http: { method: "GET", path: "/", host: "web:80", headers },
  });

  it("are judged by method, host and path, as whole expressions", () => {
    const engine = server([http({ method: "GET|HEAD", host: "web(:80)?", path: "/[a-z]*" })]);
    const ask = (method: string, host: string, path: string) =>
      verdict(engine, to({ pod: "default/a" }, 80, { http: { method, host, path } }));
    assert.equal(ask("HEAD", "web:80", "/abc"), "allow");
    assert.equal(ask("POST", "web", "/abc"), "egress http-denied");
    assert.equal(ask("GET", "web.", "/abc"), "egress http-denied");
    assert.equal(ask("GET", "web", "/abc/"), "egress http-denied");
  });

  it("are asked for headers with the value of a Secret, or the one that stands in for it", () => {
    const secret = {
      apiVersion: "v1",
      kind: "Secret",
      metadata: { name: "token", namespace: "default" },
      data: { value: btoa("s3cret") },
    };
    const match = (more: Document): Document =>
      http({ headerMatches: [{ name: "X-Token", secret: { name: "token" }, ...more }] });
    const query = (value: string) => to({ pod: "default/a" }, 80, request({ "x-token": value }));
    assert.equal(verdict(server([match({})], [secret]), query("s3cret")), "allow");
    assert.equal(verdict(server([match({})], [secret]), query("other")), "egress http-denied");
    assert.equal(verdict(server([match({})]), query("s3cret")), "egress http-denied");
    assert.equal(verdict(server([match({ value: "other" })]), query("other")), "allow");
    const lenient = match({ mismatch: "REPLACE" });
    assert.equal(verdict(server([lenient], [secret]), query("other")), "allow");
    assert.equal(verdict(server([lenient]), query("other")), "egress http-denied");
  });

  it("of DNS are judged by name", () => {
    const rule = { dns: [{ matchName: "example.com" }, { matchPattern: "*.cilium.io" }] };
    const engine = server([{ egress: [{ toPorts: toPorts("53", "UDP", { rules: rule }) }] }]);
    const query = (name: string) => ({
      ...to({ pod: "default/a" }, 53, { dns: { name } }),
      protocol: "UDP",
    });
    assert.equal(verdict(engine, query("EXAMPLE.com.")), "allow");
    assert.equal(verdict(engine, query("docs.cilium.io")), "allow");
    assert.deepEqual(ask(engine, query("cilium.io")), {
      verdict: "deny",
      direction: "egress",
      reason: "dns-denied",
      dnsRcode: "REFUSED",
    });
  });

  it("of TLS are judged by server name; the connection alone is allowed", () => {
    const engine = server([{
      egress: [{ toPorts: toPorts("443", "TCP", { serverNames: ["*.cilium.io"] }) }],
    }]);
    const query = (rest: Document) => to(ip("192.0.2.1"), 443, rest);
    assert.equal(verdict(engine, query({})), "allow");
    assert.equal(verdict(engine, query({ tls: { serverName: "docs.cilium.io" } })), "allow");
    assert.deepEqual(ask(engine, query({ tls: { serverName: "cilium.io" } })), {
      verdict: "deny",
      direction: "egress",
      reason: "sni-denied",
    });
  });

  it("are all admitted where nothing is denied by default", () => {
    const engine = server([
      { enableDefaultDeny: { egress: false }, ...http({ method: "PUT" }) },
    ]);
    assert.equal(verdict(engine, to({ pod: "default/a" }, 80, request({}))), "allow");
  });
});

describe("toFQDNs", () => {
  const dns = (pattern: string): Document => ({
    toPorts: toPorts("53", "ANY", { rules: { dns: [{ matchPattern: pattern }] } }),
  });
  const names = { toFQDNs: [{ matchPattern: "*.example.com" }], toPorts: toPorts("443", "TCP") };

  it("count for addresses whose name the source may ask for, on their ports", () => {
    const engine = server([{ egress: [dns("www.*.com"), names] }]);
    assert.equal(verdict(engine, to(ip("192.0.2.1", "www.example.com"), 443)), "allow");
    assert.equal(verdict(engine, to(ip("192.0.2.1", "www.example.com"), 80)), DROP_OUT);
    assert.equal(verdict(engine, to(ip("192.0.2.1", "ftp.example.com"), 443)), DROP_OUT);
    assert.equal(verdict(engine, to(ip("192.0.2.1"), 443)), DROP_OUT);
  });

  it("ask for authentication where the address was given for the name, whatever else allows", () => {
    const everyone = { toCIDR: ["0.0.0.0/0"], toPorts: toPorts("443", "TCP") };
    const required = { ...names, authentication: { mode: "required" } };
    const engine = server([{ egress: [dns("www.*.com"), everyone, required] }]);
    const named = to(ip("192.0.2.1", "www.example.com"), 443);
    assert.equal(verdict(engine, named), "egress auth-required");
    assert.equal(verdict(engine, { ...named, authenticated: true }), "allow");
    assert.equal(verdict(engine, to(ip("192.0.2.1"), 443)), "allow");
    assert.equal(verdict(engine, to(ip("192.0.2.1", "ftp.example.com"), 443)), "allow");
  });

  it("do not count for pods", () => {
    const engine = server([{ egress: [dns("*"), names] }]);
    assert.equal(verdict(engine, to(ip("10.0.0.2", "www.example.com"), 443)), DROP_OUT);
  });

  it("empty allow nothing, also beside ports", () => {
    const engine = server([{ egress: [dns("*"), { toFQDNs: [], toPorts: toPorts("443") }] }]);
    assert.equal(verdict(engine, to(ip("192.0.2.1", "www.example.com"), 443)), DROP_OUT);
  });
});

describe("the rule of an answer", () => {
  it("is the deny rule, or the allow rule of the end that was judged last", () => {
    const engine = engineOf([
      ...OBJECTS,
      cnp("in", {
        endpointSelector: labelled({ app: "server" }),
        ingress: [{ fromEndpoints: [{}] }],
      }),
      ccnp(
        "out",
        {
          endpointSelector: labelled({ app: "a" }),
          egress: [{ toEntities: ["all"] }],
          egressDeny: [{ toPorts: toPorts("22") }],
        },
      ),
    ]);
    const clusterwide = { kind: "CiliumClusterwideNetworkPolicy", namespace: "", name: "out" };
    assert.deepEqual(ask(engine, tcp("default/a", SERVER, 80)), {
      verdict: "allow",
      rule: {
        kind: "CiliumNetworkPolicy",
        namespace: "default",
        name: "in",
        path: "spec.ingress[0]",
      },
    });
    assert.deepEqual(ask(engine, tcp("default/a", "default/b", 80)), {
      verdict: "allow",
      rule: { ...clusterwide, path: "spec.egress[0]" },
    });
    assert.deepEqual(ask(engine, tcp("default/a", SERVER, 22)), {
      verdict: "deny",
      direction: "egress",
      reason: "policy-denied",
      rule: { ...clusterwide, path: "spec.egressDeny[0]" },
    });
  });

  it("is absent where no policy speaks of the flow", () => {
    assert.deepEqual(ask(engineOf(OBJECTS), tcp("default/a", SERVER, 80)), { verdict: "allow" });
  });
});
