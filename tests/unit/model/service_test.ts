/**
 * Services: where the endpoints come from and which may be chosen.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { ModelObject, SliceEndpoint } from "@/src/model/mod.ts";
import { pod, service, slice, worldOf } from "./world.ts";

const web = (name: string, address: string, fields = {}) =>
  pod({ name, addresses: [address], labels: { app: "web" }, ...fields });

/** `address:port` of the endpoints of the Service's ports. */
function endpointsOf(...objects: ModelObject[]): string[] {
  const model = worldOf(objects).services.get("default/thing");
  assert.ok(model !== undefined);
  return model.ports.flatMap(({ endpoints }) =>
    endpoints.map(({ address, port }) => `${address}:${port}`)
  );
}

describe("a Service without EndpointSlices", () => {
  it("has the ready pods of its namespace that its selector selects", () => {
    const objects = [
      service({}),
      web("b", "10.0.0.2"),
      web("a", "10.0.0.1"),
      pod({ name: "c", addresses: ["10.0.0.3"], labels: { app: "db" } }),
      web("d", "10.0.0.4", { namespace: "other" }),
      web("e", "10.0.0.5", { ready: false }),
      web("f", "10.0.0.6", { finished: true }),
      web("g", "10.0.0.7", { terminating: true }),
    ];
    assert.deepEqual(endpointsOf(...objects), ["10.0.0.1:8080", "10.0.0.2:8080"]);
  });

  it("has pods of the host network, too", () => {
    assert.deepEqual(endpointsOf(service({}), web("a", "192.0.2.1", { hostNetwork: true })), [
      "192.0.2.1:8080",
    ]);
  });

  it("has both families of a pod", () => {
    const both = pod({ addresses: ["10.0.0.1", "fd00::1"], labels: { app: "web" } });
    assert.deepEqual(endpointsOf(service({}), both), ["10.0.0.1:8080", "fd00::1:8080"]);
  });

  it("has those that terminate and still serve when no others are left", () => {
    const leaving = web("g", "10.0.0.7", { terminating: true });
    const gone = web("h", "10.0.0.8", { terminating: true, ready: false });
    assert.deepEqual(endpointsOf(service({}), leaving, gone), ["10.0.0.7:8080"]);
  });

  it("has nobody when all are unready, unless it publishes them", () => {
    const unready = web("e", "10.0.0.5", { ready: false });
    assert.deepEqual(endpointsOf(service({}), unready), []);
    assert.deepEqual(endpointsOf(service({ publishNotReady: true }), unready), ["10.0.0.5:8080"]);
  });

  it("looks a named target port up on each pod, by protocol", () => {
    const named = service({ ports: [{ name: "", port: 80, proto: "TCP", target: "http" }] });
    const ports = (port: number, proto = "TCP") => ({ ports: [{ name: "http", port, proto }] });
    const pods = [
      web("a", "10.0.0.1", ports(8080)),
      web("b", "10.0.0.2", ports(9090)),
      web("c", "10.0.0.3", ports(9090, "UDP")),
      web("d", "10.0.0.4"),
    ];
    assert.deepEqual(endpointsOf(named, ...pods), ["10.0.0.1:8080", "10.0.0.2:9090"]);
  });

  it("has nobody without a selector", () => {
    const model = worldOf([service({ selector: undefined }), web("a", "10.0.0.1")])
      .services.get("default/thing");
    assert.equal(model?.endpointsFrom, "nowhere");
    assert.deepEqual(model?.ports[0]?.endpoints, []);
  });

  it("translates TCP and UDP alone", () => {
    const ports = ["TCP", "UDP", "SCTP"].map((proto) => ({
      name: proto.toLowerCase(),
      port: 53,
      proto,
      target: 53,
    }));
    const model = worldOf([service({ ports })]).services.get("default/thing");
    assert.deepEqual(model?.ports.map(({ proto }) => proto), ["TCP", "UDP"]);
  });

  it("keeps to its own node when its traffic is local", () => {
    const objects = [
      service({ localOnly: true }),
      web("a", "10.0.0.1"),
      web("b", "10.0.0.2", { node: "node-b" }),
    ];
    assert.deepEqual(endpointsOf(...objects), ["10.0.0.1:8080"]);
  });
});

describe("a Service with EndpointSlices", () => {
  const endpoint = (address: string, fields: Partial<SliceEndpoint> = {}): SliceEndpoint => ({
    addresses: [address],
    ready: true,
    serving: true,
    terminating: false,
    node: "node-a",
    ...fields,
  });

  it("has their endpoints and not those of its selector", () => {
    const objects = [
      service({}),
      web("a", "10.0.0.1"),
      slice({ name: "s1", endpoints: [endpoint("10.0.0.8")] }),
      slice({ name: "s2", endpoints: [endpoint("10.0.0.9"), endpoint("10.0.0.8")] }),
      slice({ name: "s3", service: "other", endpoints: [endpoint("10.0.0.7")] }),
      slice({ name: "s4", namespace: "other", endpoints: [endpoint("10.0.0.6")] }),
    ];
    assert.deepEqual(endpointsOf(...objects), ["10.0.0.8:8080", "10.0.0.9:8080"]);
  });

  it("needs no selector", () => {
    const objects = [
      service({ selector: undefined }),
      slice({ endpoints: [endpoint("192.0.2.9")] }),
    ];
    assert.deepEqual(endpointsOf(...objects), ["192.0.2.9:8080"]);
  });

  it("matches ports by name and protocol", () => {
    const ports = [
      { name: "http", port: 80, proto: "TCP", target: 1 },
      { name: "dns", port: 53, proto: "UDP", target: 1 },
    ];
    const slices = slice({
      ports: [
        { name: "http", port: 8080, proto: "TCP" },
        { name: "dns", port: 5353, proto: "UDP" },
        { name: "dns", port: 5354, proto: "TCP" },
      ],
      endpoints: [endpoint("10.0.0.8")],
    });
    assert.deepEqual(endpointsOf(service({ ports }), slices), ["10.0.0.8:8080", "10.0.0.8:5353"]);
  });

  it("skips unready ones, and takes serving terminating ones when none is ready", () => {
    const leaving = endpoint("10.0.0.7", { ready: false, terminating: true });
    const unready = endpoint("10.0.0.6", { ready: false, serving: false });
    const ready = endpoint("10.0.0.5");
    const of = (...endpoints: SliceEndpoint[]) => endpointsOf(service({}), slice({ endpoints }));
    assert.deepEqual(of(leaving, unready, ready), ["10.0.0.5:8080"]);
    assert.deepEqual(of(leaving, unready), ["10.0.0.7:8080"]);
    assert.deepEqual(of(unready), []);
  });
});

describe("names of a pod", () => {
  it("are those of the Services that select it, in its namespace", () => {
    const objects = [
      web("a", "10.0.0.1"),
      service({ name: "backend" }),
      service({ name: "headless", clusterIps: [], selector: new Map([["app", "web"]]) }),
      service({ name: "other", namespace: "other" }),
      service({ name: "db", selector: new Map([["app", "db"]]) }),
    ];
    assert.deepEqual(worldOf(objects).workloads.get("default/a")?.dnsNames, [
      "backend",
      "backend.default",
      "backend.default.svc",
      "backend.default.svc.cluster.local",
      "headless",
      "headless.default",
      "headless.default.svc",
      "headless.default.svc.cluster.local",
    ]);
  });
});
