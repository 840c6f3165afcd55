/**
 * Which documents are policies, and what is wrong with each. In: a document. Out: a report, or
 * nothing for what is no policy.
 *
 * @module
 */

import { formatPath } from "../../model/mod.ts";
import { convertDocument } from "../convert.ts";
import type { Fault } from "../fault.ts";
import { type DocumentRef, readPolicyDocument } from "./document.ts";
import type { FileDocument } from "./files.ts";
import { DEFAULT_NAMESPACE } from "./world.ts";

/** What is said of one policy document. */
export interface PolicyDocumentReport {
  readonly file: string;
  /** Empty where it cannot be read, as the name. */
  readonly kind: string;
  /** Absent for what belongs to no namespace. */
  readonly namespace?: string;
  readonly name: string;
  readonly valid: boolean;
  readonly errors: readonly { readonly path: string; readonly message: string }[];
}

/** Looks at one document; undefined for what is no policy. */
export function validateDocument(document: FileDocument): PolicyDocumentReport | undefined {
  const { file } = document;
  if ("reason" in document) {
    return report(file, NOBODY, [{ path: [], reason: document.reason }]);
  }
  const read = readPolicyDocument(document.value, {
    defaultNamespace: DEFAULT_NAMESPACE,
    file,
    lineOf: document.lineOf,
  });
  if (read.type === "other") return validateOther(document.value, file);
  if (read.ref.kind === "Secret") return undefined;
  return report(file, read.ref, read.type === "invalid" ? read.faults : []);
}

const NOBODY: DocumentRef = { kind: "", namespace: "", name: "" };

/** weft's own policy, which the agent's source reads. */
function validateOther(value: unknown, file: string): PolicyDocumentReport | undefined {
  const converted = convertDocument(value, {
    systemNamespace: "kube-system",
    defaultNamespace: DEFAULT_NAMESPACE,
    netnsAnnotation: false,
  });
  const kind = "CiliumServiceMeshPolicy";
  if (converted.type === "object" && converted.object.kind === "MeshPolicy") {
    return report(file, { ...converted.object, kind }, []);
  }
  if (converted.type === "invalid" && converted.ref?.kind === kind) {
    return report(file, converted.ref, converted.faults);
  }
  return undefined;
}

function report(
  file: string,
  { kind, namespace, name }: DocumentRef,
  faults: readonly Fault[],
): PolicyDocumentReport {
  return {
    file,
    kind,
    ...(namespace !== "" && { namespace }),
    name,
    valid: faults.length === 0,
    errors: faults.map(({ path, reason }) => ({ path: formatPath(path), message: reason })),
  };
}
