/**
 * What policies refer to and is no policy: CiliumCIDRGroups and Secrets. In: a document whose
 * metadata are good. Out: the object of the model; what is wrong goes to the context.
 *
 * @module
 */

import { z } from "zod";
import type { Labels } from "../../model/mod.ts";
import type { CidrGroupObject, SecretObject } from "../../model/network_policy/mod.ts";
import { faultsOf } from "../fault.ts";
import type { PolicyContext } from "./cilium/context.ts";
import { cidrOf } from "./cilium/peers.ts";

/** Reads a CiliumCIDRGroup. */
export function readCidrGroup(
  document: unknown,
  { name, labels }: { readonly name: string; readonly labels: Labels },
  context: PolicyContext,
): CidrGroupObject | undefined {
  const parsed = cidrGroup.safeParse(document);
  if (!parsed.success) {
    context.faults.push(...faultsOf(parsed.error, []));
    return undefined;
  }
  const cidrs = (parsed.data.spec.externalCIDRs ?? []).flatMap((text, index) => {
    const path = ["spec", "externalCIDRs", index];
    return cidrOf(text, path, { bare: false, faults: context.faults }) ?? [];
  });
  return { kind: "CiliumCIDRGroup", name, labels, cidrs };
}

/** Reads a Secret. */
export function readSecret(
  document: unknown,
  { namespace, name }: { readonly namespace: string; readonly name: string },
  context: PolicyContext,
): SecretObject | undefined {
  const parsed = secret.safeParse(document);
  if (!parsed.success) {
    context.faults.push(...faultsOf(parsed.error, []));
    return undefined;
  }
  const entries = new Map<string, Uint8Array>();
  for (const [key, text] of Object.entries(parsed.data.data ?? {})) {
    const bytes = bytesOf(text);
    if (bytes !== undefined) entries.set(key, bytes);
    // The text itself is never repeated: it is secret, however broken.
    else context.faults.push({ path: ["data", key], reason: "must be base64" });
  }
  return { kind: "Secret", namespace, name, entries };
}

const cidrGroup = z.strictObject({
  apiVersion: z.string(),
  kind: z.string(),
  metadata: z.unknown().optional(),
  spec: z.strictObject({ externalCIDRs: z.array(z.string()).nullish() }),
  status: z.unknown().optional(),
});

const secret = z.object({ data: z.record(z.string(), z.string()).nullish() });

function bytesOf(text: string): Uint8Array | undefined {
  try {
    return Uint8Array.fromBase64(text);
  } catch {
    return undefined;
  }
}
