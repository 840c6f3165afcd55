/**
 * Queries: what is one, what is refused, and who stands at their ends.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { parseQuery, Parties, type Query } from "@/src/evaluate/mod.ts";
import { formatLabel } from "@/src/model/network_policy/mod.ts";
import { worldOf } from "@/src/watch/policies/mod.ts";
import { node, pod } from "../../golden/policies_world.ts";

const FLOW = { from: { pod: "x/a" }, to: { pod: "x/b" }, protocol: "TCP", port: 80 };
const ECHO = { from: { pod: "x/a" }, to: { pod: "x/b" } };

describe("a query", () => {
  const REFUSED: Readonly<Record<string, [query: unknown, error: RegExp]>> = {
    "no object": [[], /expected object/],
    "no end": [{ ...FLOW, from: undefined }, /^from: /],
    "two ends in one": [
      { ...FLOW, to: { pod: "x/a", ip: "10.0.0.1" } },
      /^to: must be exactly one/,
    ],
    "an unknown entity": [{ ...FLOW, to: { entity: "all" } }, /^to: /],
    "no address": [{ ...FLOW, to: { ip: "10.0.0.256" } }, /^to\.ip: must be an IP address/],
    "a name for the source": [{ ...FLOW, from: { ip: "1.1.1.1", fqdn: "a.b" } }, /fqdn/],
    "no port": [{ ...FLOW, port: undefined }, /^port is required/],
    "a port too high": [{ ...FLOW, port: 65536 }, /^port: /],
    "another protocol": [{ ...FLOW, protocol: "tcp" }, /^protocol: /],
    "a message of TCP": [{ ...FLOW, icmp: { family: "IPv4", type: 8 } }, /^icmp is not for TCP/],
    "ICMP with a port": [
      { ...FLOW, protocol: "ICMP", icmp: { family: "IPv4", type: 8 } },
      /^port is not for ICMP/,
    ],
    "ICMP without a message": [{ ...ECHO, protocol: "ICMP" }, /^icmp is required/],
    "ICMPv6 over IPv4": [
      { ...ECHO, protocol: "ICMPv6", icmp: { family: "IPv4", type: 8 } },
      /^ICMPv6 is not of IPv4/,
    ],
    "two payloads": [{ ...FLOW, dns: { name: "a" }, tls: { serverName: "a" } }, /at most one/],
    "an unknown field of a payload": [{ ...FLOW, http: { methd: "GET" } }, /^http: /],
  };
  for (const [name, [query, error]] of Object.entries(REFUSED)) {
    it(`with ${name} is refused`, () => {
      const parsed = parseQuery(query);
      assert(!parsed.ok);
      assert.match(parsed.error, error);
    });
  }

  it("is read with its payload; header names in lower case", () => {
    const parsed = parseQuery({
      ...FLOW,
      authenticated: true,
      comment: "x",
      http: { method: "GET", path: "/", headers: { "X-Y": "1" } },
    });
    assert.deepEqual(parsed, {
      ok: true,
      strangers: ["comment"],
      query: {
        from: { kind: "pod", key: "x/a" },
        to: { kind: "pod", key: "x/b" },
        transport: "TCP",
        port: 80,
        family: undefined,
        authenticated: true,
        payload: {
          kind: "http",
          request: { method: "GET", path: "/", host: "", headers: new Map([["x-y", "1"]]) },
        },
      },
    });
  });
});

describe("the ends of a query", () => {
  const documents = [
    node("n1", "172.16.0.1", { zone: "a" }),
    node("n2", "fd00::2"),
    pod("x/a", { ip: "10.0.0.1", labels: { app: "a" } }),
    pod("x/b", { ip: "10.0.0.2", node: "n2" }),
    pod("x/twin", { ip: "10.0.0.9" }),
    pod("y/twin", { ip: "10.0.0.9" }),
    pod("x/agent", { ip: "172.16.0.1", hostNetwork: true }),
    pod("x/other", { ip: "172.16.0.3", hostNetwork: true, node: "n3" }),
    pod("x/pending", { hostNetwork: true, node: "" }),
    {
      ...pod("x/done", { ip: "10.0.0.2" }),
      status: { phase: "Succeeded", podIPs: [{ ip: "10.0.0.2" }] },
    },
  ];
  const { world, remarks } = worldOf(
    documents.map((value) => ({ file: "test.yaml", value, lineOf: () => 1 })),
  );
  const parties = new Parties(world);
  const endsOf = (from: unknown, to: unknown) => {
    const parsed = parseQuery({ ...FLOW, from, to });
    assert(parsed.ok);
    return parties.of(parsed.query as Query);
  };
  const targetOf = (to: unknown) => {
    const ends = endsOf({ pod: "x/a" }, to);
    assert(ends.ok, ends.ok ? "" : ends.error);
    const { kind, identity } = ends.target;
    return [kind, ...identity.labels.map(formatLabel).sort()];
  };

  it("by the address of a pod are the pod", () => {
    assert.deepEqual(remarks, []);
    assert.deepEqual(targetOf({ ip: "10.0.0.2" }), targetOf({ pod: "x/b" }));
  });

  it("by the address of a node are the host for its pods, else a remote node", () => {
    assert.deepEqual(targetOf({ ip: "172.16.0.1" }), [
      "host",
      "k8s:io.cilium.k8s.policy.cluster=default",
      "k8s:zone=a",
      "reserved:host",
    ]);
    assert.deepEqual(targetOf({ ip: "fd00:0::2" }), [
      "remote-node",
      "k8s:io.cilium.k8s.policy.cluster=default",
      "reserved:remote-node",
    ]);
  });

  it("by a pod of the host's network are its node", () => {
    assert.equal(targetOf({ pod: "x/agent" })[0], "host");
    assert.equal(targetOf({ pod: "x/other" })[0], "remote-node");
    assert.equal(targetOf({ ip: "172.16.0.3" })[0], "remote-node");
    const error = 'Pod "x/pending" is on no node yet';
    assert.deepEqual(endsOf({ pod: "x/a" }, { pod: "x/pending" }), { ok: false, error });
  });

  it("by any other address are the world of its family", () => {
    assert.deepEqual(targetOf({ ip: "192.0.2.1" }), [
      "outside",
      "cidr:192.0.2.1/32",
      "reserved:world",
      "reserved:world-ipv4",
    ]);
    assert.deepEqual(targetOf({ ip: "2001:db8::1" }).slice(2), [
      "reserved:world",
      "reserved:world-ipv6",
    ]);
  });

  it("by labels have exactly these; without a source they are unspec", () => {
    assert.deepEqual(targetOf({ labels: ["k8s:app=a", "id=foo"] }), [
      "other",
      "k8s:app=a",
      "unspec:id=foo",
    ]);
  });

  it("by an entity have its label alone", () => {
    assert.deepEqual(targetOf({ entity: "health" }), ["other", "reserved:health"]);
    assert.deepEqual(targetOf({ entity: "host" }), ["host", "reserved:host"]);
  });

  it("that are two pods at once cannot be answered, by address or by name", () => {
    const error = 'Address "10.0.0.9" belongs to pods "x/twin" and "y/twin"';
    assert.deepEqual(endsOf({ pod: "x/a" }, { ip: "10.0.0.9" }), { ok: false, error });
    assert.deepEqual(endsOf({ pod: "y/twin" }, { pod: "x/a" }), { ok: false, error });
  });

  it("that do not exist cannot be answered", () => {
    const error = 'Pod "x/nobody" does not exist';
    assert.deepEqual(endsOf({ pod: "x/a" }, { pod: "x/nobody" }), { ok: false, error });
  });
});
