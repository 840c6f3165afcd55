/**
 * What is denied because its payload cannot be read is exactly what no rule without a Layer 7 part
 * allows and a rule with one might; everything else is as if those rules were not there.
 *
 * Checked against the reference evaluator on two worlds made of the same policies: one without the
 * rules that need a payload, one in which they need none.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { type Engine, ReferenceEngine } from "@/src/evaluate/mod.ts";
import { parseCidr } from "@/src/model/mod.ts";
import type {
  CidrPeer,
  PolicySpec,
  PolicyWorld,
  PortClause,
  Rule,
} from "@/src/model/network_policy/mod.ts";
import { queryOf, worldOf } from "./policy_case.ts";
import { Engines, wordsOf } from "./policy_engines.ts";
import { policyCases } from "./policy_worlds.ts";

const CASES = 400;
const FLOWS = 50;

describe("the compiled program", () => {
  it("denies with l7-unavailable exactly what only a rule with a Layer 7 part might allow", () => {
    let unavailable = 0;
    fc.assert(
      fc.property(policyCases(FLOWS), ({ objects, queries }) => {
        const world = simplified(worldOf(objects));
        using engines = new Engines(world, "default", false);
        const without = referenceOf(withRules(world, withoutPayload));
        const open = referenceOf(withRules(world, needingNone));
        for (const query of queries.map(connectionOf)) {
          const got = wordsOf(engines.ask(query).interpreter);
          if (got.endsWith("policy-conflict")) continue; // no other reason explains it
          const plain = wordsOf(without.decide(query));
          const most = wordsOf(open.decide(query));
          const might = plain.endsWith("default-deny") && plain !== most;
          const wanted = might ? plain.replace("default-deny", "l7-unavailable") : plain;
          assert.equal(got, wanted, JSON.stringify(query));
          if (might) unavailable++;
        }
      }),
      { numRuns: CASES },
    );
    assert.ok(unavailable > 40, `only ${unavailable} flows needed their payload read`);
  });
});

function referenceOf(world: PolicyWorld): Engine {
  return new ReferenceEngine(world, { enforcement: "default" });
}

/** A query without its payload. */
function connectionOf(query: object) {
  const { http: _, dns: __, tls: ___, ...rest } = query as Record<string, unknown>;
  return queryOf(rest);
}

/** Every allow names its rule, and nothing but rules, ports and peers decides. */
function simplified(world: PolicyWorld): PolicyWorld {
  const policies = world.policies.map((policy) => ({
    ...policy,
    specs: policy.specs.map((spec): PolicySpec => ({
      ...spec,
      defaultDeny: { ingress: true, egress: true },
      rules: spec.rules.map((rule) => ({ ...rule, authentication: undefined })),
    })),
  }));
  return { ...world, policies };
}

function withRules(world: PolicyWorld, change: (rule: Rule) => Rule[]): PolicyWorld {
  const policies = world.policies.map((policy) => ({
    ...policy,
    specs: policy.specs.map((spec) => ({ ...spec, rules: spec.rules.flatMap(change) })),
  }));
  return { ...world, policies };
}

/** The rule without what needs a payload or a name; none where nothing is left. */
function withoutPayload(rule: Rule): Rule[] {
  const peers = rule.peers === "any"
    ? rule.peers
    : rule.peers.filter(({ kind }) => kind !== "name");
  if (rule.ports === "any") return [{ ...rule, peers }];
  const ports = rule.ports.filter(({ layer7 }) => layer7 === undefined);
  return ports.length === 0 ? [] : [{ ...rule, peers, ports }];
}

/** The rule as if no payload and no name had to be known. */
function needingNone(rule: Rule): Rule[] {
  const peers = rule.peers === "any"
    ? rule.peers
    : rule.peers.flatMap((peer) => peer.kind === "name" ? EVERYWHERE : [peer]);
  const ports = rule.ports === "any"
    ? rule.ports
    : rule.ports.map((clause): PortClause => ({ ...clause, layer7: undefined }));
  return [{ ...rule, peers, ports }];
}

const EVERYWHERE = ["0.0.0.0/0", "::/0"].flatMap((text): CidrPeer[] => {
  const cidr = parseCidr(text);
  return cidr === undefined ? [] : [{ kind: "cidr", cidr, except: [], scope: "outside" }];
});
