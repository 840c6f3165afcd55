/**
 * What holds for every compilation: it depends on the objects and not on their order, shares what
 * is the same, names its rules, and denies what is too large for it.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { encode, listing } from "@/src/asm/mod.ts";
import {
  compilePolicies,
  FlowReader,
  flowVerdict,
  interpret,
  POLICY_RULES_MAX,
  POLICY_SELECTORS_MAX,
  type PolicyPlan,
  type PolicySnapshot,
} from "@/src/compile/policy/mod.ts";
import type { PodObject } from "@/src/model/mod.ts";
import {
  labelsOfPod,
  type NetworkPolicyObject,
  type Peer,
  type Rule,
} from "@/src/model/network_policy/mod.ts";
import { pod } from "../model/world.ts";

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

function snapshot(parts: Partial<PolicySnapshot>): PolicySnapshot {
  return { ...EMPTY, ...parts };
}

function having(key: string, value: string) {
  const requirement = { source: "k8s", key, operator: "In" as const, values: [value] };
  return { requirements: [requirement] };
}

function peer(app: string): Peer {
  return { kind: "labels", selector: having("app", app) };
}

/** An ingress rule of TCP ports. */
function rule(peers: Rule["peers"], first: number, last = first, parts: Partial<Rule> = {}): Rule {
  return {
    path: ["spec", "ingress", first],
    line: 1,
    direction: "ingress",
    action: "allow",
    peers,
    ports: [{ path: [], ports: [{ transport: "TCP", first, last }], layer7: undefined }],
    authentication: undefined,
    ...parts,
  };
}

function policy(name: string, subject: string, rules: readonly Rule[]): NetworkPolicyObject {
  return {
    kind: "CiliumNetworkPolicy",
    namespace: "default",
    name,
    file: undefined,
    specs: [{
      path: ["spec"],
      subject: { kind: "endpoint", selector: having("app", subject) },
      defaultDeny: { ingress: true, egress: false },
      rules,
    }],
  };
}

function app(name: string, app: string, address: string): PodObject {
  return pod({ name, labels: { app }, addresses: [address] });
}

const PODS = [
  app("web", "web", "10.0.0.1"),
  app("web-2", "web", "10.0.0.2"),
  app("client", "client", "10.0.0.3"),
  app("db", "db", "10.0.0.4"),
];

const POLICIES = [
  policy("web", "web", [rule([peer("client")], 80, 90), rule("any", 443)]),
  policy("web-deny", "web", [rule([peer("db")], 1, 1000, { action: "deny" })]),
  policy("db", "db", [rule([peer("web")], 5432)]),
];

function ask(plan: PolicyPlan, from: PolicySnapshot, source: string, target: string, port: number) {
  const found = new FlowReader(from, plan).questionsOf({
    from: { kind: "pod", key: `default/${source}` },
    to: { kind: "pod", key: `default/${target}` },
    transport: "TCP",
    port,
    family: undefined,
    authenticated: false,
  });
  assert.ok("sides" in found);
  return flowVerdict(plan, found.sides, found.sides.map((side) => interpret(plan, side)));
}

/** Everything that would be put into the kernel. */
function render(plan: PolicyPlan): string {
  return JSON.stringify({
    programs: plan.programs.map(({ program, members }) => [encode(program).toHex(), members]),
    subjects: [...plan.subjects],
    rows: plan.rows.map((row) => [...row]),
    places: plan.places.map(({ identity, row }) => [identity.range.text, row]),
  });
}

