/**
 * Random worlds for the policy compiler: objects as a person writes them, policies that use every
 * field of theirs, and flows between all kinds of ends.
 *
 * Everything is drawn from small pools, so that rules meet flows often: a policy that matches
 * nothing tests nothing. What comes out is a case in the form that `weft policy eval` reads
 * (documents and queries), so that a failing one can be kept, read and asked about by hand.
 *
 * @module
 */

import fc from "fast-check";
import { document, policyDocument } from "./policy_documents.ts";

/** A world and what is asked about it. */
export interface PolicyCase {
  readonly enforcement: "default" | "always" | "never";
  /** Kubernetes objects. */
  readonly objects: readonly object[];
  /** As `weft policy eval` takes them. */
  readonly queries: readonly object[];
}

/** Cases with this many queries each. */
export function policyCases(queries: number): fc.Arbitrary<PolicyCase> {
  return fc.record({
    enforcement: fc.oneof(
      { weight: 8, arbitrary: fc.constant("default" as const) },
      { weight: 1, arbitrary: fc.constantFrom("always", "never" as const) },
    ),
    pods: fc.tuple(...PODS.map((name, index) => pod(name, index))),
    others: fc.tuple(...OTHERS),
    policies: fc.uniqueArray(policyDocument, {
      minLength: 1,
      maxLength: 5,
      selector: (policy) => `${policy.kind} ${policy.metadata.namespace} ${policy.metadata.name}`,
    }),
    queries: fc.array(query, { minLength: queries, maxLength: queries }),
  }).map(({ enforcement, pods, others, policies, queries }) => ({
    enforcement,
    objects: [...others.flat(), ...pods, ...policies],
    queries,
  }));
}

/** Pods by the namespace that they are in. */
const PODS = ["a/web", "a/db", "a/client", "b/web", "b/api", "b/client", "a/hosted"] as const;
const NODES = ["n1", "n2"] as const;

const namedPorts = fc.subarray([
  { name: "http", containerPort: 8080, protocol: "TCP" },
  { name: "web", containerPort: 80 },
  { name: "dns", containerPort: 53, protocol: "UDP" },
]);

function pod(key: string, index: number): fc.Arbitrary<object> {
  const [namespace, name] = key.split("/");
  return fc.record({
    app: fc.constantFrom("web", "db", "api"),
    tier: fc.constantFrom("front", "back", undefined),
    node: fc.constantFrom(...NODES),
    families: fc.constantFrom("4", "6", "46", "64"),
    ports: fc.oneof(
      namedPorts,
      fc.constant([{ name: "http", containerPort: 80, protocol: "TCP" }]),
    ),
    serviceAccountName: fc.constantFrom("default", "robot"),
    isFinished: fc.integer({ min: 0, max: 15 }).map((draw) => draw === 0),
  }).map(({ app, tier, node, families, ports, serviceAccountName, isFinished }) => {
    const hostNetwork = name === "hosted";
    const ips = [...families].map((family) =>
      family === "4" ? `10.1.${index}.2` : `fd00:1::${index + 2}`
    );
    return document("v1", "Pod", { namespace, name, labels: { app, ...(tier && { tier }) } }, {
      spec: { nodeName: node, serviceAccountName, hostNetwork, containers: [{ ports }] },
      status: {
        phase: isFinished ? "Succeeded" : "Running",
        podIPs: (hostNetwork ? [nodeAddress(node)] : ips).map((ip) => ({ ip })),
      },
    });
  });
}

function nodeAddress(node: string): string {
  return node === "n1" ? "172.16.0.1" : "172.16.0.2";
}

