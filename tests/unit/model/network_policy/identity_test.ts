/**
 * The labels that policies see: what is derived cannot be claimed.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  formatLabel,
  type LabelSelector,
  labelsOfPod,
  selectorText,
} from "@/src/model/network_policy/mod.ts";

describe("the labels of a pod", () => {
  const pod = { namespace: "default", serviceAccount: "web", labels: new Map([["app", "a"]]) };

  it("are its own and those of its namespace, service account and cluster", () => {
    assert.deepEqual(
      labelsOfPod(pod, new Map([["team", "x"]])).map(formatLabel).sort(),
      [
        "k8s:app=a",
        "k8s:io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name=default",
        "k8s:io.cilium.k8s.namespace.labels.team=x",
        "k8s:io.cilium.k8s.policy.cluster=default",
        "k8s:io.cilium.k8s.policy.serviceaccount=web",
        "k8s:io.kubernetes.pod.namespace=default",
      ],
    );
  });

  it("cannot claim another namespace, its labels, or another service account", () => {
    const labels = new Map([
      ["io.kubernetes.pod.namespace", "kube-system"],
      ["io.cilium.k8s.namespace.labels.team", "admins"],
      ["io.cilium.k8s.policy.serviceaccount", "root"],
      ["io.cilium.k8s.policy.cluster", "other"],
    ]);
    assert.deepEqual(
      labelsOfPod({ ...pod, labels }, undefined),
      labelsOfPod({ ...pod, labels: new Map() }, undefined),
    );
  });
});

describe("the text of a selector", () => {
  it("is the same for the same requirements, however they are written", () => {
    const requirement = (key: string, values: readonly string[]) => ({
      source: "any",
      key,
      operator: "In" as const,
      values,
    });
    const [a, b] = [requirement("a", ["1", "2"]), requirement("b", ["3"])];
    const one: LabelSelector = { requirements: [a, b] };
    const other: LabelSelector = { requirements: [b, requirement("a", ["2", "1", "2"]), b] };
    assert.equal(selectorText(one), selectorText(other));
    assert.notEqual(selectorText(one), selectorText({ requirements: [a] }));
  });
});
