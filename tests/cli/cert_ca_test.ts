/**
 * `weft ca`: what it writes, judged by OpenSSL, and what it refuses.
 *
 * @module
 */
import { describe, it } from "node:test";
import assert from "node:assert/strict";
import { run, Scratch, weft } from "./cert_support.ts";

describe("weft ca init", () => {
  it("makes a root, says where its key is and what comes next", async () => {
    await using scratch = new Scratch();
    const { status, out } = await weft("ca", "init", "--ca-dir", scratch.at("ca"));
    assert.equal(status, 0);
    assert.match(out, /root\.key signs for every node/);
    assert.match(out, /weft ca issue-node NAME/);
    const { out: text } = await run(
      "openssl",
      "x509",
      "-noout",
      "-text",
      "-in",
      scratch.at("ca/root.crt"),
    );
    assert.match(text, /CA:TRUE/);
    assert.match(text, /Certificate Sign, CRL Sign/);
    assert.match(text, /URI:spiffe:\/\/cluster\.local\n/);
  });

  it("refuses where there is a root, with the file and the reason", async () => {
    await using scratch = new Scratch();
    await weft("ca", "init", "--ca-dir", scratch.at("ca"));
    const before = scratch.read("ca/root.key");
    const { status, err } = await weft("ca", "init", "--ca-dir", scratch.at("ca"));
    assert.equal(status, 4);
    assert.match(err, /ca": it is not empty, and a root is never written over/);
    assert.equal(scratch.read("ca/root.key"), before);
  });

  it("refuses a trust domain that is none", async () => {
    await using scratch = new Scratch();
    const { status, err } = await weft(
      ...["ca", "init", "--ca-dir", scratch.at("ca"), "--trust-domain", "Mesh/x"],
    );
    assert.equal(status, 2);
    assert.match(err, /cannot use "Mesh\/x": the trust domain has a character/);
  });
});

describe("weft ca issue-node", () => {
  it("makes an intermediate that OpenSSL accepts under the root, for leaves only", async () => {
    await using scratch = new Scratch();
    await weft("ca", "init", "--ca-dir", scratch.at("ca"));
    const { status } = await weft(
      ...["ca", "issue-node", "node-a", "--uid", "0a-1", "--lifetime", "30d"],
      ...["--ca-dir", scratch.at("ca"), "--out", scratch.at("a")],
    );
    assert.equal(status, 0);
    const verified = await run(
      ...["openssl", "verify", "-x509_strict", "-CAfile", scratch.at("ca/root.crt")] as const,
      scratch.at("a/issuer.crt"),
    );
    assert.match(verified.out, /issuer\.crt: OK/);
    const { out: text } = await run(
      "openssl",
      "x509",
      "-noout",
      "-text",
      "-in",
      scratch.at("a/issuer.crt"),
    );
    assert.match(text, /CA:TRUE, pathlen:0/);
    assert.match(text, /Subject: O = weft node issuer, CN = node-a, serialNumber = 0a-1/);
    assert.equal(scratch.read("a/bundle.pem"), scratch.read("ca/root.crt"));
  });

  it("replaces a node's own issuer, and never another node's", async () => {
    await using scratch = new Scratch();
    await weft("ca", "init", "--ca-dir", scratch.at("ca"));
    const issue = (node: string) =>
      weft("ca", "issue-node", node, "--ca-dir", scratch.at("ca"), "--out", scratch.at("a"));
    assert.equal((await issue("node-a")).status, 0);
    const first = scratch.read("a/issuer.crt");
    assert.equal((await issue("node-a")).status, 0);
    assert.notEqual(scratch.read("a/issuer.crt"), first);
    const { status, err } = await issue("node-b");
    assert.equal(status, 4);
    assert.match(err, /it holds the issuer of node "node-a"/);
  });
});

describe("weft ca status", () => {
  it("shows root, nodes and issuer as text and as JSON", async () => {
    await using scratch = new Scratch();
    const places = ["--ca-dir", scratch.at("ca")];
    await weft("ca", "init", ...places);
    await weft("ca", "issue-node", "node-a", ...places, "--out", scratch.at("a"));
    const text = await weft("ca", "status", ...places, "--state-dir", scratch.at("a"));
    assert.equal(text.status, 0);
    assert.match(text.out, /Root of "cluster\.local"/);
    assert.match(text.out, /Issuer of node "node-a".*\n.*\n.*bound to +the node's name/);
    assert.match(text.out, /expires in 6d 23h/);
    const json = await weft("ca", "status", ...places, "-o", "json");
    const view = JSON.parse(json.out);
    assert.equal(view.ca.trustDomain, "cluster.local");
    assert.equal(view.ca.nodes.length, 1);
    assert.equal(view.node, undefined);
  });

  it("exits 1 and names the command when an issuer is due", async () => {
    await using scratch = new Scratch();
    const { caStatus } = await import("@/src/cli/ca_status.ts");
    await weft("ca", "init", "--ca-dir", scratch.at("ca"));
    await weft("ca", "issue-node", "n", "--ca-dir", scratch.at("ca"), "--out", scratch.at("n"));
    const inFourDays = Date.now() + 4 * 86_400_000;
    const { text, exitStatus } = await caStatus({ stateDirectory: scratch.at("n") }, inFourDays);
    assert.equal(exitStatus, 1);
    assert.match(text, /is due for renewal: weft ca issue-node n --ca-dir DIR --out /);
  });
});