const OTHERS: readonly fc.Arbitrary<object[]>[] = [
  fc.constantFrom("red", "blue").map((team) => [
    document("v1", "Namespace", { name: "a", labels: { team } }),
    document("v1", "Namespace", { name: "b", labels: { team: "blue" } }),
  ]),
  fc.boolean().map((isServer) => [
    document("v1", "Node", {
      name: "n1",
      labels: { zone: "east", ...(isServer && { "node-role.kubernetes.io/control-plane": "" }) },
    }, addressesOf("172.16.0.1", "fd00:f::1")),
    document("v1", "Node", { name: "n2", labels: { zone: "west" } }, addressesOf("172.16.0.2")),
  ]),
  fc.constantFrom("web", "db").map((app) => [
    document("v1", "Service", { namespace: "a", name: "inner", labels: { kind: "inner" } }, {
      spec: { selector: { app }, clusterIP: "10.96.0.1", ports: [{ port: 80 }] },
    }),
    document("v1", "Service", { namespace: "b", name: "outer", labels: { kind: "outer" } }, {
      spec: { clusterIP: "10.96.0.2", ports: [{ port: 80 }] },
    }),
    slice("b", "outer", ["198.51.100.7", "10.1.0.2"]),
  ]),
  fc.boolean().map((isKnown) => isKnown ? [slice("default", "kubernetes", ["192.0.2.1"])] : []),
  fc.subarray(["192.0.2.0/25", "198.51.100.0/24", "2001:db8::/48"]).map((externalCIDRs) => [
    document("cilium.io/v2", "CiliumCIDRGroup", { name: "partners", labels: { kind: "partner" } }, {
      spec: { externalCIDRs },
    }),
  ]),
];

function addressesOf(...addresses: string[]): object {
  const list = addresses.map((address) => ({ type: "InternalIP", address }));
  return { status: { addresses: list } };
}

function slice(namespace: string, service: string, addresses: string[]): object {
  const labels = { "kubernetes.io/service-name": service };
  return document(
    "discovery.k8s.io/v1",
    "EndpointSlice",
    { namespace, name: `${service}-1`, labels },
    {
      addressType: "IPv4",
      endpoints: addresses.map((address) => ({ addresses: [address] })),
      ports: [{ port: 80 }],
    },
  );
}

const address = fc.constantFrom(
  ...["10.1.0.2", "10.1.3.2", "fd00:1::2", "fd00:1::5", "172.16.0.1", "172.16.0.2", "fd00:f::1"],
  ...["192.0.2.1", "192.0.2.129", "198.51.100.7", "1.1.1.1", "2001:db8::1", "2001:db8:1::1"],
);

const end: fc.Arbitrary<object> = fc.oneof(
  { weight: 8, arbitrary: fc.constantFrom(...PODS).map((pod) => ({ pod })) },
  { weight: 4, arbitrary: address.map((ip) => ({ ip })) },
  {
    weight: 1,
    arbitrary: fc.constantFrom(
      ...["host", "remote-node", "world", "init", "health", "unmanaged", "ingress"],
      ...["kube-apiserver", "none"],
    ).map((entity) => ({ entity })),
  },
  {
    weight: 1,
    arbitrary: fc.subarray([
      "k8s:app=web",
      "k8s:io.kubernetes.pod.namespace=a",
      "k8s:io.cilium.k8s.policy.cluster=default",
      "app=db",
      "reserved:world",
      "other:tier=front",
      "cidr:192.0.2.0/24",
      "cidr:2001-db8--/32",
    ], { minLength: 1 }).map((labels) => ({ labels })),
  },
);

const named = fc.constantFrom("www.example.com", "example.com", "db.internal");

const target: fc.Arbitrary<object> = fc.oneof(
  { weight: 7, arbitrary: end },
  { weight: 1, arbitrary: fc.tuple(address, named).map(([ip, fqdn]) => ({ ip, fqdn })) },
);

const place: fc.Arbitrary<object> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      protocol: fc.constantFrom("TCP", "TCP", "UDP", "SCTP"),
      port: fc.constantFrom(0, 1, 53, 79, 80, 81, 85, 90, 91, 443, 8079, 8080, 65535),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom(0, 8, 3).map((type) => ({
      protocol: "ICMP",
      icmp: { family: "IPv4", type },
    })),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom(128, 129).map((type) => ({
      protocol: "ICMPv6",
      icmp: { family: "IPv6", type },
    })),
  },
);

const payload: fc.Arbitrary<object> = fc.oneof(
  { weight: 12, arbitrary: fc.constant({}) },
  {
    weight: 2,
    arbitrary: fc.constantFrom("/", "/public", "/private").map((path) => ({
      http: { method: "GET", path, host: "web", headers: {} },
    })),
  },
  { weight: 1, arbitrary: named.map((name) => ({ dns: { name } })) },
  { weight: 1, arbitrary: named.map((serverName) => ({ tls: { serverName } })) },
);

const query = fc.tuple(end, target, place, payload, fc.boolean()).map(
  ([from, to, place, payload, authenticated]) => ({
    from,
    to,
    ...place,
    ...payload,
    authenticated,
  }),
);
