/**
 * A world out of documents: what offline commands judge. In: documents. Out: the objects that
 * verdicts depend on, and what could not be accepted. What is invalid is left out, as if it were
 * not there (SEMANTICS D.6).
 *
 * @module
 */

import { formatPath, type ModelObject } from "../../model/mod.ts";
import { type PolicyWorld, withHostNetwork } from "../../model/network_policy/mod.ts";
import { convertDocument } from "../convert.ts";
import type { Fault } from "../fault.ts";
import { type DocumentRef, readPolicyDocument } from "./document.ts";
import type { FileDocument, ReadableDocument } from "./files.ts";

/** Something about a document that its author should know. */
export interface Remark {
  readonly file: string;
  readonly line: number;
  /** Undefined where it cannot be read. */
  readonly ref: DocumentRef | undefined;
  /** Of the field; empty where it is the whole document. */
  readonly path: string;
  readonly reason: string;
  /** The document is not used. A warning leaves it in use. */
  readonly severity: "error" | "warning";
}

/** The world, and what is to be said about its documents. */
export interface WorldOfDocuments {
  readonly world: PolicyWorld;
  readonly remarks: readonly Remark[];
}

/** Of documents that name none, as `kubectl` has it. */
export const DEFAULT_NAMESPACE = "default";

/** Reads all documents. Of two of the same name the first one counts. */
export function worldOf(documents: readonly FileDocument[]): WorldOfDocuments {
  const reader = new WorldReader();
  for (const document of documents) reader.read(document);
  return { world: withHostNetwork(reader.world), remarks: reader.remarks };
}

type Mutable<World> = {
  [Table in keyof World]: World[Table] extends readonly (infer O)[] ? O[] : never;
};

class WorldReader {
  readonly world: Mutable<PolicyWorld> = {
    pods: [],
    namespaces: [],
    nodes: [],
    services: [],
    slices: [],
    groups: [],
    secrets: [],
    policies: [],
  };
  readonly remarks: Remark[] = [];
  readonly #seen = new Set<string>();

  read(document: FileDocument): void {
    if ("reason" in document) {
      const { file, line, reason } = document;
      this.remarks.push({ file, line, ref: undefined, path: "", reason, severity: "error" });
      return;
    }
    const read = readPolicyDocument(document.value, {
      defaultNamespace: DEFAULT_NAMESPACE,
      file: document.file,
      lineOf: document.lineOf,
    });
    if (read.type === "other") return this.#readOther(document);
    if (read.type === "invalid") return this.#remark(document, read.ref, read.faults, "error");
    this.#remark(document, read.ref, read.warnings, "warning");
    if (!this.#isFirst(document, read.ref)) return;
    const { object } = read;
    if (object.kind === "CiliumCIDRGroup") this.world.groups.push(object);
    else if (object.kind === "Secret") this.world.secrets.push(object);
    else this.world.policies.push(object);
  }

  #readOther(document: ReadableDocument): void {
    const converted = convertDocument(document.value, {
      systemNamespace: "",
      defaultNamespace: DEFAULT_NAMESPACE,
      netnsAnnotation: false,
    });
    if (converted.type === "invalid") {
      return this.#remark(document, converted.ref, converted.faults, "error");
    }
    if (converted.type === "unsupported") {
      return this.#remark(document, converted.ref, [converted.fault], "warning");
    }
    if (converted.type === "object" && this.#isFirst(document, converted.object)) {
      this.#put(converted.object);
    }
  }

  #put(object: ModelObject): void {
    switch (object.kind) {
      case "Pod":
        this.world.pods.push(object);
        return;
      case "Namespace":
        this.world.namespaces.push(object);
        return;
      case "Node":
        this.world.nodes.push(object);
        return;
      case "Service":
        this.world.services.push(object);
        return;
      case "EndpointSlice":
        this.world.slices.push(object);
        return;
    }
  }

  #isFirst(document: ReadableDocument, ref: DocumentRef): boolean {
    const id = `${ref.kind} ${ref.namespace}/${ref.name}`;
    if (!this.#seen.has(id)) {
      this.#seen.add(id);
      return true;
    }
    this.#remark(document, ref, [{ path: [], reason: "is defined already" }], "error");
    return false;
  }

  #remark(
    document: ReadableDocument,
    ref: DocumentRef | undefined,
    faults: readonly Fault[],
    severity: Remark["severity"],
  ): void {
    for (const { path, reason } of faults) {
      this.remarks.push({
        file: document.file,
        line: document.lineOf(path),
        ref,
        path: formatPath(path),
        reason,
        severity,
      });
    }
  }
}
