/**
 * The CRDs are what the schemas make of them, structural as the API server demands, and describe
 * the documents that weft accepts.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { parse } from "yaml";
import { CRD_FOLDER, crdFiles } from "@/src/install/crds.ts";
import { convertDocument } from "@/src/watch/convert.ts";

interface Schema {
  readonly type?: string;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly additionalProperties?: Schema | boolean;
  readonly items?: Schema;
  readonly required?: readonly string[];
  readonly enum?: readonly unknown[];
  readonly minimum?: number;
  readonly maximum?: number;
  readonly maxItems?: number;
  readonly maxLength?: number;
  readonly pattern?: string;
  readonly description?: string;
}

const CRDS = [...crdFiles()].map(([name, text]) => ({ name, crd: parse(text) }));

const schemaOf = (file: string): Schema =>
  CRDS.find(({ name }) => name === file)?.crd.spec.versions[0].schema.openAPIV3Schema;

const POLICY = schemaOf("cilium.io_ciliumservicemeshpolicies.yaml");

describe("the CRDs", () => {
  for (const [name, text] of crdFiles()) {
    it(`are fresh: ${name} (else: deno run -A src/install/crds.ts)`, async () => {
      assert.equal(await Deno.readTextFile(new URL(name, CRD_FOLDER)), text);
    });
  }

  it("are structural: every value has a type, none is open beside its fields", () => {
    for (const { crd } of CRDS) {
      walk(crd.spec.versions[0].schema.openAPIV3Schema, "", (schema, path) => {
        assert.ok(schema.type !== undefined, `${path} has no type`);
        assert.ok(
          schema.properties === undefined || schema.additionalProperties === undefined,
          `${path} has both properties and additionalProperties`,
        );
        for (const key of Object.keys(schema)) assert.ok(KNOWN.has(key), `${path} has ${key}`);
      });
    }
  });

  it("describe every field that a user writes", () => {
    for (const { crd } of CRDS) {
      const { spec } = crd.spec.versions[0].schema.openAPIV3Schema.properties;
      walk(spec, "spec", (schema, path) => {
        if (/\[\]$|\{\}$/.test(path)) return;
        assert.ok((schema.description ?? "") !== "", `${path} has no description`);
      });
    }
  });

  it("have printer columns and a status of their own", () => {
    for (const { crd } of CRDS) {
      const [version] = crd.spec.versions;
      assert.deepEqual(version.subresources, { status: {} });
      assert.equal(version.additionalPrinterColumns.at(-1).name, "Age");
      assert.equal(crd.metadata.name, `${crd.spec.names.plural}.${crd.spec.group}`);
    }
  });
});

describe("the CRD of the policy and the agent", () => {
  const document = (spec: unknown) => ({
    apiVersion: "cilium.io/v2alpha1",
    kind: "CiliumServiceMeshPolicy",
    metadata: { name: "p" },
    spec,
  });
  const options = {
    systemNamespace: "kube-system",
    defaultNamespace: "default",
    netnsAnnotation: false,
  };
  const cases: readonly [string, unknown, boolean][] = [
    [
      "the seed's",
      { target: { selector: { matchLabels: { a: "b" } } }, mtls: { mode: "STRICT" } },
      true,
    ],
    ["a mode alone", { mtls: { mode: "DISABLE" } }, true],
    ["everything", {
      target: {
        namespace: "default",
        selector: { matchExpressions: [{ key: "a", operator: "In", values: ["b"] }] },
      },
      mtls: {
        mode: "PERMISSIVE",
        sameNode: "attest",
        portOverrides: [{ port: 80, protocol: "TCP", mode: "STRICT" }],
      },
    }, true],
    ["nothing", {}, false],
    ["a mode that is none", { mtls: { mode: "strict" } }, false],
    ["a number for a mode", { mtls: { mode: 1 } }, false],
    ["an unknown field", { mtls: { mode: "STRICT", x: 1 } }, false],
    ["a port too large", {
      mtls: { mode: "STRICT", portOverrides: [{ port: 65536, mode: "DISABLE" }] },
    }, false],
    [
      "an override without a mode",
      { mtls: { mode: "STRICT", portOverrides: [{ port: 1 }] } },
      false,
    ],
    ["a label that is no string", {
      target: { selector: { matchLabels: { a: true } } },
      mtls: { mode: "STRICT" },
    }, false],
    ["a namespace in capitals", { target: { namespace: "A" }, mtls: { mode: "STRICT" } }, false],
    ["an unknown operator", {
      target: { selector: { matchExpressions: [{ key: "a", operator: "Gt", values: ["1"] }] } },
      mtls: { mode: "STRICT" },
    }, false],
  ];
  for (const [name, spec, accepted] of cases) {
    it(`agree on ${name}: ${accepted ? "accepted" : "rejected"}`, () => {
      const { type } = convertDocument(document(spec), options);
      assert.equal(type, accepted ? "object" : "invalid");
      assert.equal(faultOf(POLICY, document(spec), "") === undefined, accepted);
    });
  }
});

/** Keywords of structural schemas that are in use. */
const KNOWN = new Set([
  ...["type", "properties", "additionalProperties", "items", "required", "enum", "minimum"],
  ...["maximum", "minLength", "maxLength", "maxItems", "pattern", "format", "default"],
  ...["description", "x-kubernetes-list-type", "x-kubernetes-list-map-keys"],
  "x-kubernetes-validations",
]);

