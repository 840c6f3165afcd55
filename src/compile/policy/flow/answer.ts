/**
 * The answers of both ends become the verdict on a flow, with the name of the rule that decided.
 *
 * @module
 */

import { formatPath } from "../../../model/mod.ts";
import type { PolicyPlan } from "../compile.ts";
import type { FlowSide } from "./flow.ts";
import type { VerdictReason } from "../graph/node.ts";
import type { PolicyAnswer } from "./query.ts";

/** The verdict on a flow. */
export type FlowVerdict =
  | { readonly verdict: "allow"; readonly rule?: FlowRule }
  | {
    readonly verdict: "deny";
    readonly direction: "egress" | "ingress";
    readonly reason: Exclude<VerdictReason, "none">;
    /** Of `policy-denied`. */
    readonly rule?: FlowRule;
  }
  | { readonly error: string };

/** The rule that decided. */
export interface FlowRule {
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  /** `spec.ingressDeny[0]` */
  readonly path: string;
}

/** The first side that denies decides; else the flow is allowed, by the last rule that says so. */
export function flowVerdict(
  plan: PolicyPlan,
  sides: readonly FlowSide[],
  answers: readonly PolicyAnswer[],
): FlowVerdict {
  let allowing: FlowRule | undefined;
  for (const [index, side] of sides.entries()) {
    const answer = answers[index];
    const rule = answer && ruleOf(plan, side, answer);
    if (answer?.allowed !== true) {
      const reason = denialOf(answer);
      const named = reason === "policy-denied" && rule !== undefined ? { rule } : {};
      return { verdict: "deny", direction: side.direction, reason, ...named };
    }
    allowing = rule ?? allowing;
  }
  return { verdict: "allow", ...(allowing !== undefined && { rule: allowing }) };
}

/** A missing answer denies like a missing rule. */
function denialOf(answer: PolicyAnswer | undefined): Exclude<VerdictReason, "none"> {
  const reason = answer?.reason ?? "none";
  return reason === "none" || reason === "unknown-identity" ? "default-deny" : reason;
}

function ruleOf(plan: PolicyPlan, side: FlowSide, answer: PolicyAnswer): FlowRule | undefined {
  const found = plan.programs[side.question.program]?.rules[answer.rule];
  if (found === undefined) return undefined;
  const { kind, namespace, name } = found.policy;
  return { kind, namespace, name, path: formatPath(found.rule.path) };
}
