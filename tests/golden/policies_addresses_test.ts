/**
 * Peers that are not selected by labels: CIDRs and their groups, Services, nodes and the host
 * (SEMANTICS B.7, B.8, B.13, D.1, D.2, D.5).
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { DROP_IN, DROP_OUT, from, ip, OBJECTS, SERVER, server, to } from "./policies_server.ts";
import {
  ask,
  ccnp,
  type Document,
  engineOf,
  knp,
  labelled,
  pod,
  tcp,
  toPorts,
  verdict,
} from "./policies_world.ts";

describe("CIDR rules", () => {
  it("re-allow by except in a deny rule what an allow rule allows", () => {
    const engine = server([{
      egress: [{ toCIDR: ["0.0.0.0/0"] }],
      egressDeny: [{ toCIDRSet: [{ cidr: "1.0.0.0/8", except: ["1.1.1.1/32"] }] }],
    }]);
    assert.equal(verdict(engine, to(ip("1.1.1.1"))), "allow");
    assert.equal(verdict(engine, to(ip("1.1.1.2"))), "egress policy-denied");
    assert.equal(verdict(engine, to(ip("8.8.8.8"))), "allow");
    assert.equal(verdict(engine, to(ip("2001:db8::1"))), DROP_OUT);
  });

  it("drop by default what except takes out of a deny rule alone", () => {
    const engine = server([{
      egressDeny: [{ toCIDRSet: [{ cidr: "1.0.0.0/8", except: ["1.1.1.1/32"] }] }],
    }]);
    assert.equal(verdict(engine, to(ip("1.1.1.1"))), DROP_OUT);
    assert.equal(verdict(engine, to(ip("1.1.1.2"))), "egress policy-denied");
  });

  it("speak of a whole range from which a part of it is taken out", () => {
    const cidr = { cidr: "192.0.2.0/24", except: ["192.0.2.0/25"] };
    const engine = server([{ egress: [{ toCIDRSet: [cidr] }] }]);
    assert.equal(verdict(engine, to({ labels: ["cidr:192.0.2.0/24"] })), "allow");
    assert.equal(verdict(engine, to({ labels: ["cidr:192.0.2.0/26"] })), DROP_OUT);
  });

  it("select groups by the labels that are theirs, of no other source", () => {
    const group = {
      apiVersion: "cilium.io/v2",
      kind: "CiliumCIDRGroup",
      metadata: { name: "partners", labels: { kind: "partner" } },
      spec: { externalCIDRs: ["192.0.2.0/24"] },
    };
    const by = (key: string) =>
      server([{
        egress: [{ toCIDRSet: [{ cidrGroupSelector: { matchLabels: { [key]: "partner" } } }] }],
      }], [group]);
    assert.equal(verdict(by("kind"), to(ip("192.0.2.1"))), "allow");
    assert.equal(verdict(by("k8s:kind"), to(ip("192.0.2.1"))), DROP_OUT);
  });

  it("let another rule allow what one takes out", () => {
    const engine = server([{
      egress: [
        { toCIDRSet: [{ cidr: "1.0.0.0/8", except: ["1.1.0.0/16"] }] },
        { toCIDR: ["1.1.1.1"] },
      ],
    }]);
    assert.equal(verdict(engine, to(ip("1.1.1.1"))), "allow");
    assert.equal(verdict(engine, to(ip("1.1.1.2"))), DROP_OUT);
  });

  it("lose against a deny rule for the world, on its ports alone", () => {
    const allow = { egress: [{ toCIDR: ["192.0.2.3/32"] }] };
    const everything = server([allow, { egressDeny: [{ toEntities: ["world"] }] }]);
    assert.equal(verdict(everything, to(ip("192.0.2.3"))), "egress policy-denied");
    const port = { egressDeny: [{ toEntities: ["world"], toPorts: toPorts("8080", "ANY") }] };
    assert.equal(verdict(server([allow, port]), to(ip("192.0.2.3"), 80)), "allow");
    assert.equal(verdict(server([allow, port]), to(ip("192.0.2.3"), 8080)), "egress policy-denied");
  });

  it("of one family hold nothing of the other", () => {
    const engine = server([{ egress: [{ toCIDR: ["::/0"] }] }]);
    assert.equal(verdict(engine, to(ip("2001:db8::1"))), "allow");
    assert.equal(verdict(engine, to(ip("192.0.2.9"))), DROP_OUT);
  });

  it("hold no node", () => {
    const engine = server([{ egress: [{ toCIDR: ["172.16.0.0/16", "192.0.2.0/24"] }] }]);
    assert.equal(verdict(engine, to(ip("172.16.0.2"))), DROP_OUT);
    assert.equal(verdict(engine, to(ip("192.0.2.9"))), "allow");
  });

  it("match a range among the labels of an identity without an address", () => {
    const engine = server([{ egress: [{ toCIDR: ["10.1.0.0/16"] }] }]);
    assert.equal(verdict(engine, to({ labels: ["cidr:10.1.2.0/24", "reserved:world"] })), "allow");
    assert.equal(verdict(engine, to({ labels: ["cidr:10.0.0.0/8", "reserved:world"] })), DROP_OUT);
  });

  it("take in the ranges of groups, by name and by label, but for except", () => {
    const group = (name: string, cidr: string, labels: Document): Document => ({
      apiVersion: "cilium.io/v2",
      kind: "CiliumCIDRGroup",
      metadata: { name, labels },
      spec: { externalCIDRs: [cidr] },
    });
    const groups = [
      group("one", "192.0.2.0/24", {}),
      group("two", "198.51.100.0/24", { tier: "x" }),
      group("three", "203.0.113.0/24", { tier: "y" }),
    ];
    const engine = server([{
      egress: [{
        toCIDRSet: [
          { cidrGroupRef: "one", except: ["192.0.2.7/32"] },
          { cidrGroupSelector: labelled({ tier: "x" }) },
          { cidrGroupRef: "absent" },
        ],
      }],
    }], groups);
    assert.deepEqual(
      ["192.0.2.1", "192.0.2.7", "198.51.100.1", "203.0.113.1"].map((address) =>
        verdict(engine, to(ip(address)))
      ),
      ["allow", DROP_OUT, "allow", DROP_OUT],
    );
  });

  it("of a NetworkPolicy hold pods, too", () => {
    const engine = engineOf([
      ...OBJECTS,
      knp("p", {
        podSelector: labelled({ app: "server" }),
        ingress: [{ from: [{ ipBlock: { cidr: "10.0.0.0/8", except: ["10.0.0.3/32"] } }] }],
      }),
    ]);
    assert.equal(verdict(engine, tcp("default/a", SERVER, 80)), "allow");
    assert.equal(verdict(engine, tcp("default/b", SERVER, 80)), DROP_IN);
  });
});

describe("toServices", () => {
  const service = (name: string, spec: Document, labels: Document = {}): Document => ({
    apiVersion: "v1",
    kind: "Service",
    metadata: { name, namespace: "default", labels },
    spec: { ports: [{ port: 80, targetPort: 8080 }], ...spec },
  });
  const objects = [
    service("a", { selector: { app: "a" } }, { env: "staging" }),
    service("outside", {}),
    {
      apiVersion: "discovery.k8s.io/v1",
      kind: "EndpointSlice",
      metadata: {
        name: "outside-1",
        namespace: "default",
        labels: { "kubernetes.io/service-name": "outside" },
      },
      addressType: "IPv4",
      endpoints: [{ addresses: ["192.0.2.10"] }, { addresses: ["10.0.0.3"] }],
      ports: [{ port: 8080 }],
    },
  ];
  const rule = (service: Document): Document => ({ egress: [{ toServices: [service] }] });

  it("allows the pods that the Service selects", () => {
    const engine = server(
      [rule({ k8sService: { serviceName: "a", namespace: "default" } })],
      objects,
    );
    assert.equal(verdict(engine, tcp(SERVER, "default/a", 8080)), "allow");
    assert.equal(verdict(engine, tcp(SERVER, "default/b", 8080)), DROP_OUT);
  });

  it("finds Services of every namespace where it names none, and by their labels", () => {
    assert.equal(
      verdict(
        server([rule({ k8sService: { serviceName: "a" } })], objects),
        to({ pod: "default/a" }),
      ),
      "allow",
    );
    const selector = (env: string) => ({
      k8sServiceSelector: { selector: labelled({ env }), namespace: "default" },
    });
    const query = to({ pod: "default/a" });
    assert.equal(verdict(server([rule(selector("staging"))], objects), query), "allow");
    assert.equal(verdict(server([rule(selector("other"))], objects), query), DROP_OUT);
  });

  it("allows the addresses outside of a Service without a selector, but no pods", () => {
    const engine = server([rule({ k8sService: { serviceName: "outside" } })], objects);
    assert.equal(verdict(engine, to(ip("192.0.2.10"))), "allow");
    assert.equal(verdict(engine, to({ pod: "default/b" })), DROP_OUT);
  });
});

describe("nodes", () => {
  it("are the host for their own pods, and remote nodes for others", () => {
    const engine = server([{ egress: [{ toEntities: ["host"] }] }]);
    assert.equal(verdict(engine, to(ip("172.16.0.1"))), "allow");
    assert.equal(verdict(engine, to(ip("172.16.0.2"))), DROP_OUT);
    const remote = server([{ egress: [{ toEntities: ["remote-node"] }] }]);
    assert.equal(verdict(remote, to(ip("172.16.0.1"))), DROP_OUT);
    assert.equal(verdict(remote, to(ip("172.16.0.2"))), "allow");
  });

  it("are what pods of the host's network are", () => {
    const agents = ["n1", "n2"].map((name, index) =>
      pod(`default/agent-${name}`, { ip: `172.16.0.${index + 1}`, node: name, hostNetwork: true })
    );
    const engine = server([{ ingress: [{ fromEntities: ["remote-node"] }] }], agents);
    assert.deepEqual(ask(engine, from({ pod: "default/agent-n1" })), { verdict: "allow" });
    assert.equal(verdict(engine, from({ pod: "default/agent-n2" })), "allow");
    const none = server([{ ingress: [{}] }], agents);
    assert.equal(verdict(none, from({ pod: "default/agent-n1" })), "allow");
    assert.equal(verdict(none, from({ pod: "default/agent-n2" })), DROP_IN);
    assert.equal(verdict(none, from(ip("172.16.0.2"))), DROP_IN);
  });

  it("of the control plane are the API server, too", () => {
    const engine = server([{ egress: [{ toEntities: ["kube-apiserver"] }] }]);
    assert.equal(verdict(engine, to(ip("172.16.0.2"), 6443)), "allow");
    assert.equal(verdict(engine, to(ip("172.16.0.1"), 6443)), DROP_OUT);
  });

  it("are selected by their labels in fromNodes and toNodes", () => {
    const control = labelled({ "node-role.kubernetes.io/control-plane": "" });
    const engine = server([{ ingress: [{ fromNodes: [control] }] }]);
    assert.equal(verdict(engine, from(ip("172.16.0.2"))), "allow");
    assert.equal(verdict(engine, from(ip("192.0.2.1"))), DROP_IN);
    assert.equal(verdict(engine, from({ entity: "remote-node" })), DROP_IN);
  });
});

describe("the host", () => {
  const policy = ccnp("host", {
    nodeSelector: labelled({ role: "worker" }),
    ingress: [{ fromEntities: ["cluster"], toPorts: toPorts("22", "TCP") }],
    egress: [{ toEntities: ["world"] }],
  });
  const engine = engineOf([...OBJECTS, policy]);

  it("is selected by the label that makes it one", () => {
    const selector = { matchExpressions: [{ key: "reserved:host", operator: "Exists" }] };
    const policy = ccnp("hosts", { nodeSelector: selector, ingress: [{}] });
    const query = { from: { pod: "default/a" }, to: ip("172.16.0.1"), protocol: "TCP", port: 22 };
    assert.equal(verdict(engineOf([...OBJECTS, policy]), query), DROP_IN);
  });

  it("is governed by policies that select its node", () => {
    assert.equal(verdict(engine, tcp("default/a", "default/a", 22)), "allow");
    const query = (port: number) => ({
      from: { pod: "default/a" },
      to: { ip: "172.16.0.1" },
      protocol: "TCP",
      port,
    });
    assert.equal(verdict(engine, query(22)), "allow");
    assert.equal(verdict(engine, query(23)), DROP_IN);
  });

  it("is not governed where they select other nodes", () => {
    const query = {
      from: { pod: "default/b" },
      to: { ip: "172.16.0.2" },
      protocol: "TCP",
      port: 23,
    };
    assert.equal(verdict(engine, query), "allow");
  });

  it("is selected by no endpointSelector", () => {
    const all = engineOf([...OBJECTS, ccnp("p", { endpointSelector: {}, ingress: [{}] })]);
    const query = { from: ip("192.0.2.1"), to: { entity: "host" }, protocol: "TCP", port: 22 };
    assert.equal(verdict(all, query), "allow");
  });

  it("reaches its pods before any policy, whatever denies it", () => {
    const deny = server([{ ingressDeny: [{ fromEntities: ["all"] }] }], [], {
      enforcement: "always",
    });
    assert.equal(verdict(deny, from({ entity: "host" })), "allow");
    assert.equal(verdict(deny, from(ip("172.16.0.1"))), "allow");
    assert.equal(verdict(deny, from(ip("172.16.0.2"))), "ingress policy-denied");
  });
});