function walk(schema: Schema, path: string, visit: (schema: Schema, path: string) => void): void {
  visit(schema, path);
  for (const [key, child] of Object.entries(schema.properties ?? {})) {
    walk(child, `${path}.${key}`, visit);
  }
  if (schema.items !== undefined) walk(schema.items, `${path}[]`, visit);
  if (typeof schema.additionalProperties === "object") {
    walk(schema.additionalProperties, `${path}{}`, visit);
  }
}

/** What is wrong with a value by a structural schema, unknown fields included, or undefined. */
function faultOf(schema: Schema, value: unknown, path: string): string | undefined {
  if (!hasType(value, schema.type)) return `${path} is not ${schema.type}`;
  if (schema.enum !== undefined && !schema.enum.includes(value)) return `${path} is another value`;
  if (
    typeof value === "number" &&
    (value < (schema.minimum ?? value) || value > (schema.maximum ?? value))
  ) {
    return `${path} is out of range`;
  }
  if (typeof value === "string" && !new RegExp(schema.pattern ?? "").test(value)) {
    return `${path} does not match`;
  }
  if (Array.isArray(value)) {
    for (const [index, item] of value.entries()) {
      const fault = schema.items && faultOf(schema.items, item, `${path}[${index}]`);
      if (fault !== undefined) return fault;
    }
  } else if (typeof value === "object" && value !== null) {
    return faultOfFields(schema, value as Record<string, unknown>, path);
  }
  return undefined;
}

function faultOfFields(
  schema: Schema,
  value: Readonly<Record<string, unknown>>,
  path: string,
): string | undefined {
  for (const key of schema.required ?? []) if (!(key in value)) return `${path}.${key} is missing`;
  if (schema.properties === undefined && schema.additionalProperties === undefined) {
    return undefined;
  }
  for (const [key, child] of Object.entries(value)) {
    const open = typeof schema.additionalProperties === "object"
      ? schema.additionalProperties
      : undefined;
    const field = schema.properties?.[key] ?? open;
    if (field === undefined) return `${path}.${key} is unknown`;
    const fault = faultOf(field, child, `${path}.${key}`);
    if (fault !== undefined) return fault;
  }
  return undefined;
}

function hasType(value: unknown, type: string | undefined): boolean {
  switch (type) {
    case "object":
      return typeof value === "object" && value !== null && !Array.isArray(value);
    case "array":
      return Array.isArray(value);
    case "integer":
      return Number.isInteger(value);
    default:
      return String(typeof value) === type;
  }
}
