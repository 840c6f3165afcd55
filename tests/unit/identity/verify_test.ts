/**
 * The issuer binding as a table: address, identity, issuer, outcome.
 *
 * @module
 */
import { describe, it } from "node:test";
import assert from "node:assert/strict";
import {
  checkBinding,
  checkPeer,
  checkValidity,
  type ParsedSvid,
  parseSvid,
  type PeerAddress,
} from "@/src/identity/mod.ts";
import { leafDer, uri } from "./support.ts";

const POD_ID = "spiffe://cluster.local/ns/shop/sa/web";
const EXTERNAL_ID = "spiffe://cluster.local/external/crm";

async function svidOf(id: string, issuer: string): Promise<ParsedSvid> {
  return parseSvid(await leafDer({ names: [uri(id)], issuer }));
}

const ISSUERS = {
  nodeA: "O=weft node issuer, CN=node-a, 2.5.4.5=node-a",
  nodeAWithUid: "O=weft node issuer, CN=node-a, 2.5.4.5=uid-1",
  nodeB: "O=weft node issuer, CN=node-b, 2.5.4.5=node-b",
  shouting: "O=weft node issuer, CN=NODE-A, 2.5.4.5=node-a",
  external: "O=weft external issuer",
  root: "O=weft root, CN=cluster.local",
} as const;

const PEERS = {
  pod: { kind: "pod", node: "node-a", namespace: "shop", serviceAccount: "web" },
  podWithUid: {
    kind: "pod",
    node: "node-a",
    nodeUid: "uid-1",
    namespace: "shop",
    serviceAccount: "web",
  },
  podReplaced: {
    kind: "pod",
    node: "node-a",
    nodeUid: "uid-2",
    namespace: "shop",
    serviceAccount: "web",
  },
  node: { kind: "node", node: "node-a", serviceAccounts: new Set(["shop/web", "shop/db"]) },
  emptyNode: { kind: "node", node: "node-a", serviceAccounts: new Set<string>() },
  outside: { kind: "outside" },
  unknown: { kind: "unknown" },
  conflict: { kind: "conflict" },
} as const satisfies Record<string, PeerAddress>;

describe("checkBinding()", () => {
  const rows: readonly [
    peer: keyof typeof PEERS,
    id: string,
    issuer: keyof typeof ISSUERS,
    reason: string | null,
  ][] = [
    ["pod", POD_ID, "nodeA", null],
    ["pod", POD_ID, "nodeAWithUid", null],
    ["pod", POD_ID, "nodeB", "wrong-node"],
    ["pod", POD_ID, "shouting", "wrong-node"],
    ["pod", POD_ID, "external", "wrong-node"],
    ["pod", POD_ID, "root", "wrong-node"],
    ["pod", "spiffe://cluster.local/ns/shop/sa/db", "nodeA", "wrong-identity"],
    ["pod", "spiffe://cluster.local/ns/other/sa/web", "nodeA", "wrong-identity"],
    ["pod", EXTERNAL_ID, "nodeA", "wrong-identity"],
    ["pod", EXTERNAL_ID, "external", "wrong-node"],
    ["pod", "spiffe://cluster.local/shop/web", "nodeA", "wrong-identity"],
    ["podWithUid", POD_ID, "nodeAWithUid", null],
    ["podWithUid", POD_ID, "nodeA", null],
    ["podReplaced", POD_ID, "nodeAWithUid", "wrong-node"],
    ["node", POD_ID, "nodeA", null],
    ["node", "spiffe://cluster.local/ns/shop/sa/db", "nodeA", null],
    ["node", "spiffe://cluster.local/ns/shop/sa/root", "nodeA", "wrong-identity"],
    ["node", POD_ID, "nodeB", "wrong-node"],
    ["node", EXTERNAL_ID, "external", "wrong-node"],
    ["emptyNode", POD_ID, "nodeA", "wrong-identity"],
    ["outside", EXTERNAL_ID, "external", null],
    ["outside", EXTERNAL_ID, "nodeA", "wrong-node"],
    ["outside", EXTERNAL_ID, "root", "wrong-node"],
    ["outside", POD_ID, "nodeA", "wrong-node"],
    ["outside", POD_ID, "external", "wrong-identity"],
    ["unknown", POD_ID, "nodeA", "unknown-identity"],
    ["unknown", EXTERNAL_ID, "external", "unknown-identity"],
    ["conflict", POD_ID, "nodeA", "address-conflict"],
    ["conflict", EXTERNAL_ID, "external", "address-conflict"],
  ];
  for (const [peer, id, issuer, reason] of rows) {
    const what = `${id.slice("spiffe://cluster.local".length)} issued by ${issuer}`;
    it(`at an address of kind ${peer}: ${what} is ${reason ?? "accepted"}`, async () => {
      const svid = await svidOf(id, ISSUERS[issuer]);
      assert.equal(checkBinding({ svid, peer: PEERS[peer] }), reason);
    });
  }
});

describe("checkValidity()", () => {
  it("graces nothing at either end", async () => {
    const svid = parseSvid(await leafDer());
    assert.equal(checkValidity(svid, svid.notBeforeMs - 1), "certificate-expired");
    assert.equal(checkValidity(svid, svid.notBeforeMs), null);
    assert.equal(checkValidity(svid, svid.notAfterMs - 1), null);
    assert.equal(checkValidity(svid, svid.notAfterMs), "certificate-expired");
  });
});

describe("checkPeer()", () => {
  const nowMs = Date.parse("2030-01-01T00:30:00Z");

  it("accepts the right SVID from the right address", async () => {
    const svid = await svidOf(POD_ID, ISSUERS.nodeA);
    const expected = { trustDomain: "cluster.local", peer: PEERS.pod, nowMs };
    assert.equal(checkPeer(svid, expected), null);
  });

  it("judges the certificate before the address", async () => {
    const svid = await svidOf(POD_ID, ISSUERS.nodeB);
    const late = { trustDomain: "cluster.local", peer: PEERS.pod, nowMs: nowMs + 3_600_000 };
    assert.equal(checkPeer(svid, late), "certificate-expired");
    assert.equal(checkPeer(svid, { ...late, trustDomain: "other" }), "wrong-trust-domain");
    assert.equal(checkPeer(svid, { ...late, nowMs }), "wrong-node");
  });
});
