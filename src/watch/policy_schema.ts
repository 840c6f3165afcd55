/**
 * The kinds that weft defines: CiliumServiceMeshPolicy and WeftNode. The one source of truth: the
 * sources check documents with these schemas and `src/install/crds.ts` makes the CRDs of them, with
 * these very descriptions.
 *
 * Invariant: unknown fields of a policy are errors. A field that is misspelt and dropped would
 * leave a hole that nobody sees; a WeftNode's are ignored, for agents of two versions read each
 * other.
 *
 * @module
 */

import { z } from "zod";
import { PORT_OVERRIDES_MAX, SELECTOR_EXPRESSIONS_MAX, SELECTOR_VALUES_MAX } from "../limits.ts";
import {
  DNS_LABEL,
  DNS_SUBDOMAIN,
  expressionFault,
  labelKeyFault,
  labelValueFault,
  OPERATORS,
} from "../model/mod.ts";

export const MESH_POLICY_API_VERSION = "cilium.io/v2alpha1";
export const WEFT_NODE_API_VERSION = "mesh.cilium.io/v1alpha1";

/** A namespace's name. */
export const namespaceName = z.string().max(63).regex(DNS_LABEL, "must be a DNS label");

/** Any other object's name. */
export const objectName = z.string().max(253).regex(DNS_SUBDOMAIN, "must be a DNS name");

/** A port's number. */
export const portNumber = z.int().min(1).max(65535);

/** Labels with Kubernetes' syntax. */
export const labels = z.record(z.string(), z.string()).superRefine((record, context) => {
  for (const [key, value] of Object.entries(record)) {
    const fault = labelKeyFault(key) ?? labelValueFault(value);
    if (fault !== undefined) context.addIssue({ code: "custom", message: fault, path: [key] });
  }
});

const mode = z.enum(["STRICT", "PERMISSIVE", "DISABLE"]);

const expression = z.strictObject({
  key: z.string().superRefine((key, context) => {
    const fault = labelKeyFault(key);
    if (fault !== undefined) context.addIssue({ code: "custom", message: fault });
  }).describe("Label key."),
  operator: z.enum(OPERATORS).describe("NotIn and DoesNotExist hold where the key is absent."),
  values: z.array(
    z.string().superRefine((value, context) => {
      const fault = labelValueFault(value);
      if (fault !== undefined) context.addIssue({ code: "custom", message: fault });
    }),
  ).max(SELECTOR_VALUES_MAX).optional().describe("At least one for In and NotIn, else none."),
}).superRefine((given, context) => {
  const fault = expressionFault({ ...given, values: given.values ?? [] });
  if (fault !== undefined) context.addIssue({ code: "custom", message: fault, path: ["values"] });
}).meta({
  "x-kubernetes-validations": [{
    rule: "(self.operator in ['In', 'NotIn']) == (has(self.values) && size(self.values) > 0)",
    message: "In and NotIn need values, Exists and DoesNotExist take none",
  }],
});

const selector = z.strictObject({
  matchLabels: labels.optional().describe("Labels that a pod must have."),
  matchExpressions: z.array(expression).max(SELECTOR_EXPRESSIONS_MAX).optional()
    .describe("Conditions that must all hold, besides matchLabels."),
});

const portOverride = z.strictObject({
  port: portNumber.describe("Port of the pod (a Service's targetPort)."),
  protocol: z.enum(["TCP"]).default("TCP").describe("Only TCP."),
  mode: mode.describe("Mode of this port, in place of spec.mtls.mode."),
});

/** `spec` of a CiliumServiceMeshPolicy. */
export const meshPolicySpec = z.strictObject({
  target: z.strictObject({
    namespace: namespaceName.optional().describe(
      "Namespace of the pods. Default: the policy's own; another one is accepted only in a policy" +
        " of the agents' system namespace.",
    ),
    selector: selector.optional().describe(
      "Labels of the pods. Without a selector: all pods of the namespace.",
    ),
  }).optional().describe("The pods that the policy governs. Default: all of its namespace."),
  mtls: z.strictObject({
    mode: mode.describe(
      "What the pods accept. STRICT: mutual TLS only. PERMISSIVE: mutual TLS and plaintext." +
        " DISABLE: plaintext only. Where several policies select a pod, the strictest wins for" +
        " each port.",
    ),
    sameNode: z.enum(["encrypt", "attest"]).optional().describe(
      "How pods of the same node reach the pods. encrypt: mutual TLS, like all others. attest:" +
        " directly, attested by the node. Default: the agents' --same-node. Where policies differ," +
        " encrypt wins.",
    ),
    portOverrides: z.array(portOverride).max(PORT_OVERRIDES_MAX).optional()
      .superRefine(rejectRepeatedPorts)
      .describe("Ports with a mode of their own.")
      .meta({
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["port", "protocol"],
      }),
  }).describe("Mutual TLS of what comes in."),
}).describe("How pods may be reached in the service mesh.");

/** `spec` of a WeftNode. */
export const weftNodeSpec = z.object({
  node: objectName.describe("Name of the Node."),
  uid: z.string().max(64).default("").describe("UID of the Node; empty where it has none."),
  issuerFingerprint: z.string().max(128).default("").describe(
    "Fingerprint of the certificate with which the agent signs for the pods of its node.",
  ),
  datapathVersion: z.string().max(64).default("").describe("Version of the datapath in place."),
  ready: z.boolean().describe("The datapath is in place: peers may speak mutual TLS to its pods."),
}).describe("What the agent of one node announces to the others. Written by that agent only.");

function rejectRepeatedPorts(
  overrides: readonly { readonly port: number }[] | undefined,
  context: z.core.$RefinementCtx,
): void {
  const seen = new Set<number>();
  for (const [index, { port }] of (overrides ?? []).entries()) {
    if (seen.has(port)) {
      context.addIssue({
        code: "custom",
        message: `port ${port} has an override already`,
        path: [index, "port"],
      });
    }
    seen.add(port);
  }
}
