/**
 * Enrolment and modes: the whole matrix of DESIGN §3, and that nothing but a policy opens a port.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  ENROLLED_LABEL,
  type MeshConfig,
  type MeshPolicyObject,
  type Mode,
  type ModelObject,
  type PodObject,
  portModeOf,
  type Workload,
} from "@/src/model/mod.ts";
import { namespace, pod, policy, worldOf } from "./world.ts";

/** The workload of one pod "default/web" with label app=web. */
function workloadOf(
  fields: Partial<Omit<PodObject, "kind" | "labels">> & { labels?: Record<string, string> } = {},
  others: readonly ModelObject[] = [],
  config: Partial<MeshConfig> = {},
): Workload {
  const labels = { app: "web", ...fields.labels };
  const state = worldOf([pod({ name: "web", ...fields, labels }), ...others], config);
  const workload = state.workloads.get("default/web");
  assert.ok(workload !== undefined);
  return workload;
}

const LABEL_VALUES = [undefined, "true", "false"] as const;
type LabelValue = typeof LABEL_VALUES[number];

const labelled = (value: LabelValue) => value === undefined ? {} : { [ENROLLED_LABEL]: value };

describe("enrolment", () => {
  const policies: readonly (Mode | undefined)[] = [undefined, "STRICT", "PERMISSIVE", "DISABLE"];
  for (const onPod of LABEL_VALUES) {
    for (const onNamespace of LABEL_VALUES) {
      for (const enroll of ["label", "all"] as const) {
        for (const mode of policies) {
          // Written as the sentence of the design, not as the code has it.
          const byLadder = onPod ?? onNamespace ?? (enroll === "all" ? "true" : undefined);
          const byPolicy = mode === "STRICT" || mode === "PERMISSIVE";
          const want = byLadder === "true" || (byLadder === undefined && byPolicy);
          const name = `pod ${onPod ?? "-"}, namespace ${onNamespace ?? "-"}, --enroll=${enroll},` +
            ` policy ${mode ?? "-"}: ${want ? "in" : "out"}`;
          it(name, () => {
            const others: ModelObject[] = [namespace("default", labelled(onNamespace))];
            if (mode !== undefined) others.push(policy({ name: "p", mode }));
            const workload = workloadOf({ labels: labelled(onPod) }, others, { enroll });
            assert.equal(workload.enrolled, want);
            // Whatever enrols or does not: the policy's mode governs what comes in.
            assert.equal(workload.mode.mode, mode ?? (want ? "PERMISSIVE" : "DISABLE"));
            assert.equal(workload.certified, want || byPolicy);
          });
        }
      }
    }
  }

  it("takes no other label value for an answer", () => {
    for (const value of ["True", "yes", "", "1"]) {
      const others = [namespace("default", { [ENROLLED_LABEL]: "false" })];
      assert.equal(workloadOf({ labels: { [ENROLLED_LABEL]: value } }, others).enrolled, false);
      assert.equal(workloadOf({ labels: { [ENROLLED_LABEL]: value } }).enrolled, false);
    }
  });

  it("leaves out pods of the host network, whatever is said of them", () => {
    const others = [policy({ name: "p", mode: "STRICT" })];
    const labels = { [ENROLLED_LABEL]: "true" };
    const workload = workloadOf({ hostNetwork: true, labels }, others, { enroll: "all" });
    assert.equal(workload.enrolled, false);
    assert.equal(workload.mode.mode, "DISABLE");
    assert.equal(workload.certified, false);
    assert.match(workload.enrolledBy.sentence, /host network/);
  });

  it("leaves out pods with a certificate of their own, but keeps what protects them", () => {
    const others = [policy({ name: "p", mode: "STRICT" })];
    const workload = workloadOf(
      { ownCertificate: true, labels: { [ENROLLED_LABEL]: "true" } },
      others,
    );
    assert.equal(workload.enrolled, false);
    assert.equal(workload.mode.mode, "STRICT");
    assert.equal(workload.certified, true);
  });

  it("comes from any port that a policy protects", () => {
    const others = [policy({ mode: "DISABLE", overrides: [{ port: 80, mode: "PERMISSIVE" }] })];
    const workload = workloadOf({}, others);
    assert.equal(workload.enrolled, true);
    assert.match(workload.enrolledBy.sentence, /sets PERMISSIVE for port 80/);
  });

  it("gives enrolled pods without a policy the default mode", () => {
    const labels = { [ENROLLED_LABEL]: "true" };
    assert.equal(workloadOf({ labels }, [], { defaultMode: "STRICT" }).mode.mode, "STRICT");
    assert.equal(workloadOf({}, [], { defaultMode: "STRICT" }).mode.mode, "DISABLE");
  });

  it("does not reach a pod of another namespace", () => {
    const others = [namespace("other", labelled("true")), policy({ namespace: "other" })];
    assert.equal(workloadOf({}, others).enrolled, false);
  });

  it("says why, with file, line and field", () => {
    const byPod = workloadOf({ labels: labelled("true") }).enrolledBy;
    assert.deepEqual(byPod, {
      sentence: "The pod's label enrols it",
      ref: { kind: "Pod", namespace: "default", name: "web" },
      file: "Pod-web.yaml",
      line: 3,
      path: 'metadata.labels["mesh.cilium.io/enrolled"]',
    });
    const byNamespace = workloadOf({}, [namespace("default", labelled("false"))]).enrolledBy;
    assert.equal(byNamespace.sentence, "The namespace's label keeps it out");
    assert.equal(byNamespace.ref?.kind, "Namespace");
    const byPolicy = workloadOf({}, [policy({ name: "backend-mtls" })]).enrolledBy;
    assert.equal(
      byPolicy.sentence,
      'CiliumServiceMeshPolicy "default/backend-mtls" sets STRICT',
    );
    assert.equal(byPolicy.path, "spec.mtls.mode");
    const byFlag = workloadOf({}, [], { enroll: "all" }).enrolledBy;
    assert.deepEqual(byFlag, { sentence: "The flag --enroll=all enrols every pod" });
  });
});

