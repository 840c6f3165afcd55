/**
 * Kubernetes' own end-to-end suite for NetworkPolicy as verdicts: every ordered pair of pods.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  type Document,
  engineOf,
  namespace,
  pod,
  readTable,
  tcp,
  verdict,
} from "./policies_world.ts";

interface KubernetesTable {
  readonly cases: readonly {
    readonly name: string;
    readonly pods: readonly string[];
    readonly steps: readonly {
      readonly policies: readonly Document[];
      readonly probes: readonly {
        readonly port: number;
        readonly denied: readonly string[];
        readonly allowed: number;
      }[];
      readonly nsLabels?: Readonly<Record<string, Record<string, string>>>;
    }[];
  }[];
}

const PORTS = [80, 81].flatMap((containerPort) =>
  ["TCP", "UDP", "SCTP"].map((protocol) => ({
    name: `serve-${containerPort}-${protocol.toLowerCase()}`,
    containerPort,
    protocol,
  }))
);

describe("Kubernetes' NetworkPolicy suite", () => {
  for (const { name, pods, steps } of readTable<KubernetesTable>("knp-truth-table.json").cases) {
    it(`has all pairs of "${name}"`, () => {
      for (const { policies, probes, nsLabels = {} } of steps) {
        const engine = engineOf([
          ...Object.entries(nsLabels).map(([name, labels]) => namespace(name, labels)),
          ...pods.map((key) =>
            pod(key, {
              labels: { pod: key.split("/")[1] ?? "" },
              ip: addressOf(key, pods),
              ports: PORTS,
            })
          ),
          ...policies.map((policy) => withAddresses(policy, pods)),
        ]);
        const pairs = pods.flatMap((from) =>
          pods.filter((to) => to !== from).map((to) => ({ from, to }))
        );
        for (const { port, denied, allowed } of probes) {
          const refused = pairs.filter(({ from, to }) =>
            verdict(engine, tcp(from, to, port)) !== "allow"
          ).map(({ from, to }) => `${from} -> ${to}`);
          assert.deepEqual(refused.toSorted(), denied.toSorted());
          assert.equal(pairs.length - refused.length, allowed);
        }
      }
    });
  }
});

function addressOf(key: string, pods: readonly string[]): string {
  return `10.1.0.${pods.indexOf(key) + 10}`;
}

/** `$IP(x/b)` is the pod's address, `$LARGE(x/b)` a large range around it. */
function withAddresses(policy: Document, pods: readonly string[]): Document {
  const text = JSON.stringify(policy)
    .replaceAll(/\$IP\(([^)]+)\)/g, (_, key: string) => addressOf(key, pods))
    .replaceAll(/\$LARGE\(([^)]+)\)/g, () => "10.1.0.0/16");
  return JSON.parse(text);
}
