/**
 * Whose an address is: each clause of the issuer binding of DESIGN §6 by itself.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { ModelObject, Owner, PodObject } from "@/src/model/mod.ts";
import { node, pod, worldOf } from "./world.ts";

const ADDRESS = "10.0.1.5";

function ownerOf(objects: readonly ModelObject[], address = ADDRESS): string {
  return show(worldOf(objects).owners.get(address));
}

function show(owner: Owner | undefined): string {
  if (owner === undefined) return "nobody";
  if (owner.kind === "pod") return `pod ${owner.workload.name}`;
  if (owner.kind === "node") return `node ${owner.node}${owner.local ? " (local)" : ""}`;
  const claimants = [...owner.workloads.map(({ name }) => name), ...owner.nodes];
  return `conflict of ${claimants.join(", ")}`;
}

const claim = (name: string, fields: Partial<Omit<PodObject, "labels">> = {}) =>
  pod({ name, addresses: [ADDRESS], ...fields });

describe("an address", () => {
  it("is that of the live pod that lists it", () => {
    assert.equal(ownerOf([claim("a")]), "pod a");
  });

  it("is nobody's when no pod lists it", () => {
    assert.equal(ownerOf([pod({ name: "a", addresses: ["10.0.1.6"] })]), "nobody");
  });

  it("is not that of a pod that has finished", () => {
    assert.equal(ownerOf([claim("a", { finished: true })]), "nobody");
    assert.equal(ownerOf([claim("a", { finished: true }), claim("b")]), "pod b");
  });

  it("is not that of a pod on no node", () => {
    assert.equal(ownerOf([claim("a", { node: "" })]), "conflict of a");
  });

  it("is not that of a host-network pod, but of its node", () => {
    const host = claim("a", { hostNetwork: true });
    assert.equal(ownerOf([host]), "nobody");
    assert.equal(ownerOf([host, node({ name: "node-b", addresses: [ADDRESS] })]), "node node-b");
  });

  it("is nobody's when two live pods list it", () => {
    assert.equal(ownerOf([claim("a"), claim("b")]), "conflict of a, b");
    assert.equal(ownerOf([claim("a"), claim("b", { node: "node-b" })]), "conflict of a, b");
    assert.equal(ownerOf([claim("a"), claim("b", { hostNetwork: true })]), "conflict of a, b");
  });

  it("is one pod's when it lists it twice", () => {
    assert.equal(ownerOf([claim("a", { addresses: [ADDRESS, ADDRESS] })]), "pod a");
  });

  it("must lie in the pod CIDRs of the pod's node, where it has any", () => {
    const cidrs = (...podCidrs: string[]) => node({ name: "node-a", podCidrs });
    assert.equal(ownerOf([claim("a"), cidrs("10.0.1.0/24")]), "pod a");
    assert.equal(ownerOf([claim("a"), cidrs("fd00::/64", "10.0.0.0/16")]), "pod a");
    assert.equal(ownerOf([claim("a"), cidrs("10.0.2.0/24")]), "conflict of a");
    assert.equal(ownerOf([claim("a"), cidrs("fd00::/64")]), "conflict of a");
    assert.equal(ownerOf([claim("a"), cidrs()]), "pod a");
    assert.equal(
      ownerOf([claim("a"), node({ name: "node-b", podCidrs: ["10.0.2.0/24"] })]),
      "pod a",
    );
  });

  it("is disputed by a claim from outside the claimant's pod CIDRs, too", () => {
    const stolen = node({ name: "node-b", podCidrs: ["10.0.2.0/24"] });
    assert.equal(ownerOf([claim("a"), claim("x", { node: "node-b" }), stolen]), "conflict of a, x");
  });

  it("stays a terminating pod's while nobody else lists it, and then goes over", () => {
    const leaving = claim("a", { terminating: true });
    assert.equal(ownerOf([leaving]), "pod a");
    assert.equal(ownerOf([leaving, claim("b")]), "pod b");
    assert.equal(ownerOf([leaving, claim("b", { terminating: true })]), "conflict of a, b");
  });

  it("does not go over from a pod that still runs here on the word of another node", () => {
    const leaving = claim("a", { terminating: true });
    assert.equal(ownerOf([leaving, claim("b", { node: "node-b" })]), "conflict of a, b");
    const remote = claim("a", { terminating: true, node: "node-b" });
    assert.equal(ownerOf([remote, claim("b", { node: "node-c" })]), "pod b");
  });

  it("is not taken by a node from a pod of this node, even if its claim is void", () => {
    const objects = [
      claim("a"),
      node({ name: "node-a", podCidrs: ["10.0.2.0/24"] }),
      node({ name: "node-b", addresses: [ADDRESS] }),
    ];
    assert.equal(ownerOf(objects), "conflict of a, node-b");
  });

  it("is a node's when its Node lists it", () => {
    assert.equal(ownerOf([node({ name: "node-a", addresses: [ADDRESS] })]), "node node-a (local)");
    assert.equal(ownerOf([node({ name: "node-b", addresses: [ADDRESS] })]), "node node-b");
  });

  it("is nobody's when two nodes, or a pod and a node, list it", () => {
    const [a, b] = ["node-a", "node-b"].map((name) => node({ name, addresses: [ADDRESS] }));
    assert.ok(a !== undefined && b !== undefined);
    assert.equal(ownerOf([a, b]), "conflict of node-a, node-b");
    assert.equal(ownerOf([claim("p"), b]), "conflict of p, node-b");
  });

  it("is not taken from a node by a pod whose claim is void", () => {
    const objects = [
      node({ name: "node-a", addresses: [ADDRESS] }),
      node({ name: "node-b", podCidrs: ["10.0.2.0/24"] }),
      claim("x", { node: "node-b" }),
    ];
    assert.equal(ownerOf(objects), "node node-a (local)");
  });

  it("says who disputes it", () => {
    const owner = worldOf([claim("a"), claim("b")]).owners.get(ADDRESS);
    assert.ok(owner?.kind === "conflict");
    assert.equal(
      owner.cause.sentence,
      'Several live pods list 10.0.1.5: pod "default/a", pod "default/b"; 10.0.1.5 is nobody\'s',
    );
  });
});
