/**
 * Documents become objects of the model, or faults with the path of the field and a reason that its
 * author can act on. (Policies: `policy_document_test.ts`.)
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { convert, faultsOf, objectOf } from "./converted.ts";

describe("a Pod", () => {
  const pod = (rest: string) => `apiVersion: v1\nkind: Pod\nmetadata: {name: web}\n${rest}`;

  it("is read with defaults where it says nothing", () => {
    assert.deepEqual(objectOf("Pod", pod("")), {
      kind: "Pod",
      namespace: "default",
      name: "web",
      uid: "",
      labels: new Map(),
      node: "",
      serviceAccount: "default",
      hostNetwork: false,
      addresses: [],
      finished: false,
      terminating: false,
      ready: true,
      ownCertificate: false,
      ports: [],
    });
  });

  it("has canonical addresses of both families", () => {
    const { addresses } = objectOf(
      "Pod",
      pod('status: {podIP: 10.0.0.1, podIPs: [{ip: 10.0.0.1}, {ip: "FD00:0::1"}]}'),
    );
    assert.deepEqual(addresses, ["10.0.0.1", "fd00::1"]);
    assert.deepEqual(objectOf("Pod", pod("status: {podIP: 10.0.0.1}")).addresses, ["10.0.0.1"]);
    assert.deepEqual(objectOf("Pod", pod('status: {podIP: ""}')).addresses, []);
  });

  it("cannot have addresses that are nobody's to have", () => {
    for (const ip of ["127.0.0.1", "::1", "169.254.169.254", "fe80::1", "224.0.0.1", "0.0.0.0"]) {
      assert.deepEqual(faultsOf(pod(`status: {podIPs: [{ip: "${ip}"}]}`)), [
        `status.podIPs[0].ip: "${ip}" cannot be the address of a pod or node`,
      ]);
    }
    assert.deepEqual(faultsOf(pod("status: {podIPs: [{ip: 10.0.0.1}, {ip: 10.0.0.2}]}")), [
      "status.podIPs: has several of one family",
    ]);
    assert.deepEqual(faultsOf(pod('status: {podIPs: [{ip: "10.0.0.300"}]}')), [
      'status.podIPs[0].ip: "10.0.0.300" is no IP address',
    ]);
  });

  it("is ready by its condition, else by its phase", () => {
    const ready = (status: string) => objectOf("Pod", pod(`status: ${status}`)).ready;
    const condition = (status: string) => `conditions: [{type: Ready, status: "${status}"}]`;
    assert.equal(ready(`{phase: Running, ${condition("True")}}`), true);
    assert.equal(ready(`{phase: Running, ${condition("False")}}`), false);
    assert.equal(ready("{phase: Running}"), true);
    assert.equal(ready("{phase: Pending}"), false);
    assert.equal(ready("{}"), true);
  });

  it("says when it is gone or going", () => {
    for (const phase of ["Succeeded", "Failed"]) {
      assert.equal(objectOf("Pod", pod(`status: {phase: ${phase}}`)).finished, true);
    }
    const leaving = pod("").replace(
      "name: web",
      "name: web, deletionTimestamp: 2026-01-01T00:00:00Z",
    );
    assert.equal(objectOf("Pod", leaving).terminating, true);
  });

  it("has its namespace and its annotations of the mesh", () => {
    const annotated = (key: string, value: string) =>
      pod("").replace("name: web", `name: web, annotations: {mesh.cilium.io/${key}: "${value}"}`);
    assert.equal(objectOf("Pod", annotated("own-certificate", "true")).ownCertificate, true);
    assert.equal(objectOf("Pod", annotated("own-certificate", "yes")).ownCertificate, false);
    const netns = annotated("netns", "/run/netns/web");
    assert.equal(objectOf("Pod", netns).netns, "/run/netns/web");
    assert.equal(objectOf("Pod", netns, { netnsAnnotation: false }).netns, undefined);
    assert.deepEqual(faultsOf(annotated("netns", "web")), [
      'metadata.annotations["mesh.cilium.io/netns"]: must be an absolute path: current value is' +
      ' "web"',
    ]);
  });

  it("has the named ports of all of its containers", () => {
    const spec = `spec:
  containers:
    - ports: [{name: http, containerPort: 8080}, {containerPort: 1}]
    - ports: [{name: dns, containerPort: 53, protocol: UDP}]
`;
    assert.deepEqual(objectOf("Pod", pod(spec)).ports, [
      { name: "http", port: 8080, proto: "TCP" },
      { name: "dns", port: 53, proto: "UDP" },
    ]);
  });

  it("is not asked about fields that weft does not read", () => {
    const spec = "spec: {nodeName: node-a, priority: x, containers: [{image: 7}]}";
    assert.equal(objectOf("Pod", pod(spec)).node, "node-a");
  });

  it("takes null for absent, as the API does", () => {
    const yaml = "apiVersion: v1\nkind: Pod\nmetadata: {name: web, labels: }\nspec:\nstatus:\n";
    assert.equal(objectOf("Pod", yaml).labels.size, 0);
  });
});

describe("the other kinds", () => {
  it("Node: its addresses and pod CIDRs", () => {
    const node = objectOf(
      "Node",
      `apiVersion: v1
kind: Node
metadata: {name: node-a, uid: u1}
spec: {podCIDR: 10.0.1.0/24, podCIDRs: [10.0.1.0/24, "fd00:1::/64"]}
status:
  addresses:
    - {type: InternalIP, address: 192.0.2.1}
    - {type: ExternalIP, address: "2001:db8::1"}
    - {type: Hostname, address: node-a}
`,
    );
    assert.equal(node.namespace, "");
    assert.deepEqual(node.addresses, ["192.0.2.1", "2001:db8::1"]);
    assert.deepEqual(node.podCidrs.map(({ text }) => text), ["10.0.1.0/24", "fd00:1::/64"]);
  });

  it("Node: faults", () => {
    const node = (rest: string) => `apiVersion: v1\nkind: Node\nmetadata: {name: n}\n${rest}`;
    assert.deepEqual(faultsOf(node("spec: {podCIDRs: [10.0.0.0]}")), [
      'spec.podCIDRs[0]: "10.0.0.0" is no CIDR',
    ]);
    assert.deepEqual(faultsOf(node("status: {addresses: [{type: InternalIP, address: x}]}")), [
      'status.addresses[0].address: "x" is no IP address',
    ]);
  });

  const service = (spec: string) =>
    objectOf("Service", `apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: ${spec}`);

  it("Service: its cluster addresses alone", () => {
    const both = '{clusterIP: 10.96.0.1, clusterIPs: [10.96.0.1, "fd00:96::1"]}';
    assert.deepEqual(service(both).clusterIps, ["10.96.0.1", "fd00:96::1"]);
    assert.deepEqual(service("{clusterIP: 10.96.0.1}").clusterIps, ["10.96.0.1"]);
    assert.deepEqual(service("{clusterIP: None}").clusterIps, []);
    assert.deepEqual(service("{}").clusterIps, []);
    assert.deepEqual(service("{type: ExternalName, clusterIP: 10.96.0.1}").clusterIps, []);
    const external = "{clusterIP: 10.96.0.1, externalIPs: [192.0.2.9]}";
    assert.deepEqual(service(external).clusterIps, ["10.96.0.1"]);
  });

  it("Service: target ports by number, by name and by default", () => {
    const ports = "{ports: [{port: 80}, {port: 81, targetPort: 0}, {port: 82, targetPort: 8082}," +
      ' {port: 83, targetPort: "8083"}, {port: 84, targetPort: http, protocol: UDP, name: d}]}';
    assert.deepEqual(service(ports).ports, [
      { name: "", port: 80, proto: "TCP", target: 80 },
      { name: "", port: 81, proto: "TCP", target: 81 },
      { name: "", port: 82, proto: "TCP", target: 8082 },
      { name: "", port: 83, proto: "TCP", target: 8083 },
      { name: "d", port: 84, proto: "UDP", target: "http" },
    ]);
  });

  it("Service: an empty selector selects nothing", () => {
    assert.equal(service("{selector: {}}").selector, undefined);
    assert.deepEqual(service("{selector: {a: b}}").selector, new Map([["a", "b"]]));
  });

  it("EndpointSlice: endpoints with their conditions", () => {
    const slice = objectOf(
      "EndpointSlice",
      `apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: s-1, labels: {kubernetes.io/service-name: s}}
addressType: IPv4
ports: [{port: 8080}, {name: all}]
endpoints:
  - {addresses: [10.0.0.1]}
  - {addresses: [10.0.0.2], conditions: {ready: false, serving: true, terminating: true}}
  - {addresses: [10.0.0.3], conditions: {ready: false}, nodeName: node-b}
`,
    );
    assert.equal(slice.service, "s");
    assert.deepEqual(slice.ports, [{ name: "", port: 8080, proto: "TCP" }]);
    assert.deepEqual(
      slice.endpoints.map(({ ready, serving, terminating }) => [ready, serving, terminating]),
      [[true, true, false], [false, true, true], [false, false, false]],
    );
  });

  it("EndpointSlice: addresses of its own family that can be reached", () => {
    const slice = (address: string) =>
      `apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: s}\n` +
      `addressType: IPv4\nendpoints: [{addresses: ["${address}"]}]`;
    assert.deepEqual(faultsOf(slice("127.0.0.1")), [
      'endpoints[0].addresses[0]: "127.0.0.1" cannot be the address of a pod or node',
    ]);
    assert.deepEqual(faultsOf(slice("fd00::1")), [
      'endpoints[0].addresses[0]: "fd00::1" is not IPv4',
    ]);
  });

  it("WeftNode: under its own name", () => {
    const weftNode = (name: string) =>
      `apiVersion: mesh.cilium.io/v1alpha1\nkind: WeftNode\nmetadata: {name: ${name}}\n` +
      "spec: {node: node-a, ready: true, later: 1}";
    assert.equal(objectOf("WeftNode", weftNode("node-a")).ready, true);
    assert.deepEqual(faultsOf(weftNode("node-b")), [
      'spec.node: must be "node-b", the object\'s own name: current value is "node-a"',
    ]);
  });
});

describe("kinds that are not weft's", () => {
  const type = (apiVersion: string, kind: string) =>
    convert(`apiVersion: ${apiVersion}\nkind: ${kind}\nmetadata: {name: x}`).type;

  for (
    const [apiVersion, kind] of [
      ["apps/v1", "Deployment"],
      ["v1", "ConfigMap"],
      ["serving.knative.dev/v1", "Service"],
      ["networking.k8s.io/v1", "Ingress"],
    ] as const
  ) {
    it(`are ignored: ${kind} of ${apiVersion}`, () =>
      assert.equal(type(apiVersion, kind), "ignored"));
  }

  for (
    const [apiVersion, kind] of [
      ["cilium.io/v2", "CiliumNetworkPolicy"],
      ["cilium.io/v2", "CiliumClusterwideNetworkPolicy"],
      ["cilium.io/v2alpha1", "CiliumServiceMeshPolicie"],
      ["networking.k8s.io/v1", "NetworkPolicy"],
      ["policy.networking.k8s.io/v1alpha1", "AdminNetworkPolicy"],
      ["gateway.networking.k8s.io/v1", "HTTPRoute"],
      ["mesh.cilium.io/v1alpha1", "WeftThing"],
    ] as const
  ) {
    it(`are reported when they are policies: ${kind}`, () => {
      assert.equal(type(apiVersion, kind), "unsupported");
    });
  }

  it("need a kind and a version", () => {
    assert.deepEqual(faultsOf("kind: Pod"), ["apiVersion: is required"]);
    assert.deepEqual(faultsOf("just text"), [": must be an object, not a string"]);
    assert.deepEqual(faultsOf("[1]"), [": must be an object, not an array"]);
  });
});
