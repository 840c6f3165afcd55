/**
 * What a source tells the model: typed changes, spoken in the model's own terms, so that the model
 * does not know whether they came from files or from an API server.
 *
 * Invariant: whoever sends `put` has checked the object. What could not be accepted travels as
 * `reject`, beside the rest, and takes nothing out of force.
 *
 * @module
 */

import type { ModelObject } from "./object.ts";

/** The kinds that weft reads. */
export type Kind = ModelObject["kind"];

/** Names one object. */
export interface ObjectRef {
  readonly kind: Kind;
  /** Empty for what belongs to no namespace. */
  readonly namespace: string;
  readonly name: string;
}

/** A path into a document: `["spec", "mtls", "mode"]`. */
export type FieldPath = readonly (string | number)[];

/** Where an object was written. */
export interface Origin {
  readonly file?: string;
  /** Position of the document in the file, from 1. */
  readonly document?: number;
  readonly generation?: number;
  /** Line of a field, from 1; of its nearest parent where the field itself is not there. */
  lineOf?(path: FieldPath): number | undefined;
}

/** An object and where it was written. */
export interface Stored<Object extends ModelObject = ModelObject> {
  readonly object: Object;
  readonly origin: Origin;
}

/** Objects of each kind by `keyOf()`. */
export type ObjectTable = {
  readonly [K in Kind]: ReadonlyMap<string, Stored<Extract<ModelObject, { kind: K }>>>;
};

/** Something in the source that was not accepted. */
export interface Rejection {
  /** Path of the file, or the URL of the object. */
  readonly file: string;
  /** From 1. */
  readonly document?: number;
  /** From 1. */
  readonly line?: number;
  /** The object, as far as it could be read; its kind need not be one of ours. */
  readonly ref?: { readonly kind: string; readonly namespace: string; readonly name: string };
  /** The field: `spec.mtls.mode`. */
  readonly path?: string;
  readonly reason: string;
  readonly code: RejectionCode;
  /** Whether an earlier, good version of it stays in force. */
  readonly kept: boolean;
}

export type RejectionCode =
  /** Cannot be read at all: not a file, too large, not UTF-8, no YAML. */
  | "unreadable"
  /** Breaks its schema. */
  | "invalid"
  /** Another file has the same object. */
  | "duplicate"
  /** A policy that weft does not enforce yet. */
  | "unsupported";

/** One thing that has changed. Sources yield them in batches; a batch is one new State. */
export type Change =
  | { readonly type: "put"; readonly object: ModelObject; readonly origin: Origin }
  | { readonly type: "delete"; readonly ref: ObjectRef }
  | { readonly type: "reject"; readonly rejection: Rejection }
  /** Earlier rejections of this file are gone. */
  | { readonly type: "accept"; readonly file: string }
  /**
   * `ready`: the first complete read is done. `failure`: the source cannot be read, everything
   * stays in force. `problem`: it can, but something beside it is wrong. `ignored`: documents of
   * kinds that weft has no use for, by kind.
   */
  | ({ readonly type: "source" } & SourceStatus);

export interface SourceStatus {
  /** The first complete read is done: only then may a Plan be applied. */
  readonly ready: boolean;
  /** Why the source cannot be read now; everything stays in force. */
  readonly failure?: string;
  /** What a person has to look at although the source can be read. */
  readonly problem?: string;
  /** Documents of kinds that weft has no use for, by kind. */
  readonly ignored?: Readonly<Record<string, number>>;
}

/** `namespace/name`, or the name alone for what belongs to no namespace. */
export function keyOf(ref: { readonly namespace: string; readonly name: string }): string {
  return ref.namespace === "" ? ref.name : `${ref.namespace}/${ref.name}`;
}

/** A path as people write it: `spec.mtls.portOverrides[0].mode`, `metadata.labels["a.b/c"]`. */
export function formatPath(path: FieldPath): string {
  let text = "";
  for (const part of path) {
    if (typeof part === "number") text += `[${part}]`;
    else if (!/^[A-Za-z_][A-Za-z0-9_-]*$/.test(part)) text += `[${JSON.stringify(part)}]`;
    else text += text === "" ? part : `.${part}`;
  }
  return text;
}
