/**
 * CiliumServiceMeshPolicy documents: what is accepted, and how each mistake is named.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { faultsOf, objectOf } from "./converted.ts";

const POLICY = `
apiVersion: cilium.io/v2alpha1
kind: CiliumServiceMeshPolicy
metadata: {name: p}
`;

describe("a CiliumServiceMeshPolicy", () => {
  it("is read as the seed writes it", () => {
    const policy = objectOf(
      "MeshPolicy",
      `${POLICY}spec:
  target:
    namespace: default
    selector: {matchLabels: {app: backend}}
  mtls: {mode: STRICT}
`,
    );
    assert.deepEqual(policy, {
      kind: "MeshPolicy",
      namespace: "default",
      name: "p",
      uid: "",
      labels: new Map(),
      target: {
        namespace: "default",
        selector: { matchLabels: new Map([["app", "backend"]]), matchExpressions: [] },
      },
      mode: "STRICT",
      sameNode: undefined,
      overrides: [],
    });
  });

  it("is read with everything that it may have", () => {
    const policy = objectOf(
      "MeshPolicy",
      `${POLICY}spec:
  target:
    selector:
      matchExpressions:
        - {key: app, operator: In, values: [a, b]}
        - {key: tier, operator: Exists}
  mtls:
    mode: PERMISSIVE
    sameNode: attest
    portOverrides:
      - {port: 80, protocol: TCP, mode: STRICT}
      - {port: 9090, mode: DISABLE}
status: {conditions: []}
`,
    );
    assert.deepEqual(policy.target.selector.matchExpressions, [
      { key: "app", operator: "In", values: ["a", "b"] },
      { key: "tier", operator: "Exists", values: [] },
    ]);
    assert.equal(policy.sameNode, "attest");
    assert.deepEqual(policy.overrides, [
      { port: 80, mode: "STRICT" },
      { port: 9090, mode: "DISABLE" },
    ]);
  });

  it("targets all pods of its own namespace by default", () => {
    const policy = objectOf("MeshPolicy", `${POLICY}spec: {mtls: {mode: STRICT}}`, {
      defaultNamespace: "shop",
    });
    assert.equal(policy.target.namespace, "shop");
    assert.equal(policy.target.selector.matchLabels.size, 0);
  });

  it("may target another namespace from the system namespace alone", () => {
    const spec = "spec: {target: {namespace: shop}, mtls: {mode: STRICT}}";
    const system = POLICY.replace("{name: p}", "{name: p, namespace: kube-system}");
    assert.equal(objectOf("MeshPolicy", system + spec).target.namespace, "shop");
    assert.deepEqual(faultsOf(POLICY + spec), [
      'spec.target.namespace: must be the policy\'s own namespace "default", not "shop": only' +
      ' policies in the system namespace "kube-system" may target others',
    ]);
  });

  const wrong: readonly [string, string, string][] = [
    ["no spec", "{}", "spec: is required"],
    [
      "no mode",
      "spec: {mtls: {}}",
      'spec.mtls.mode: must be one of "STRICT", "PERMISSIVE", "DISABLE"',
    ],
    [
      "a mode in lower case",
      "spec: {mtls: {mode: strict}}",
      'spec.mtls.mode: must be one of "STRICT", "PERMISSIVE", "DISABLE"',
    ],
    [
      "a misspelt field",
      "spec: {mtls: {mode: STRICT, samenode: attest}}",
      'spec.mtls.samenode: unknown field "samenode"',
    ],
    [
      "a misspelt field at the top",
      "specs: {}\nspec: {mtls: {mode: STRICT}}",
      'specs: unknown field "specs"',
    ],
    [
      "a selector in the wrong place",
      "spec: {selector: {}, mtls: {mode: STRICT}}",
      'spec.selector: unknown field "selector"',
    ],
    [
      "an empty selector by mistake",
      "spec: {target: {selector: }, mtls: {mode: STRICT}}",
      "spec.target.selector: must be an object, not null",
    ],
    [
      "an unquoted label value",
      "spec: {target: {selector: {matchLabels: {on: true}}}, mtls: {mode: STRICT}}",
      "spec.target.selector.matchLabels.on: must be a string, not a boolean: write it in quotes",
    ],
    [
      "an unknown operator",
      "spec: {target: {selector: {matchExpressions: [{key: a, operator: Gt}]}}, mtls: {mode: STRICT}}",
      'spec.target.selector.matchExpressions[0].operator: must be one of "In", "NotIn", "Exists",' +
      ' "DoesNotExist"',
    ],
    [
      "In without values",
      "spec: {target: {selector: {matchExpressions: [{key: a, operator: In}]}}, mtls: {mode: STRICT}}",
      "spec.target.selector.matchExpressions[0].values: operator In must have at least one value",
    ],
    [
      "a port that is none",
      "spec: {mtls: {mode: STRICT, portOverrides: [{port: 0, mode: DISABLE}]}}",
      "spec.mtls.portOverrides[0].port: must be at least 1",
    ],
    [
      "a port by name",
      "spec: {mtls: {mode: STRICT, portOverrides: [{port: http, mode: DISABLE}]}}",
      "spec.mtls.portOverrides[0].port: must be a number, not a string",
    ],
    [
      "another protocol",
      "spec: {mtls: {mode: STRICT, portOverrides: [{port: 53, protocol: UDP, mode: DISABLE}]}}",
      'spec.mtls.portOverrides[0].protocol: must be one of "TCP"',
    ],
    [
      "a port twice",
      "spec: {mtls: {mode: STRICT, portOverrides: [{port: 1, mode: DISABLE}, {port: 1, mode: STRICT}]}}",
      "spec.mtls.portOverrides[1].port: port 1 has an override already",
    ],
  ];
  for (const [name, spec, want] of wrong) {
    it(`is rejected for ${name}`, () => {
      assert.deepEqual(faultsOf(spec === "{}" ? POLICY : POLICY + spec), [want]);
    });
  }

  it("tells all of its faults at once", () => {
    assert.equal(faultsOf(`${POLICY}spec: {a: 1, mtls: {mode: x, b: 2}}`).length, 3);
  });

  it("is rejected in another version, not ignored", () => {
    const other = POLICY.replace("v2alpha1", "v2");
    assert.deepEqual(faultsOf(`${other}spec: {mtls: {mode: STRICT}}`), [
      'apiVersion: must be "cilium.io/v2alpha1": current value is "cilium.io/v2"',
    ]);
  });

  it("is rejected without a proper name", () => {
    assert.deepEqual(faultsOf(POLICY.replace("{name: p}", "{}")), ["metadata.name: is required"]);
    assert.deepEqual(faultsOf(POLICY.replace("name: p", "name: P_p")), [
      "metadata.name: must be a DNS name",
    ]);
  });
});
