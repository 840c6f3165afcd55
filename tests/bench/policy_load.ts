/**
 * Policies, pods and flows of any number, for measurements: what grows is said, all else is equal.
 *
 * @module
 */

import { parseCidr, type PodObject } from "@/src/model/mod.ts";
import type { LabelSelector, NetworkPolicyObject, Rule } from "@/src/model/network_policy/mod.ts";
import type { PolicySnapshot } from "@/src/compile/policy/mod.ts";

/** How large a world is. */
export interface LoadSize {
  readonly policies: number;
  readonly pods: number;
}

/** Pods of one application of the load. */
const PODS_PER_APP = 10;

/** Policies over many applications: each is for one, and lets another and a range in. */
export function largeWorld({ policies, pods }: LoadSize): PolicySnapshot {
  const apps = Math.max(1, Math.ceil(pods / PODS_PER_APP));
  return {
    ...EMPTY,
    pods: Array.from({ length: pods }, (_, index) => podOf(index, `app-${index % apps}`)),
    policies: Array.from(
      { length: policies },
      (_, index) =>
        policyOf(index, `app-${index % apps}`, [
          ruleOf(index, `app-${(index + 1) % apps}`, 8000 + index % 100),
          rangeRule(index),
        ]),
    ),
  };
}

/** One pod that is subject to so many rules, each of a peer and a port of its own. */
export function manyRules(rules: number): PolicySnapshot {
  return {
    ...EMPTY,
    pods: [podOf(0, "server"), podOf(1, "peer-0"), podOf(2, `peer-${rules - 1}`)],
    policies: [policyOf(
      0,
      "server",
      Array.from({ length: rules }, (_, index) => ruleOf(index, `peer-${index}`, portOf(index))),
    )],
  };
}

/** The port of the rule of this number. */
export function portOf(rule: number): number {
  return 1000 + 5 * rule;
}

const EMPTY: PolicySnapshot = {
  policies: [],
  groups: [],
  pods: [],
  namespaces: [],
  nodes: [],
  services: [],
  slices: [],
  enforcement: "default",
};

/** The address of the pod of this number. */
export function addressOf(pod: number): string {
  return `10.${64 + (pod >> 16)}.${(pod >> 8) & 255}.${pod & 255}`;
}

function podOf(index: number, app: string): PodObject {
  return {
    kind: "Pod",
    namespace: "load",
    name: `pod-${index}`,
    uid: "",
    labels: new Map([["app", app]]),
    node: "n1",
    serviceAccount: "default",
    hostNetwork: false,
    addresses: [addressOf(index)],
    finished: false,
    terminating: false,
    ready: true,
    ownCertificate: false,
    ports: [],
  };
}

function policyOf(index: number, app: string, rules: readonly Rule[]): NetworkPolicyObject {
  return {
    kind: "CiliumNetworkPolicy",
    namespace: "load",
    name: `policy-${String(index).padStart(6, "0")}`,
    file: undefined,
    specs: [{
      path: ["spec"],
      subject: { kind: "endpoint", selector: labelled(app) },
      defaultDeny: { ingress: true, egress: false },
      rules,
    }],
  };
}

function ruleOf(index: number, app: string, port: number): Rule {
  return {
    path: ["spec", "ingress", index],
    line: undefined,
    direction: "ingress",
    action: "allow",
    peers: [{ kind: "labels", selector: labelled(app) }],
    ports: [{
      path: [],
      ports: [{ transport: "TCP", first: port, last: port }],
      layer7: undefined,
    }],
    authentication: undefined,
  };
}

function rangeRule(index: number): Rule {
  const cidr = parseCidr(`192.${index % 100}.${index % 250}.0/24`);
  if (cidr === undefined) throw new RangeError("Cannot make a range");
  return {
    ...ruleOf(index, "", 443),
    peers: [{ kind: "cidr", cidr, except: [], scope: "outside" }],
  };
}

function labelled(app: string): LabelSelector {
  return { requirements: [{ source: "k8s", key: "app", operator: "In", values: [app] }] };
}