describe("modes of several policies", () => {
  const modeOf = (port: number, ...policies: MeshPolicyObject[]) =>
    portModeOf(workloadOf({}, policies), port).mode;

  const strictness: readonly Mode[] = ["DISABLE", "PERMISSIVE", "STRICT"];
  for (const a of strictness) {
    for (const b of strictness) {
      const want = strictness.indexOf(a) > strictness.indexOf(b) ? a : b;
      it(`${a} and ${b} make ${want}`, () => {
        assert.equal(
          modeOf(80, policy({ name: "a", mode: a }), policy({ name: "b", mode: b })),
          want,
        );
      });
    }
  }

  it("let an override loosen its own policy", () => {
    const own = policy({ overrides: [{ port: 9090, mode: "DISABLE" }] });
    assert.equal(modeOf(9090, own), "DISABLE");
    assert.equal(modeOf(80, own), "STRICT");
  });

  it("do not let an override loosen another policy", () => {
    const loose = policy({
      name: "a",
      mode: "DISABLE",
      overrides: [{ port: 80, mode: "DISABLE" }],
    });
    const strict = policy({ name: "b", mode: "STRICT" });
    assert.equal(modeOf(80, loose, strict), "STRICT");
    assert.equal(modeOf(80, strict, loose), "STRICT");
  });

  it("ask every policy for each overridden port", () => {
    const a = policy({ name: "a", mode: "STRICT", overrides: [{ port: 80, mode: "PERMISSIVE" }] });
    const b = policy({ name: "b", mode: "DISABLE", overrides: [{ port: 90, mode: "STRICT" }] });
    assert.equal(modeOf(80, a, b), "PERMISSIVE");
    assert.equal(modeOf(90, a, b), "STRICT");
    assert.equal(modeOf(70, a, b), "STRICT");
  });

  it("name the strictest as the cause, of equals the first by name", () => {
    const workload = workloadOf({}, [
      policy({ name: "b", mode: "STRICT" }),
      policy({ name: "a", mode: "STRICT", overrides: [{ port: 80, mode: "DISABLE" }] }),
      policy({ name: "0", mode: "PERMISSIVE" }),
    ]);
    assert.equal(workload.mode.cause.ref?.name, "a");
    const [port] = workload.ports;
    assert.equal(port?.port, 80);
    assert.equal(port?.mode, "STRICT");
    assert.equal(port?.cause.ref?.name, "b");
    assert.deepEqual(workload.policies, ["default/0", "default/a", "default/b"]);
  });

  it("point at the override that decided", () => {
    const overrides = [{ port: 443, mode: "DISABLE" }, { port: 80, mode: "PERMISSIVE" }] as const;
    const workload = workloadOf({}, [policy({ name: "p", mode: "DISABLE", overrides })]);
    const { cause } = portModeOf(workload, 80);
    assert.equal(cause.path, "spec.mtls.portOverrides[1].mode");
    assert.match(cause.sentence, /sets PERMISSIVE for port 80$/);
  });

  it("select by labels and expressions of the target", () => {
    const other = policy({ select: { app: "db" } });
    assert.equal(modeOf(80, other), "DISABLE");
    const expression = { key: "app", operator: "NotIn", values: ["db"] } as const;
    const selector = { matchLabels: new Map(), matchExpressions: [expression] };
    assert.equal(modeOf(80, { ...other, target: { namespace: "default", selector } }), "STRICT");
  });

  it("reach other namespaces only from the system namespace", () => {
    const far = (from: string) => policy({ namespace: from, targetNamespace: "default" });
    assert.equal(modeOf(80, far("kube-system")), "STRICT");
    assert.equal(modeOf(80, far("other")), "DISABLE");
  });

  it("leave the policies of the system namespace to it where they name no target", () => {
    assert.equal(modeOf(80, policy({ namespace: "kube-system" })), "DISABLE");
  });
});

describe("same-node traffic", () => {
  const sameNode = (flag: "encrypt" | "attest", ...stated: ("encrypt" | "attest" | undefined)[]) =>
    workloadOf(
      {},
      stated.map((value, index) => policy({ name: `p${index}`, sameNode: value })),
      { sameNode: flag },
    ).mode.sameNode;

  it("follows the flag where no policy says", () => {
    assert.equal(sameNode("encrypt"), "encrypt");
    assert.equal(sameNode("attest"), "attest");
    assert.equal(sameNode("attest", undefined), "attest");
  });

  it("follows the policy before the flag", () => {
    assert.equal(sameNode("encrypt", "attest"), "attest");
    assert.equal(sameNode("attest", "encrypt"), "encrypt");
    assert.equal(sameNode("encrypt", undefined, "attest"), "attest");
  });

  it("is encrypted where any policy wants it", () => {
    assert.equal(sameNode("attest", "attest", "encrypt"), "encrypt");
    assert.equal(sameNode("attest", "encrypt", "attest"), "encrypt");
  });
});

describe("identity", () => {
  it("is that of the ServiceAccount in the trust domain", () => {
    const workload = workloadOf({ serviceAccount: "cart" }, [], { trustDomain: "shop.example" });
    assert.equal(workload.spiffeId, "spiffe://shop.example/ns/default/sa/cart");
  });
});
