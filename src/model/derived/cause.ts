/**
 * Why a derived fact is so: one sentence, and the place in the user's own files that says it. Every
 * fact that the model derives carries one, so that `explain` prints what decided instead of
 * guessing it afterwards.
 *
 * @module
 */

import { type FieldPath, formatPath, keyOf, type ObjectRef, type Origin } from "../change.ts";

export interface Cause {
  /** Without a period: `CiliumServiceMeshPolicy "default/backend-mtls" sets STRICT`. */
  readonly sentence: string;
  /** The object that says so; absent where a flag or a default does. */
  readonly ref?: ObjectRef;
  readonly file?: string;
  /** From 1. */
  readonly line?: number;
  /** The field: `spec.mtls.mode`. */
  readonly path?: string;
}

/** A cause that stands in an object. */
export function causeIn(
  sentence: string,
  stored: { readonly object: ObjectRef; readonly origin: Origin },
  path: FieldPath,
): Cause {
  const { object: { kind, namespace, name }, origin } = stored;
  const line = origin.lineOf?.(path);
  return {
    sentence,
    ref: { kind, namespace, name },
    ...(origin.file !== undefined && { file: origin.file }),
    ...(line !== undefined && { line }),
    path: formatPath(path),
  };
}

/** How an object is named in sentences: `CiliumServiceMeshPolicy "default/backend-mtls"`. */
export function nameOf(ref: ObjectRef): string {
  const kind = ref.kind === "MeshPolicy" ? "CiliumServiceMeshPolicy" : ref.kind;
  return `${kind} "${keyOf(ref)}"`;
}
