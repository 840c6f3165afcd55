/**
 * What holds for every question that can be asked: the domain is finite, so all of it is asked.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { decide, type Decision, MODES, type Question, SOURCES } from "@/src/compile/mod.ts";
import { STAGES, WHERES } from "@/src/compile/mod.ts";

const ALL: readonly { readonly q: Question; readonly d: Decision }[] = STAGES.flatMap((stage) =>
  SOURCES.flatMap((source) =>
    MODES.flatMap((mode) =>
      WHERES.map((where) => {
        const q = { stage, source, mode, where };
        return { q, d: decide(q) };
      })
    )
  )
);

/** Every question for which `when` holds has an answer for which `then` holds. */
function always(
  when: (q: Question, d: Decision) => boolean,
  then: (d: Decision, q: Question) => boolean,
): void {
  const cases = ALL.filter(({ q, d }) => when(q, d));
  assert.ok(cases.length > 0, "the rule applies to something");
  const wrong = cases.filter(({ q, d }) => !then(d, q));
  assert.deepEqual(wrong, []);
}

describe("every decision", () => {
  it("lets plaintext reach a STRICT pod only where the node attests both ends", () => {
    always(
      (q, d) => q.stage === "inbound" && q.mode === "strict" && d.verdict === "direct",
      (_d, q) => q.source === "mesh" && q.where === "attest",
    );
  });

  it("sends plaintext to a STRICT pod only attested, or as TLS of the pod's own", () => {
    always(
      (q, d) => q.stage === "outbound" && q.mode === "strict" && d.verdict === "direct",
      (_d, q) => q.source === "own_cert" || (q.source === "mesh" && q.where === "attest"),
    );
  });

  it("never falls back to plaintext for STRICT or for what nobody knows", () => {
    always(
      (q, d) => (q.mode === "strict" || q.mode === "unknown") && d.verdict !== "direct",
      (d) => d.fallback === "refuse",
    );
  });

  it("refuses an inbound connection to a pod that the plan does not know", () => {
    always(
      (q) => q.stage === "inbound" && q.mode === "unknown",
      (d) => d.verdict === "refuse" && d.reason === "unknown-identity",
    );
  });

  it("falls back only where both sides allow plaintext", () => {
    always(
      (_q, d) => d.verdict === "relay" && d.fallback === "direct",
      (_d, q) => q.mode === "permissive",
    );
  });

  it("never refuses what goes to a PERMISSIVE port, or to none", () => {
    always(
      (q) => q.stage === "inbound" && (q.mode === "permissive" || q.mode === "none"),
      (d) => d.verdict === "direct" || (d.verdict === "relay" && d.fallback === "direct"),
    );
  });

  it("leaves alone what has nothing to do with the mesh", () => {
    const ours = ["plain", "own_cert", "mesh"];
    always(
      (q) => q.mode === "none" && (q.stage === "inbound" || ours.includes(q.source)),
      (d) => d.verdict === "direct",
    );
  });

  it("waits only for a source that may be a new pod", () => {
    always((_q, d) => d.verdict === "wait", (_d, q) => q.source === "unknown");
    always(
      (q) => q.stage === "inbound" && q.source === "unknown" && q.mode === "strict",
      (d) => d.verdict === "wait",
    );
  });

  it("refuses the sources that cannot connect from this node with a row of zeros", () => {
    always(
      (q) =>
        q.stage === "outbound" && ["unknown", "outside", "node", "conflict"].includes(q.source),
      (d) => d.verdict === "refuse" && d.fallback === "refuse" && d.reason === "none",
    );
  });

  it("names the reason of whatever can come to nothing", () => {
    const zero = (q: Question) =>
      q.stage === "outbound" && ["unknown", "outside", "node", "conflict"].includes(q.source);
    always((q, d) => d.verdict !== "direct" && !zero(q), (d) => d.reason !== "none");
    always((_q, d) => d.verdict === "direct", (d) => d.reason === "none");
  });

  it("does not trust a disputed address for STRICT", () => {
    always(
      (q) => q.stage === "inbound" && q.source === "conflict" && q.mode === "strict",
      (d) => d.verdict === "refuse" && d.reason === "address-conflict",
    );
  });

  it("does not depend on where the destination is, unless the mesh has to go there", () => {
    for (const { q, d } of ALL) {
      if (q.source === "mesh") continue;
      for (const where of WHERES) assert.deepEqual(decide({ ...q, where }), d);
    }
  });
});
