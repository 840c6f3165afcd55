/**
 * Cilium's connectivity suite as verdicts: its manifests, and flows between its pods.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { parseFile } from "@/src/watch/directory/document.ts";
import { type Document, engineOf, node, pod, readTable, verdict } from "./policies_world.ts";

interface Flow {
  readonly from: string;
  readonly to: string;
  readonly port: number | null;
  readonly expect: string;
  readonly protocol?: string;
  readonly http?: Document;
}

interface ConnectivityTable {
  readonly pods: Readonly<
    Record<string, { labels: Record<string, string>; serviceAccount?: string; ports?: unknown[] }>
  >;
  readonly cases: readonly {
    readonly name: string;
    readonly manifests: readonly string[];
    readonly flows: readonly Flow[];
  }[];
}

const NAMESPACE = "cilium-test";
const VARIABLES: Readonly<Record<string, string>> = {
  ExternalTarget: "one.one.one.one",
  ClusterNameLocal: "default",
  ClusterNameRemote: "other",
};
const OUTSIDE: Readonly<Record<string, Document>> = {
  "host": { ip: "172.16.0.1" },
  "external-1": { ip: "1.1.1.1" },
  "external-2": { ip: "1.0.0.1" },
  "fqdn:ExternalTarget": { ip: "1.1.1.1", fqdn: "one.one.one.one" },
};

const table = readTable<ConnectivityTable>("cnp-connectivity.json");

const objects: readonly Document[] = [
  node("n1", "172.16.0.1"),
  node("n2", "172.16.0.2"),
  ...Object.entries(table.pods).map(([name, { labels, serviceAccount, ports }], index) =>
    pod(`${NAMESPACE}/${name}`, {
      labels,
      serviceAccount,
      ports,
      ip: `10.0.0.${index + 1}`,
      node: /3|other-node/.test(name) ? "n2" : "n1",
    })
  ),
];

describe("the connectivity suite", () => {
  for (const { name, manifests, flows } of table.cases) {
    it(`has ${flows.length} flows of ${name}`, () => {
      const engine = engineOf([...objects, ...manifests.flatMap(readManifest)]);
      for (const flow of flows) {
        const answer = verdict(engine, queryOf(flow));
        if (flow.expect === "HTTP 403") assert.match(answer, / http-denied$/, JSON.stringify(flow));
        else assert.equal(answer, wordOf(flow.expect), JSON.stringify(flow));
      }
    });
  }
});

function queryOf({ from, to, port, http }: Flow): Document {
  const place = port === null
    ? { protocol: "ICMP", icmp: { family: "IPv4", type: 8 } }
    : { protocol: "TCP", port };
  return { from: endOf(from), to: endOf(to), ...place, ...(http !== undefined && { http }) };
}

function endOf(name: string): Document {
  return OUTSIDE[name] ?? { pod: `${NAMESPACE}/${name}` };
}

/** "drop egress policy-deny" */
function wordOf(expect: string): string {
  return expect.replace(/^drop /, "").replace(/policy-deny$/, "policy-denied");
}

function readManifest(name: string): Document[] {
  const url = new URL(`./policy_tables/manifests/${name}`, import.meta.url);
  const text = Deno.readTextFileSync(url)
    .replaceAll(/\{\{\.(\w+)\}\}/g, (_, variable: string) => VARIABLES[variable] ?? "");
  const { documents, broken } = parseFile(new TextEncoder().encode(text));
  assert.deepEqual(broken, []);
  return documents.map(({ value }) => {
    const document = value as Document & { metadata: Document };
    const isClusterwide = String(document["kind"]).includes("Clusterwide");
    return isClusterwide
      ? document
      : { ...document, metadata: { namespace: NAMESPACE, ...document.metadata } };
  });
}
