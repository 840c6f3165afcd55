/**
 * Conversion of YAML for tests: the object that a document becomes, or its faults as text.
 *
 * @module
 */

import assert from "node:assert/strict";
import { parse } from "yaml";
import { formatPath, type ModelObject } from "@/src/model/mod.ts";
import { convertDocument, type Converted, type ConvertOptions } from "@/src/watch/convert.ts";

const OPTIONS: ConvertOptions = {
  systemNamespace: "kube-system",
  defaultNamespace: "default",
  netnsAnnotation: true,
};

/** Converts a document. */
export function convert(yaml: string, options: Partial<ConvertOptions> = {}): Converted {
  return convertDocument(parse(yaml), { ...OPTIONS, ...options });
}

/** The object, which must be of this kind. */
export function objectOf<K extends ModelObject["kind"]>(
  kind: K,
  yaml: string,
  options: Partial<ConvertOptions> = {},
): Extract<ModelObject, { kind: K }> {
  const converted = convert(yaml, options);
  assert.equal(converted.type, "object", JSON.stringify(converted));
  assert.ok(converted.type === "object" && converted.object.kind === kind);
  return converted.object as Extract<ModelObject, { kind: K }>;
}

/** `path: reason` of each fault. */
export function faultsOf(yaml: string, options: Partial<ConvertOptions> = {}): string[] {
  const converted = convert(yaml, options);
  assert.equal(converted.type, "invalid", JSON.stringify(converted));
  assert.ok(converted.type === "invalid");
  return converted.faults.map(({ path, reason }) => `${formatPath(path)}: ${reason}`);
}