describe("compilePolicies()", () => {
  it("gives the same bytes for the same objects in any order", () => {
    const one = snapshot({ policies: POLICIES, pods: PODS });
    const other = snapshot({ policies: POLICIES.toReversed(), pods: PODS.toReversed() });
    const sorted = (plan: PolicyPlan) => ({
      ...plan,
      programs: plan.programs.map((one) => ({ ...one, members: [...one.members].sort() })),
      subjects: new Map([...plan.subjects].sort()),
    });
    assert.equal(render(sorted(compilePolicies(one))), render(sorted(compilePolicies(other))));
  });

  it("makes one program for all pods of the same policies", () => {
    const plan = compilePolicies(snapshot({ policies: POLICIES, pods: PODS }));
    assert.equal(plan.subjects.get("pod default/web"), plan.subjects.get("pod default/web-2"));
    assert.notEqual(plan.subjects.get("pod default/web"), plan.subjects.get("pod default/db"));
  });

  it("changes one place for a new pod of known labels, and nothing else", () => {
    const before = compilePolicies(snapshot({ policies: POLICIES, pods: PODS }));
    const pods = [...PODS, app("client-2", "client", "10.0.0.9")];
    const after = compilePolicies(snapshot({ policies: POLICIES, pods }));
    const bytes = (plan: PolicyPlan) => plan.programs.map(({ program }) => encode(program).toHex());
    assert.deepEqual(bytes(after), bytes(before));
    assert.deepEqual(after.rows, before.rows);
    const places = (plan: PolicyPlan) =>
      plan.places.map(({ identity, row }) => `${identity.range.text} ${row}`);
    const known = new Set(places(before));
    assert.deepEqual(places(after).filter((place) => !known.has(place)).length, 1);
    assert.equal(after.places.length, before.places.length + 1);
  });

  it("takes an address that two pods have for nobody's", () => {
    const pods = [...PODS, app("twin", "db", "10.0.0.3")];
    const rowAt = (pods: readonly PodObject[]) => {
      const plan = compilePolicies(snapshot({ policies: POLICIES, pods }));
      const place = plan.places.find(({ identity }) => identity.range.text === "10.0.0.3/32");
      return [...plan.rows[(place?.row ?? 0) - 1] ?? []];
    };
    assert.notDeepEqual(rowAt(PODS), [0, 0]);
    assert.deepEqual(rowAt(pods), [0, 0]);
    assert.deepEqual(rowAt(pods.toReversed()), [0, 0]);
  });

  it("names the rule that decided", () => {
    const world = snapshot({ policies: POLICIES, pods: PODS });
    const plan = compilePolicies(world);
    const named = (name: string, first: number) => ({
      kind: "CiliumNetworkPolicy",
      namespace: "default",
      name,
      path: `spec.ingress[${first}]`,
    });
    assert.deepEqual(ask(plan, world, "client", "web", 85), {
      verdict: "allow",
      rule: named("web", 80),
    });
    assert.deepEqual(ask(plan, world, "db", "web", 443), {
      verdict: "deny",
      direction: "ingress",
      reason: "policy-denied",
      rule: named("web-deny", 1),
    });
    assert.deepEqual(ask(plan, world, "client", "web", 91), {
      verdict: "deny",
      direction: "ingress",
      reason: "default-deny",
    });
    assert.deepEqual(ask(plan, world, "web", "client", 1), { verdict: "allow" });
  });

  it("lists a program with the rule of each of its parts", () => {
    const plan = compilePolicies(snapshot({ policies: POLICIES, pods: PODS }));
    const program = plan.programs[plan.subjects.get("pod default/web") ?? -1]?.program;
    assert.ok(program);
    const text = listing(program);
    assert.match(text, /; allow: CiliumNetworkPolicy default\/web spec\.ingress\[80\]/);
    assert.match(text, /; policy-denied: CiliumNetworkPolicy default\/web-deny spec\.ingress\[1\]/);
    assert.match(text, /; peers of CiliumNetworkPolicy default\/web spec\.ingress\[80\]/);
    for (const line of text.split("\n")) assert.doesNotMatch(line, /\(opcode/);
  });

  it("shares the code of ports that are decided alike", () => {
    const size = (ports: number) => {
      const rules = Array.from({ length: ports }, (_, index) => rule([peer("client")], 10 * index));
      const clauses = rules.flatMap(({ ports }) => ports === "any" ? [] : ports);
      const merged = [rule([peer("client")], 0, 0, { ports: clauses })];
      const plan = compilePolicies(
        snapshot({ policies: [policy("p", "web", merged)], pods: PODS }),
      );
      return plan.programs[plan.subjects.get("pod default/web") ?? -1]?.program.length ?? 0;
    };
    assert.ok(size(200) - size(100) < 100 * 6, "a port costs its comparisons and no more");
  });
});

describe("policies that are too large", () => {
  /** The verdicts on the pods of the large policy and of another, and the error. */
  function judge(large: NetworkPolicyObject) {
    const other = policy("db", "db", [rule([peer("client")], 5432)]);
    const world = snapshot({ policies: [large, other], pods: PODS });
    const plan = compilePolicies(world);
    const compiled = plan.programs[plan.subjects.get("pod default/web") ?? -1];
    return {
      limit: compiled?.error?.limit,
      large: ask(plan, world, "client", "web", 80),
      other: ask(plan, world, "client", "db", 5432).valueOf(),
    };
  }

  it("deny the pods that they select, and no others: nested ranges", () => {
    const rules = Array.from({ length: 3000 }, (_, index) => rule("any", index, 65_535 - index));
    const { limit, large, other } = judge(policy("large", "web", rules));
    assert.equal(limit, "ranges");
    assert.deepEqual(large, { verdict: "deny", direction: "ingress", reason: "default-deny" });
    assert.equal("verdict" in other && other.verdict, "allow");
  });

  it("deny the pods that they select, and no others: rules", () => {
    const one = rule("any", 80);
    const rules = Array.from({ length: POLICY_RULES_MAX + 1 }, () => one);
    const { limit, large, other } = judge(policy("large", "web", rules));
    assert.equal(limit, "rules");
    assert.equal("verdict" in large && large.verdict, "deny");
    assert.equal("verdict" in other && other.verdict, "allow");
  });

  it("deny the pods that they select, and no others: peers", () => {
    const peers = Array.from({ length: POLICY_SELECTORS_MAX + 1 }, (_, index) => peer(`a${index}`));
    const { limit, large, other } = judge(policy("large", "web", [rule(peers, 80)]));
    assert.equal(limit, "selectors");
    assert.equal("verdict" in large && large.verdict, "deny");
    assert.equal("verdict" in other && other.verdict, "allow");
  });
});

describe("the row of an identity without a place", () => {
  it("is that of a pod with its labels", () => {
    const plan = compilePolicies(snapshot({ policies: POLICIES, pods: PODS }));
    const client = PODS[2];
    assert.ok(client);
    const labels = labelsOfPod(client, undefined);
    const place = plan.places.find(({ identity }) => identity.address === "10.0.0.3");
    const row = plan.rowOf({ labels, address: undefined, kind: "other", ports: [] });
    assert.deepEqual(row, plan.rows[(place?.row ?? 0) - 1]);
  });
});
